using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Patterns in RE2's syntax on .NET's engine that never backtracks: linear in the text as RE2 is. What the two write differently is rewritten: named
/// groups, quoted runs, POSIX classes, classes that are ASCII only, the end of the text.
/// </summary>
internal static class CelRegex
{
    // Patterns mostly stand in programs that live long; what comes from objects turns over.
    private const int MaxCached = 256;

    // RE2's bound on counted repetition.
    private const int MaxRepeat = 1000;

    private static readonly ConcurrentDictionary<string, Regex?> s_cache = new();

    private static readonly Dictionary<string, string> s_classes = new()
    {
        ["alnum"] = "0-9A-Za-z", ["alpha"] = "A-Za-z", ["ascii"] = "\\x00-\\x7F", ["blank"] = "\\t ", ["cntrl"] = "\\x00-\\x1F\\x7F", ["digit"] = "0-9", ["graph"] = "!-~",
        ["lower"] = "a-z", ["print"] = " -~", ["punct"] = "!-/:-@\\[-`{-~", ["space"] = "\\t\\n\\v\\f\\r ", ["upper"] = "A-Z", ["word"] = "0-9A-Za-z_", ["xdigit"] = "0-9A-Fa-f",
    };

    /// <summary>The compiled pattern; false with upstream's kind of message when it is none.</summary>
    internal static bool TryGet(string pattern, [NotNullWhen(true)] out Regex? regex, out string problem)
    {
        problem = "";
        if (!s_cache.TryGetValue(pattern, out regex))
        {
            if (s_cache.Count >= MaxCached)
                s_cache.Clear();
            regex = Compile(pattern);
            s_cache[pattern] = regex;
        }
        if (regex is null)
            problem = "error parsing regexp: " + CelRegexProblem.Of(pattern);
        return regex is not null;
    }

