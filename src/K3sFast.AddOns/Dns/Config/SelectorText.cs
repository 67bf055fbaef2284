using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.AddOns.Dns;

/// <summary>Label selectors as text: a=b, a==b, a!=b, a in (b, c), a notin (b), a, !a; commas in between.</summary>
internal static class SelectorText
{
    /// <exception cref="FormatException">It is none.</exception>
    internal static LabelMatcher Parse(string text)
    {
        var selector = new V1LabelSelector { MatchExpressions = [] };
        var start = 0;
        var depth = 0;
        for (var i = 0; i <= text.Length; i++)
        {
            if (i < text.Length && text[i] == '(') depth++;
            else if (i < text.Length && text[i] == ')') depth--;
            else if (i == text.Length || (text[i] == ',' && depth == 0))
            {
                selector.MatchExpressions.Add(Requirement(text[start..i].Trim()));
                start = i + 1;
            }
        }
        return LabelMatcher.Of(selector);
    }

    private static V1LabelSelectorRequirement Requirement(string text)
    {
        if (text.Length == 0) throw new FormatException("an empty term in a label selector");
        if (text[0] == '!') return Make(text[1..].Trim(), "DoesNotExist");
        var open = text.IndexOf('(', StringComparison.Ordinal);
        if (open > 0 && text.EndsWith(')'))
        {
            if (text[..open].Split(' ', StringSplitOptions.RemoveEmptyEntries) is not [var key, ("in" or "notin") and var word]) throw new FormatException($"\"{text}\" is no label selector");
            return Make(key, word == "in" ? "In" : "NotIn", text[(open + 1)..^1].Split(',', StringSplitOptions.TrimEntries));
        }
        foreach (var (sign, word) in (ReadOnlySpan<(string, string)>)[("!=", "NotIn"), ("==", "In"), ("=", "In")])
        {
            var at = text.IndexOf(sign, StringComparison.Ordinal);
            if (at > 0) return Make(text[..at].Trim(), word, text[(at + sign.Length)..].Trim());
        }
        return Make(text, "Exists");
    }

    private static V1LabelSelectorRequirement Make(string key, string word, params string[] values) =>
        key.Length > 0 && !key.Contains(' ', StringComparison.Ordinal)
            ? new V1LabelSelectorRequirement { Key = key, OperatorProperty = word, Values = values.Length == 0 ? null : values } : throw new FormatException($"\"{key}\" is no label");
}
