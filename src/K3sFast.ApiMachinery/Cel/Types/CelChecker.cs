namespace K3sFast.ApiMachinery;

/// <summary>Finds out the type of every node, what each name means and which signatures a call may have. Mistakes are worded as upstream words them.</summary>
internal sealed class CelChecker
{
    private readonly CelEnvironment _environment;
    private readonly CelIssues _issues;
    private readonly CelInference _types = new();
    private readonly List<(string Name, CelType Type)> _scopes = [];

    private CelChecker(CelEnvironment environment, CelIssues issues)
    {
        _environment = environment;
        _issues = issues;
    }

    /// <summary>Checks the tree and writes into it.</summary>
    internal static void Check(CelExpr tree, CelEnvironment environment, CelIssues issues)
    {
        var checker = new CelChecker(environment, issues);
        checker.Visit(tree);
        checker.Settle(tree);
    }

    // With everything known, types that are still open become dyn.
    private void Settle(CelExpr expression)
    {
        expression.Type = _types.Substitute(expression.Type, unknownIsDyn: true);
        foreach (var child in expression.Children)
            Settle(child);
    }

    private CelType Visit(CelExpr expression)
    {
        expression.Type = expression switch
        {
            CelExpr.Constant constant => constant.Value.StaticType,
            CelExpr.Ident ident => VisitIdent(ident),
            CelExpr.Select select => VisitSelect(select),
            CelExpr.Call call => VisitCall(call),
            CelExpr.ListOf list => VisitList(list),
            CelExpr.MapOf map => VisitMap(map),
            CelExpr.StructOf message => VisitStruct(message),
            CelExpr.Loop loop => VisitLoop(loop),
            _ => CelType.Error,
        };
        return expression.Type;
    }

    private CelType? Find(string name)
    {
        if (!name.StartsWith('.'))
        {
            for (int i = _scopes.Count - 1; i >= 0; i--)
            {
                if (_scopes[i].Name == name)
                    return _scopes[i].Type;
            }
        }
        return _environment.FindVariable(name) ?? (_environment.FindType(name) is { } type ? CelType.TypeOf(type) : null);
    }

    private CelType VisitIdent(CelExpr.Ident ident)
    {
        ident.Slot = ident.Name.StartsWith('.') ? -1 : _scopes.FindLastIndex(scope => scope.Name == ident.Name);
        return Find(ident.Name) ?? Undeclared(ident.Offset, ident.Name);
    }

    private CelType Undeclared(int offset, string name)
    {
        _issues.Report(offset, $"undeclared reference to '{name}' (in container '')");
        return CelType.Error;
    }

    private CelType VisitSelect(CelExpr.Select select)
    {
        if (QualifiedName(select) is { } name && Find(name) is { } declared)
        {
            select.Variable = name;
            return declared;
        }
        var type = FieldType(select, select.Operand, select.Field, isOptional: false);
        return select.IsTest ? CelType.Bool : _types.Substitute(type, unknownIsDyn: false);
    }

    // a.b.c as a dotted name; null when it is none.
    private static string? QualifiedName(CelExpr expression) => expression switch
    {
        CelExpr.Ident ident => ident.Name,
        CelExpr.Select { IsTest: false } select when QualifiedName(select.Operand) is { } prefix => $"{prefix}.{select.Field}",
        _ => null,
    };

    private CelType FieldType(CelExpr place, CelExpr operand, string field, bool isOptional)
    {
        var type = _types.Substitute(Visit(operand), unknownIsDyn: false);
        bool wasOptional = type.IsOptional;
        if (wasOptional)
            type = type.Parameters[0];
        var result = CelType.Dyn;
        switch (type.Kind)
        {
            case CelKind.Map:
                result = type.Parameters[1];
                break;
            case CelKind.Struct:
                result = type.FindField(field) ?? CelType.Error;
                if (result.Kind == CelKind.Error)
                    _issues.Report(place.Offset, $"undefined field '{field}'");
                break;
            case CelKind.Parameter:
                _types.Assign(CelType.Dyn, type);
                break;
            case CelKind.Dyn or CelKind.Error:
                break;
            default:
                _issues.Report(place.Offset, $"type '{type.Show()}' does not support field selection");
                break;
        }
        return wasOptional || isOptional ? CelType.Optional(result) : result;
    }