    private static Regex? Compile(string pattern)
    {
        if (Translate(pattern) is not { } translated)
            return null;
        try
        {
            return new Regex(translated, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
        }
        catch (Exception failure) when (failure is ArgumentException or NotSupportedException)
        {
            return null;
        }
    }

    private static string? Translate(string pattern)
    {
        var text = new StringBuilder(pattern.Length + 16);
        bool isMultiline = false;
        for (int i = 0; i < pattern.Length; i++)
        {
            char unit = pattern[i];
            switch (unit)
            {
                case '\\' when i + 1 == pattern.Length:
                    return null;
                case '\\' when pattern[i + 1] == 'Q':
                    int end = pattern.IndexOf("\\E", i + 2, StringComparison.Ordinal);
                    text.Append(Regex.Escape(end < 0 ? pattern[(i + 2)..] : pattern[(i + 2)..end]));
                    i = end < 0 ? pattern.Length : end + 1;
                    break;
                case '\\':
                    if (!TryEscape(pattern, ref i, text, isInClass: false))
                        return null;
                    break;
                case '[':
                    if (!TryClass(pattern, ref i, text))
                        return null;
                    break;
                case '(' when string.CompareOrdinal(pattern, i, "(?P<", 0, 4) == 0:
                    text.Append("(?<");
                    i += 3;
                    break;
                case '(' when string.CompareOrdinal(pattern, i, "(?", 0, 2) == 0:
                    int close = pattern.AsSpan(i + 2).IndexOfAnyExcept("imsU-");
                    var flags = close < 0 ? pattern.AsSpan(i + 2) : pattern.AsSpan(i + 2, close);
                    if (flags.Contains('U') || close < 0 || pattern[i + 2 + close] is not (':' or ')' or '<'))
                        return null;
                    int off = flags.IndexOf('-');
                    if (flags.Contains('m'))
                        isMultiline = off < 0 || flags.IndexOf('m') < off;
                    text.Append("(?").Append(flags);
                    i += 1 + flags.Length;
                    break;
                case '$':
                    text.Append(isMultiline ? "$" : "\\z");
                    break;
                case '{' when Repeat(pattern, i) > MaxRepeat:
                    return null;
                default:
                    text.Append(unit);
                    break;
            }
        }
        return text.ToString();
    }

    // The greatest count of {n}, {n,} or {n,m}; 0 when the brace stands for itself.
    private static int Repeat(string pattern, int at)
    {
        int end = pattern.IndexOf('}', at);
        int most = 0;
        foreach (string part in end < 0 ? [] : pattern[(at + 1)..end].Split(','))
        {
            if (part.Length > 0 && part.All(char.IsAsciiDigit))
                most = Math.Max(most, part.Length > 6 ? int.MaxValue : int.Parse(part, System.Globalization.CultureInfo.InvariantCulture));
        }
        return most;
    }

    private static bool TryEscape(string pattern, ref int at, StringBuilder text, bool isInClass)
    {
        char kind = pattern[++at];
        string? shorthand = kind switch
        {
            'd' => "0-9",
            'w' => "0-9A-Za-z_",
            's' => "\\t\\n\\f\\r ",
            _ => null,
        };
        if (shorthand is not null)
        {
            text.Append(isInClass ? shorthand : $"[{shorthand}]");
            return true;
        }
        if (kind is 'D' or 'W' or 'S')
        {
            string inner = kind == 'D' ? "0-9" : kind == 'W' ? "0-9A-Za-z_" : "\\t\\n\\f\\r ";
            text.Append(isInClass ? Complement(kind) : $"[^{inner}]");
            return true;
        }
        if (kind == 'x' && at + 1 < pattern.Length && pattern[at + 1] == '{')
        {
            int end = pattern.IndexOf('}', at);
            if (end < 0 || !int.TryParse(pattern.AsSpan(at + 2, end - at - 2), System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture, out int code) || !Rune.IsValid(code))
                return false;
            text.Append(code < 0x10000 ? $"\\u{code:x4}" : new Rune(code).ToString());
            at = end;
            return true;
        }
        if (kind is 'p' or 'P')
            return TryCategory(pattern, ref at, text);
        bool isKnown = !char.IsAsciiLetterOrDigit(kind) || kind is 'a' or 'f' or 't' or 'n' or 'r' or 'v' or 'x' or '0' || !isInClass && kind is 'A' or 'b' or 'B' or 'z';
        text.Append('\\').Append(kind);
        return isKnown;
    }

    private static string Complement(char kind) => kind switch
    {
        'D' => "\\x00-/:-\\uFFFF",
        'W' => "\\x00-/:-@\\[-\\^`{-\\uFFFF",
        _ => "\\x00-\\x08\\x0B\\x0E-\\x1F!-\\uFFFF",
    };

    private static bool TryCategory(string pattern, ref int at, StringBuilder text)
    {
        char kind = pattern[at];
        if (at + 1 == pattern.Length)
            return false;
        string name = pattern[at + 1].ToString();
        if (name == "{")
        {
            int end = pattern.IndexOf('}', at);
            if (end < 0)
                return false;
            name = pattern[(at + 2)..end];
            at = end;
        }
        else
        {
            at++;
        }
        if (name.StartsWith('^'))
        {
            kind = kind == 'p' ? 'P' : 'p';
            name = name[1..];
        }
        // Scripts are blocks in .NET, which is near for the common ones.
        string? known = name switch { "Greek" or "Cyrillic" or "Hebrew" or "Arabic" or "Thai" or "Hiragana" or "Katakana" => "Is" + name, { Length: 1 or 2 } => name, _ => null };
        text.Append('\\').Append(kind).Append('{').Append(known).Append('}');
        return known is not null;
    }

    private static bool TryClass(string pattern, ref int at, StringBuilder text)
    {
        text.Append('[');
        int i = at + 1;
        if (i < pattern.Length && pattern[i] == '^')
        {
            text.Append('^');
            i++;
        }
        bool isFirst = true;
        for (; i < pattern.Length; i++, isFirst = false)
        {
            char unit = pattern[i];
            if (unit == ']' && !isFirst)
            {
                text.Append(']');
                at = i;
                return true;
            }
            if (unit == '[' && i + 1 < pattern.Length && pattern[i + 1] == ':')
            {
                int end = pattern.IndexOf(":]", i, StringComparison.Ordinal);
                if (end < 0 || !s_classes.TryGetValue(pattern[(i + 2)..end], out string? members))
                    return false;
                text.Append(members);
                i = end + 1;
            }
            else if (unit == '\\')
            {
                if (i + 1 == pattern.Length || !TryEscape(pattern, ref i, text, isInClass: true))
                    return false;
            }
            else
            {
                text.Append(unit is '[' or ']' ? $"\\{unit}" : unit.ToString());
            }
        }
        return false;
    }
}
