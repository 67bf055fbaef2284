using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.AddOns.Dns;

/// <summary>How a rule compares names (the rewrite plugin's words).</summary>
internal enum NameMatch
{
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

/// <summary>
/// Finds a rule's pattern in a name, and writes the name that takes its place. Patterns are Go's (RE2), matched in linear time. Immutable.
/// </summary>
internal sealed class NameMatcher
{
    // CoreDNS' own bound.
    private const int MaxPattern = 10_000;

    private readonly NameMatch _kind;
    private readonly string _from;
    private readonly Regex? _regex;

    /// <exception cref="FormatException">The pattern is none.</exception>
    internal NameMatcher(NameMatch kind, string from)
    {
        _kind = kind;
        if (kind == NameMatch.Regex)
        {
            _from = from;
            _regex = Compile(from);
            return;
        }
        from = from.ToLowerInvariant();
        _from = kind is NameMatch.Exact or NameMatch.Suffix && !from.EndsWith('.') ? from + "." : from;
    }

    internal static bool TryKind(string word, out NameMatch kind)
    {
        (kind, var isKnown) = word switch
        {
            "exact" => (NameMatch.Exact, true),
            "prefix" => (NameMatch.Prefix, true),
            "suffix" => (NameMatch.Suffix, true),
            "substring" => (NameMatch.Substring, true),
            "regex" => (NameMatch.Regex, true),
            _ => (NameMatch.Exact, false),
        };
        return isKnown;
    }

    /// <exception cref="FormatException">The pattern is none.</exception>
    internal static Regex Compile(string pattern)
    {
        if (pattern.Length > MaxPattern) throw new FormatException($"regex pattern too long: {pattern.Length} > {MaxPattern}");
        try
        {
            // Go calls groups (?P<name>...).
            return new Regex(pattern.Replace("(?P<", "(?<", StringComparison.Ordinal), RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
        }
        catch (Exception wrong) when (wrong is ArgumentException or NotSupportedException)
        {
            throw new FormatException($"invalid regex pattern: {pattern}: {wrong.Message}", wrong);
        }
    }

    /// <summary>True where the name has the pattern. Allocates nothing.</summary>
    internal bool IsMatch(ReadOnlySpan<char> name) => _kind switch
    {
        NameMatch.Exact => name.SequenceEqual(_from),
        NameMatch.Prefix => name.StartsWith(_from),
        NameMatch.Suffix => name.EndsWith(_from),
        NameMatch.Substring => name.Contains(_from, StringComparison.Ordinal),
        _ => _regex!.IsMatch(name),
    };

    /// <summary>The name with <paramref name="to"/> in the pattern's place; {1} in it stands for a regex' group. Call after <see cref="IsMatch"/>.</summary>
    internal string Replace(string name, string to) => _kind switch
    {
        NameMatch.Exact => to,
        NameMatch.Prefix => to + name[_from.Length..],
        NameMatch.Suffix => name[..^_from.Length] + to,
        NameMatch.Substring => name.Replace(_from, to, StringComparison.Ordinal),
        _ => Fill(to, _regex!.Match(name)),
    };

    internal static string Fill(string text, Match match)
    {
        if (!text.Contains('{', StringComparison.Ordinal)) return text;
        var filled = new StringBuilder(text);
        for (var i = 0; i < match.Groups.Count; i++) filled.Replace($"{{{i}}}", match.Groups[i].Value);
        return filled.ToString();
    }
}
