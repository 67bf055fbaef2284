namespace K3sFast.ApiMachinery;

/// <summary>Runs a checked tree. One per evaluation.</summary>
internal sealed class CelEvaluator(ICelVariables variables, int locals, long limit)
{
    private readonly CelValue[] _locals = locals == 0 ? [] : new CelValue[locals];

    /// <summary>What was spent so far.</summary>
    internal long Cost { get; private set; }

    internal CelValue Evaluate(CelExpr expression) => expression switch
    {
        CelExpr.Constant constant => constant.Value,
        CelExpr.Ident ident => Name(ident),
        CelExpr.Select select => Select(select),
        CelExpr.Call call => Call(call),
        CelExpr.ListOf list => List(list),
        CelExpr.MapOf map => Map(map),
        CelExpr.StructOf message => Struct(message),
        CelExpr.Loop loop => Loop(loop),
        _ => throw new InvalidOperationException($"no evaluation of {expression.GetType().Name}"),
    };

    private void Spend(long cost)
    {
        Cost += cost;
        if (Cost > limit)
            throw new BudgetException();
    }

    private CelValue Name(CelExpr.Ident ident)
    {
        Spend(1);
        return ident.Slot >= 0 ? _locals[ident.Slot] : Variable(ident.Name, ident.Type);
    }

    private CelValue Variable(string name, CelType type) => variables.TryFind(name, out var value) ? value
        : type.Kind == CelKind.Type && CelEnvironment.Kubernetes.FindType(name) is { } named ? CelValue.Of(named)
        : CelValue.Error($"no such attribute(s): {name.TrimStart('.')}");

    private CelValue Select(CelExpr.Select select)
    {
        if (select.Variable is { } name)
        {
            Spend(1);
            return Variable(name, select.Type);
        }
        var operand = Evaluate(select.Operand);
        if (operand.IsError)
            return operand;
        if (operand.Reference is CelOptional optional)
            return SelectOptional(optional, select.Field, select.IsTest);
        bool isThere = CelAccess.TryField(operand, select.Field, out var member);
        if (select.IsTest)
            return member.IsError && isThere ? member : CelValue.Of(isThere);
        Spend(select.Operand is CelExpr.Ident or CelExpr.Select ? 1 : 2);
        return isThere ? member : CelValue.Error($"no such key: {select.Field}");
    }

    private CelValue SelectOptional(CelOptional optional, string field, bool isTest)
    {
        if (!isTest)
            Spend(1);
        if (optional.Value is { } inner && CelAccess.TryField(inner, field, out var member))
            return isTest ? CelValue.True : CelOptional.Some(member);
        return isTest ? CelValue.False : CelOptional.None;
    }

    private CelValue Call(CelExpr.Call call)
    {
        switch (call.Function)
        {
            case "_&&_":
                return Logical(call, CelValue.False);
            case "_||_":
                return Logical(call, CelValue.True);
            case "_?_:_":
                var condition = Evaluate(call.Args[0]);
                if (condition.IsError)
                    return condition;
                return condition.Kind == CelKind.Bool ? Evaluate(call.Args[condition.AsBool ? 1 : 2]) : CelValue.NoSuchOverload;
            case "@not_strictly_false":
                var value = Evaluate(call.Args[0]);
                Spend(1);
                return CelValue.Of(value.IsError || value.Kind != CelKind.Bool || value.AsBool);
            case "_?._":
                return OptionalMember(call, isField: true);
            case "_[?_]":
                return OptionalMember(call, isField: false);
            case "_[_]":
                return Index(call);
            case "or" or "orValue" when call.IsMember && call.Declared!.Overloads[0].Id.StartsWith("optional_or", StringComparison.Ordinal):
                return Or(call);
            default:
                return Strict(call);
        }
    }

    // One side that decides makes up for a mistake on the other.
    private CelValue Logical(CelExpr.Call call, CelValue deciding)
    {
        var first = Evaluate(call.Args[0]);
        if (first.Kind == CelKind.Bool && first.AsBool == deciding.AsBool)
            return deciding;
        var second = Evaluate(call.Args[1]);
        if (second.Kind == CelKind.Bool && second.AsBool == deciding.AsBool)
            return deciding;
        if (first.Kind == CelKind.Bool && second.Kind == CelKind.Bool)
            return CelValue.Of(!deciding.AsBool);
        return first.IsError ? first : second.IsError ? second : CelValue.NoSuchOverload;
    }

    private CelValue OptionalMember(CelExpr.Call call, bool isField)
    {
        var operand = Evaluate(call.Args[0]);
        var key = isField ? ((CelExpr.Constant)call.Args[1]).Value : Evaluate(call.Args[1]);
        Spend(1);
        if (operand.IsError || key.IsError)
            return operand.IsError ? operand : key;
        if (operand.Reference is CelOptional optional)
        {
            if (optional.Value is not { } inner)
                return CelOptional.None;
            operand = inner;
        }
        return CelAccess.TryMember(operand, key, out var member) ? member.IsError ? member : CelOptional.Some(member) : CelOptional.None;
    }

    private CelValue Index(CelExpr.Call call)
    {
        var operand = Evaluate(call.Args[0]);
        var key = Evaluate(call.Args[1]);
        Spend(1);
        if (operand.IsError || key.IsError)
            return operand.IsError ? operand : key;
        if (operand.Reference is CelOptional optional)
            return optional.Value is { } inner && CelAccess.TryMember(inner, key, out var found) ? CelOptional.Some(found) : CelOptional.None;
        if (CelAccess.TryMember(operand, key, out var member))
            return member;
        return CelValue.Error(operand.Kind == CelKind.List ? $"index out of bounds: {CelText.Print(key)}" : $"no such key: {CelText.Print(key)}");
    }

