using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// What a checked expression may still have wrong: durations, timestamps and patterns in literals, elements of mixed types, and format strings that do not
/// fit their arguments.
/// </summary>
internal static class CelLiteralChecks
{
    internal static void Check(CelExpr tree, CelIssues issues) => Visit(tree, issues, isInFormat: false);

    /// <summary>Upstream evaluates conversions and patterns of literals when it plans: the first that fails, or null.</summary>
    internal static string? Unfoldable(CelExpr expression)
    {
        foreach (var child in expression.Children)
        {
            if (Unfoldable(child) is { } problem)
                return problem;
        }
        if (expression is not CelExpr.Call call)
            return null;
        if (call is { Function: "bool" or "bytes" or "double" or "duration" or "int" or "string" or "timestamp" or "uint", Target: null, Args: [CelExpr.Constant literal], Overloads.Count: > 0 })
            return call.Overloads[0].Body!([literal.Value]) is { IsError: true, AsString: var message } ? message : null;
        bool hasPattern = call.Function is "matches" or "find" or "findAll" && call.Args.Length > 0;
        return hasPattern && call.Args[call.IsMember ? 0 : ^1] is CelExpr.Constant { Value: { Kind: CelKind.String } pattern } && !CelRegex.TryGet(pattern.AsString, out _, out string why) ? why : null;
    }

    private static void Visit(CelExpr expression, CelIssues issues, bool isInFormat)
    {
        switch (expression)
        {
            case CelExpr.Call call:
                CheckCall(call, issues);
                isInFormat |= call is { Function: "format", IsMember: true };
                break;
            case CelExpr.ListOf list when !isInFormat:
                CheckList(list, issues);
                break;
            case CelExpr.MapOf map when !isInFormat:
                CheckMap(map, issues);
                break;
        }
        foreach (var child in expression.Children)
            Visit(child, issues, isInFormat);
    }

    private static void CheckCall(CelExpr.Call call, CelIssues issues)
    {
        if (call is { Function: "format", IsMember: true, Target: CelExpr.Constant { Value: { Kind: CelKind.String } format }, Args: [CelExpr.ListOf args] })
            CelStringFormat.CheckLiteral(call, format.AsString, args, issues);
        if (call.Args is not [CelExpr.Constant literal, ..] || literal.Value.Kind is not (CelKind.String or CelKind.Int))
            return;
        bool isWrong = call.Function switch
        {
            "duration" when literal.Value.Kind == CelKind.String => GoDuration.TryParse(Encoding.UTF8.GetBytes(literal.Value.AsString), out _) is not null,
            "timestamp" when literal.Value.Kind == CelKind.String => !CelTime.TryParse(literal.Value.AsString, out var time) || time.IsError,
            "matches" when literal.Value.Kind == CelKind.String && call.IsMember => !CelRegex.TryGet(literal.Value.AsString, out _, out _),
            _ => false,
        };
        if (isWrong)
            issues.Report(literal.Offset, $"invalid {call.Function} argument");
    }

    private static void CheckList(CelExpr.ListOf list, CelIssues issues)
    {
        CelType? type = null;
        for (int i = 0; i < list.Elements.Length; i++)
        {
            var element = list.IsOptional[i] && list.Elements[i].Type.IsOptional ? list.Elements[i].Type.Parameters[0] : list.Elements[i].Type;
            type ??= element;
            if (type.IsExactly(element))
                continue;
            issues.Report(list.Elements[i].Offset, $"expected type '{type.Show()}' but found '{element.Show()}'");
            return;
        }
    }

    private static void CheckMap(CelExpr.MapOf map, CelIssues issues)
    {
        CelType? keys = null, values = null;
        foreach (var entry in map.Entries)
        {
            var value = entry.IsOptional && entry.Value.Type.IsOptional ? entry.Value.Type.Parameters[0] : entry.Value.Type;
            keys ??= entry.Key.Type;
            values ??= value;
            if (!keys.IsExactly(entry.Key.Type))
                issues.Report(entry.Key.Offset, $"expected type '{keys.Show()}' but found '{entry.Key.Type.Show()}'");
            if (!values.IsExactly(value))
                issues.Report(entry.Value.Offset, $"expected type '{values.Show()}' but found '{value.Show()}'");
        }
    }
}
