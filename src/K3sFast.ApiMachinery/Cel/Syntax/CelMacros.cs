namespace K3sFast.ApiMachinery;

/// <summary>The macros: calls that the parser turns into presence tests and loops.</summary>
internal sealed class CelMacros(CelIssues issues, bool hasBindings)
{
    /// <summary>The hidden variable in which loops gather their result. No source can spell it.</summary>
    internal const string Accumulator = "@result";

    private const string Unused = "#unused";
    private const string SortInput = "@__sortBy_input__";

    // Every optMap doubles what it stands on; chained ones would grow without bound.
    private const int MaxCopied = 100_000;

    private int _copied;

    /// <summary>The expansion; null when the call is no macro.</summary>
    internal CelExpr? Expand(int at, string function, CelExpr? target, List<CelExpr> args) => (function, target, args.Count) switch
    {
        ("has", null, 1) => Has(args[0]),
        ("all" or "exists" or "exists_one", not null, 2) => Quantifier(at, function, target, args),
        ("all" or "exists" or "exists_one" or "existsOne", not null, 3) => Quantifier(at, function, target, args),
        ("map", not null, 2 or 3) => MapTo(at, target, args),
        ("filter", not null, 2) => Filter(at, target, args),
        ("optMap", not null, 2) => OptionalMap(at, target, args, isFlat: false),
        ("optFlatMap", not null, 2) => OptionalMap(at, target, args, isFlat: true),
        ("transformList" or "transformMap" or "transformMapEntry", not null, 3 or 4) => Transform(at, function, target, args),
        ("sortBy", not null, 2) => SortBy(at, target, args),
        ("bind", CelExpr.Ident { Name: "cel" }, 3) when hasBindings =>
            args[0] is CelExpr.Ident name ? Bind(at, name.Name, args[1], args[2]) : Wrong(args[0], "cel.bind() variable names must be simple identifiers"),
        _ => null,
    };

    private CelExpr Has(CelExpr arg) =>
        arg is CelExpr.Select select ? new CelExpr.Select(select.Offset, select.Operand, select.Field, true) : Wrong(arg, "invalid argument to has() macro");

    private CelExpr Quantifier(int at, string function, CelExpr target, List<CelExpr> args)
    {
        bool hasTwo = args.Count == 3;
        if (!TryVariables(args, hasTwo, "argument must be a simple name", out var names, out var problem))
            return problem;
        var condition = args[^1];
        (CelExpr init, CelExpr goesOn, CelExpr step, CelExpr result) = function switch
        {
            "all" => (Constant(at, CelValue.True), Call(at, "@not_strictly_false", Accu(at)), Call(at, "_&&_", Accu(at), condition), Accu(at)),
            "exists" => (Constant(at, CelValue.False), Call(at, "@not_strictly_false", Call(at, "!_", Accu(at))), Call(at, "_||_", Accu(at), condition), Accu(at)),
            _ => (Constant(at, CelValue.Of(0L)), Constant(at, CelValue.True),
                Call(at, "_?_:_", condition, Call(at, "_+_", Accu(at), Constant(at, CelValue.Of(1L))), Accu(at)), Call(at, "_==_", Accu(at), Constant(at, CelValue.Of(1L)))),
        };
        return new CelExpr.Loop(at, target, names.First, names.Second, Accumulator, init, goesOn, step, result);
    }

    private CelExpr MapTo(int at, CelExpr target, List<CelExpr> args)
    {
        if (!TryVariables(args, hasTwo: false, "argument is not an identifier", out var names, out var problem))
            return problem;
        return Collect(at, target, names, EmptyList(at), Call(at, "_+_", Accu(at), List(at, args[^1])), args.Count == 3 ? args[1] : null);
    }

    private CelExpr Filter(int at, CelExpr target, List<CelExpr> args)
    {
        if (!TryVariables(args, hasTwo: false, "argument is not an identifier", out var names, out var problem))
            return problem;
        return Collect(at, target, names, EmptyList(at), Call(at, "_+_", Accu(at), List(at, args[0])), args[1]);
    }