    private CelValue Or(CelExpr.Call call)
    {
        var first = Evaluate(call.Target!);
        if (first.Reference is not CelOptional { Value: var inner })
            return first.IsError ? first : CelValue.NoSuchOverload;
        return inner is null ? Evaluate(call.Args[0]) : call.Function == "or" ? first : inner.Value;
    }

    private CelValue Strict(CelExpr.Call call)
    {
        int first = call.IsMember ? 1 : 0;
        int count = call.Args.Length + first;
        var inline = default(Arguments);
        Span<CelValue> args = count <= Arguments.Length ? ((Span<CelValue>)inline)[..count] : new CelValue[count];
        if (first == 1)
            args[0] = Evaluate(call.Target!);
        for (int i = first; i < count; i++)
            args[i] = Evaluate(call.Args[i - first]);
        foreach (ref readonly var arg in args)
        {
            if (arg.IsError)
                return arg;
        }
        var (result, overload) = Invoke(call, args);
        Spend(CelCosts.OfCall(call, overload, args, result));
        return result;
    }

    private static (CelValue Result, CelOverload? Overload) Invoke(CelExpr.Call call, ReadOnlySpan<CelValue> args)
    {
        var function = call.Declared!;
        CelOverload? chosen = call.Overloads.Count == 1 ? call.Overloads[0] : null;
        if (function.Body is { } body)
            return (body(args), chosen);
        foreach (var overload in call.Overloads)
        {
            if (overload.Accepts(args))
                return (overload.Body!(args), overload);
        }
        var types = new List<string>();
        foreach (ref readonly var arg in args)
            types.Add(arg.TypeName);
        return (CelValue.Error($"no such overload: {function.Name}({string.Join(", ", types)})"), chosen);
    }

    private CelValue List(CelExpr.ListOf list)
    {
        var values = new List<CelValue>(list.Elements.Length);
        for (int i = 0; i < list.Elements.Length; i++)
        {
            var value = Evaluate(list.Elements[i]);
            if (value.IsError)
                return value;
            if (list.IsOptional[i])
            {
                if (value.Reference is not CelOptional { Value: var inner })
                    return CelValue.Error($"cannot initialize optional list element from non-optional value {CelText.Print(value)}");
                if (inner is null)
                    continue;
                value = inner.Value;
            }
            values.Add(value);
        }
        Spend(CelCosts.ListBase);
        return CelValue.Of(new CelValueList([.. values]));
    }

    private CelValue Map(CelExpr.MapOf map)
    {
        var result = new CelValueMap();
        foreach (var entry in map.Entries)
        {
            var key = Evaluate(entry.Key);
            if (key.IsError)
                return key;
            var value = Evaluate(entry.Value);
            if (value.IsError)
                return value;
            if (entry.IsOptional)
            {
                if (value.Reference is not CelOptional { Value: var inner })
                    return CelValue.Error($"cannot initialize optional entry '{CelText.Print(key)}' from non-optional value {CelText.Print(value)}");
                if (inner is null)
                    continue;
                value = inner.Value;
            }
            result.TryAdd(key, value);
        }
        Spend(CelCosts.MapBase);
        return CelValue.Of(result);
    }

    private CelValue Struct(CelExpr.StructOf message)
    {
        var fields = new Dictionary<string, CelValue>(message.Fields.Length, StringComparer.Ordinal);
        foreach (var field in message.Fields)
        {
            var value = Evaluate(field.Value);
            if (value.IsError)
                return value;
            if (field.IsOptional)
            {
                if (value.Reference is not CelOptional { Value: var inner })
                    return CelValue.Error($"cannot initialize optional entry '{field.Name}' from non-optional value {CelText.Print(value)}");
                if (inner is null)
                    continue;
                value = inner.Value;
            }
            fields[field.Name] = value;
        }
        Spend(CelCosts.StructBase);
        return CelValue.Struct(new CelStruct(message.TypeName.TrimStart('.'), fields));
    }

    private CelValue Loop(CelExpr.Loop loop)
    {
        var range = Evaluate(loop.Range);
        if (range.IsError)
            return range;
        _locals[loop.Slot] = Evaluate(loop.Init);
        switch (range.Kind)
        {
            case CelKind.List:
                var list = range.AsList;
                int count = list.Count;
                for (int i = 0; i < count; i++)
                {
                    bool hasTwo = loop.Variable2 is not null;
                    _locals[loop.Slot + 1] = hasTwo ? CelValue.Of((long)i) : list[i];
                    if (hasTwo)
                        _locals[loop.Slot + 2] = list[i];
                    if (!Step(loop))
                        break;
                }
                break;
            case CelKind.Map or CelKind.Struct when range.Reference is CelMap map:
                foreach (var key in map.Keys)
                {
                    _locals[loop.Slot + 1] = key;
                    if (loop.Variable2 is not null)
                        map.TryGet(key, out _locals[loop.Slot + 2]);
                    if (!Step(loop))
                        break;
                }
                break;
            default:
                return CelValue.Error($"got 'types.{range.Kind}', expected iterable type");
        }
        return Evaluate(loop.Result);
    }

    private bool Step(CelExpr.Loop loop)
    {
        if (!Evaluate(loop.Condition).IsTrue)
            return false;
        _locals[loop.Slot] = Evaluate(loop.Step);
        return true;
    }

    [System.Runtime.CompilerServices.InlineArray(Length)]
    private struct Arguments
    {
        internal const int Length = 4;
        private CelValue _first;
    }

    /// <summary>The limit was passed.</summary>
    internal sealed class BudgetException : Exception;
}
