using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>metav1.LabelSelector objects (matchLabels and matchExpressions) against a labels object.</summary>
internal static class LabelMatching
{
    internal static bool Matches(ApiNode selector, ApiNode labels)
    {
        foreach (var wanted in selector["matchLabels"u8].Members)
        {
            if (!labels[wanted.Name].IsDefined || !labels[wanted.Name].DeepEquals(wanted.Value))
                return false;
        }
        foreach (var expression in selector["matchExpressions"u8].Elements)
        {
            if (!MatchesExpression(expression, labels))
                return false;
        }
        return true;
    }

    private static bool MatchesExpression(ApiNode expression, ApiNode labels)
    {
        var value = labels[expression["key"u8].Utf8];
        var isAmong = false;
        foreach (var candidate in expression["values"u8].Elements)
            isAmong |= value.IsDefined && candidate.DeepEquals(value);
        return expression["operator"u8].AsString() switch
        {
            "In" => isAmong,
            "NotIn" => !isAmong,
            "Exists" => value.IsDefined,
            "DoesNotExist" => !value.IsDefined,
            _ => false,
        };
    }
}