    private CelType VisitCall(CelExpr.Call call)
    {
        if (call.Function == "_?._")
        {
            call.Declared = _environment.FindFunction(call.Function);
            call.Overloads.AddRange(call.Declared!.Overloads);
            call.Args[1].Type = CelType.String;
            return _types.Substitute(FieldType(call, call.Args[0], ((CelExpr.Constant)call.Args[1]).Value.AsString, isOptional: true), unknownIsDyn: false);
        }
        foreach (var arg in call.Args)
            Visit(arg);
        if (call.Target is null)
        {
            if (_environment.FindFunction(call.Function) is { } function)
                return Resolve(call, function, null);
            return Undeclared(call.Offset, call.Function);
        }
        if (QualifiedName(call.Target) is { } prefix && _environment.FindFunction($"{prefix}.{call.Function}") is { } qualified)
        {
            call.IsQualified = true;
            return Resolve(call, qualified, null);
        }
        Visit(call.Target);
        return _environment.FindFunction(call.Function) is { } member ? Resolve(call, member, call.Target) : Undeclared(call.Offset, call.Function);
    }

    private CelType Resolve(CelExpr.Call call, CelFunction function, CelExpr? target)
    {
        call.Declared = function;
        CelType[] given = [.. target is null ? [] : new[] { target.Type }, .. call.Args.Select(static arg => arg.Type)];
        if (function.Name is "_&&_" or "_||_")
            return ResolveLogical(call, function, given);
        CelType? result = null;
        foreach (var overload in function.Overloads)
        {
            if (overload.IsMember != target is not null)
                continue;
            var (args, type) = _types.Instantiate(overload);
            if (!_types.AssignAll(given, args))
                continue;
            call.Overloads.Add(overload);
            type = _types.Substitute(type, unknownIsDyn: false);
            if (result is null)
                result = type;
            else if (!result.IsDyn && !type.IsExactly(result))
                result = CelType.Dyn;
        }
        if (result is not null)
            return result;
        var shown = given.Select(type => _types.Substitute(type, unknownIsDyn: true).Show()).ToArray();
        string signature = target is null ? $"({string.Join(", ", shown)})" : $"{shown[0]}.({string.Join(", ", shown[1..])})";
        _issues.Report(call.Offset, $"found no matching overload for '{function.Name}' applied to '{signature}'");
        return CelType.Error;
    }

    private CelType ResolveLogical(CelExpr.Call call, CelFunction function, CelType[] given)
    {
        bool isWrong = false;
        for (int i = 0; i < given.Length; i++)
        {
            if (_types.Assign(given[i], CelType.Bool))
                continue;
            Mismatch(call.Args[i].Offset, CelType.Bool, given[i]);
            isWrong = true;
        }
        call.Overloads.Add(function.Overloads[0]);
        return isWrong ? CelType.Error : CelType.Bool;
    }

    private CelType VisitList(CelExpr.ListOf list)
    {
        CelType? joined = null;
        for (int i = 0; i < list.Elements.Length; i++)
        {
            var type = Unwrap(list.Elements[i], Visit(list.Elements[i]), list.IsOptional[i]);
            joined = Join(joined, type);
        }
        return CelType.List(joined ?? _types.Fresh());
    }

    private CelType VisitMap(CelExpr.MapOf map)
    {
        CelType? keys = null, values = null;
        foreach (var entry in map.Entries)
        {
            keys = Join(keys, Visit(entry.Key));
            values = Join(values, Unwrap(entry.Value, Visit(entry.Value), entry.IsOptional));
        }
        return CelType.Map(keys ?? _types.Fresh(), values ?? _types.Fresh());
    }

