using System.Globalization;
using System.Text.RegularExpressions;

namespace K3sFast.ApiServer.Tests.Conformity;

/// <summary>The variables of a file: {ns}, {a*300} and what earlier answers were asked to leave behind.</summary>
internal sealed partial class Expansion(string space)
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal) { ["ns"] = space };

    internal void Set(string name, string value) => _values[name] = value;

    internal string Expand(string text) => Placeholder().Replace(text, match =>
        match.Groups["count"] is { Success: true } count
            ? string.Concat(Enumerable.Repeat(match.Groups["text"].Value, int.Parse(count.Value, CultureInfo.InvariantCulture)))
            : _values.GetValueOrDefault(match.Groups["name"].Value, match.Value));

    /// <summary>True when a text is as expected, where {*} in the expected text stands for anything.</summary>
    internal static bool Matches(string expected, string actual)
    {
        if (!expected.Contains("{*}", StringComparison.Ordinal))
            return expected == actual;
        var pattern = string.Join(".*", expected.Split("{*}").Select(Regex.Escape));
        return Regex.IsMatch(actual, $"^{pattern}$", RegexOptions.Singleline | RegexOptions.CultureInvariant);
    }

    [GeneratedRegex("""\{(?<text>[^{}*\s]{1,16})\*(?<count>\d+)\}|\{(?<name>[a-z][a-zA-Z0-9]*)\}""")]
    private static partial Regex Placeholder();
}