    private CelExpr Transform(int at, string function, CelExpr target, List<CelExpr> args)
    {
        if (!TryVariables(args, hasTwo: true, "argument must be a simple name", out var names, out var problem))
            return problem;
        var step = function switch
        {
            "transformList" => Call(at, "_+_", Accu(at), List(at, args[^1])),
            "transformMap" => Call(at, "cel.@mapInsert", Accu(at), new CelExpr.Ident(at, names.First), args[^1]),
            _ => Call(at, "cel.@mapInsert", Accu(at), args[^1]),
        };
        return Collect(at, target, names, function == "transformList" ? EmptyList(at) : new CelExpr.MapOf(at, []), step, args.Count == 4 ? args[2] : null);
    }

    private static CelExpr.Loop Collect(int at, CelExpr target, (string First, string? Second) names, CelExpr init, CelExpr step, CelExpr? filter) =>
        new(at, target, names.First, names.Second, Accumulator, init, Constant(at, CelValue.True), filter is null ? step : Call(at, "_?_:_", filter, step, Accu(at)), Accu(at));

    // target.hasValue() ? optional.of(let name = target.value() in body) : optional.none()
    private CelExpr OptionalMap(int at, CelExpr target, List<CelExpr> args, bool isFlat)
    {
        if (args[0] is not CelExpr.Ident { Name: var name })
            return Wrong(args[0], $"{(isFlat ? "optFlatMap" : "optMap")}() variable name must be a simple identifier");
        CountCopied(target);
        if (_copied > MaxCopied)
            return Wrong(target, "max recursion depth exceeded");
        var bound = Bind(at, name, new CelExpr.Call(at, "value", target.Copy(), []), args[1]);
        return Call(at, "_?_:_", new CelExpr.Call(at, "hasValue", target, []), isFlat ? bound : Call(at, "optional.of", bound), Call(at, "optional.none"));
    }

    private void CountCopied(CelExpr expression)
    {
        if (++_copied > MaxCopied)
            return;
        foreach (var child in expression.Children)
            CountCopied(child);
    }

    private CelExpr SortBy(int at, CelExpr target, List<CelExpr> args)
    {
        if (target is not (CelExpr.ListOf or CelExpr.Select or CelExpr.Ident or CelExpr.Loop or CelExpr.Call))
            return Wrong(target, "sortBy can only be applied to a list, identifier, comprehension, call or select expression");
        var keys = MapTo(at, new CelExpr.Ident(at, SortInput), args);
        return Bind(at, SortInput, target, new CelExpr.Call(at, "@sortByAssociatedKeys", new CelExpr.Ident(at, SortInput), [keys]));
    }

    private static CelExpr.Loop Bind(int at, string name, CelExpr value, CelExpr body) =>
        new(at, EmptyList(at), Unused, null, name, value, Constant(at, CelValue.False), new CelExpr.Ident(at, name), body);

    private bool TryVariables(List<CelExpr> args, bool hasTwo, string whenNoName, out (string First, string? Second) names, out CelExpr problem)
    {
        names = default;
        problem = args[0];
        for (int i = 0; i < (hasTwo ? 2 : 1); i++)
        {
            if (args[i] is CelExpr.Ident)
                continue;
            problem = Wrong(args[i], whenNoName);
            return false;
        }
        names = (((CelExpr.Ident)args[0]).Name, hasTwo ? ((CelExpr.Ident)args[1]).Name : null);
        if (names.First == names.Second)
            problem = Wrong(args[1], $"duplicate variable name: {names.First}");
        else if (names.First is "__result__" || names.Second is "__result__")
            problem = Wrong(args[names.First == "__result__" ? 0 : 1], "iteration variable overwrites accumulator variable");
        else
            return true;
        return false;
    }

    private CelExpr Wrong(CelExpr place, string message)
    {
        issues.Report(place.Offset, message);
        return Constant(place.Offset, CelValue.Null);
    }

    private static CelExpr Constant(int at, CelValue value) => new CelExpr.Constant(at, value);

    private static CelExpr Accu(int at) => new CelExpr.Ident(at, Accumulator);

    private static CelExpr Call(int at, string function, params CelExpr[] args) => new CelExpr.Call(at, function, null, args);

    private static CelExpr.ListOf EmptyList(int at) => new(at, [], []);

    private static CelExpr.ListOf List(int at, CelExpr element) => new(at, [element], [false]);
}