    private CelType Unwrap(CelExpr place, CelType type, bool isOptional)
    {
        if (!isOptional)
            return type;
        if (type.IsOptional)
            return type.Parameters[0];
        if (!type.IsDyn)
            Mismatch(place.Offset, CelType.Optional(type), type);
        return type;
    }

    // Mixed elements are dyn here; the checks of literals refuse them where they do not stand in a format call.
    private CelType Join(CelType? previous, CelType current)
    {
        if (previous is null)
            return current;
        if (_types.Assign(previous, current))
            return CelInference.MostGeneral(previous, current);
        return CelType.Dyn;
    }

    private CelType VisitStruct(CelExpr.StructOf message)
    {
        var result = CelType.Error;
        if (_environment.FindType(message.TypeName) is { } type)
        {
            result = type;
            if (type.Kind != CelKind.Struct)
            {
                _issues.Report(message.Offset, $"'{type.Name}' is not a message type");
                result = CelType.Error;
            }
        }
        else if (_environment.FindVariable(message.TypeName) is { } variable)
        {
            _issues.Report(message.Offset, $"'{variable.Name}' is not a type");
        }
        else
        {
            return Undeclared(message.Offset, message.TypeName);
        }
        foreach (var field in message.Fields)
        {
            var value = Visit(field.Value);
            var wanted = CelType.Error;
            if (result.Kind == CelKind.Struct && (wanted = result.FindField(field.Name) ?? CelType.Error).Kind == CelKind.Error)
                _issues.Report(field.Offset, $"undefined field '{field.Name}'");
            value = Unwrap(field.Value, value, field.IsOptional);
            if (!_types.Assign(wanted, value))
                _issues.Report(field.Offset, $"expected type of field '{field.Name}' is '{wanted.Show()}' but provided type is '{value.Show()}'");
        }
        return result;
    }

    private CelType VisitLoop(CelExpr.Loop loop)
    {
        Visit(loop.Range);
        var accumulator = Visit(loop.Init);
        var range = _types.Substitute(loop.Range.Type, unknownIsDyn: false);
        bool hasTwo = loop.Variable2 is not null;
        var (first, second) = range.Kind switch
        {
            CelKind.List => hasTwo ? (CelType.Int, range.Parameters[0]) : (range.Parameters[0], CelType.Error),
            CelKind.Map => (range.Parameters[0], range.Parameters[1]),
            CelKind.Dyn or CelKind.Error or CelKind.Parameter when !ReferenceEquals(range, CelType.Any) => (CelType.Dyn, CelType.Dyn),
            _ => (CelType.Error, CelType.Error),
        };
        if (first.Kind == CelKind.Error && range.Kind is not (CelKind.List or CelKind.Map))
            _issues.Report(loop.Range.Offset, $"expression of type '{range.Show()}' cannot be range of a comprehension (must be list, map, or dynamic)");
        if (range.Kind is CelKind.Dyn or CelKind.Error or CelKind.Parameter)
            _types.Assign(CelType.Dyn, range);
        int depth = loop.Slot = _scopes.Count;
        _scopes.Add((loop.AccuVariable, accumulator));
        _scopes.Add((loop.Variable, first));
        if (hasTwo)
            _scopes.Add((loop.Variable2!, second));
        Visit(loop.Condition);
        Expect(loop.Condition, CelType.Bool);
        Visit(loop.Step);
        Expect(loop.Step, accumulator);
        _scopes.RemoveRange(depth + 1, _scopes.Count - depth - 1);
        var result = Visit(loop.Result);
        _scopes.RemoveRange(depth, _scopes.Count - depth);
        return _types.Substitute(result, unknownIsDyn: false);
    }

    private void Expect(CelExpr expression, CelType type)
    {
        if (!_types.Assign(type, expression.Type))
            Mismatch(expression.Offset, type, expression.Type);
    }

    private void Mismatch(int offset, CelType expected, CelType actual) => _issues.Report(offset, $"expected type '{expected.Show()}' but found '{actual.Show()}'");
}
