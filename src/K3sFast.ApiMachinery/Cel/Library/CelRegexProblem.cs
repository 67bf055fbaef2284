namespace K3sFast.ApiMachinery;

/// <summary>What is wrong with a pattern, in the words of Go's regexp/syntax. Looked for only in patterns that are known to be wrong.</summary>
internal static class CelRegexProblem
{
    internal static string Of(string pattern)
    {
        int open = 0;
        string lastRepeat = "";
        bool canRepeat = false;
        for (int i = 0; i < pattern.Length; i++)
        {
            string repeat = "";
            switch (pattern[i])
            {
                case '\\' when i + 1 == pattern.Length:
                    return "trailing backslash at end of expression: ``";
                case '\\' when char.IsAsciiLetterOrDigit(pattern[i + 1]) && !"aftnrvxdDsSwWbBAzQEpPC0123456789".Contains(pattern[i + 1]) || pattern[i + 1] is >= '1' and <= '9':
                    return $"invalid escape sequence: `{pattern.AsSpan(i, 2)}`";
                case '\\':
                    i++;
                    canRepeat = true;
                    break;
                case '[':
                    int end = ClassEnd(pattern, i);
                    if (end < 0)
                        return $"missing closing ]: `{pattern.AsSpan(i)}`";
                    if (BadRange(pattern[i..(end + 1)]) is { } range)
                        return $"invalid character class range: `{range}`";
                    i = end;
                    canRepeat = true;
                    break;
                case '(':
                    if (i + 2 < pattern.Length && pattern[i + 1] == '?' && pattern.AsSpan(i + 2).IndexOfAny("imsU-:P<") != 0 || string.CompareOrdinal(pattern, i, "(?<=", 0, 4) == 0 || string.CompareOrdinal(pattern, i, "(?<!", 0, 4) == 0)
                        return $"invalid or unsupported Perl syntax: `{pattern.AsSpan(i, Math.Min(pattern[i + 2] == '<' ? 4 : 3, pattern.Length - i))}`";
                    open++;
                    canRepeat = false;
                    break;
                case ')':
                    if (open-- == 0)
                        return $"unexpected ): `{pattern}`";
                    canRepeat = true;
                    break;
                case '*' or '+' or '?':
                    repeat = pattern[i].ToString();
                    if (!canRepeat)
                        return $"missing argument to repetition operator: `{repeat}`";
                    if (lastRepeat.Length > 0 && (repeat != "?" || lastRepeat.Length > 1))
                        return $"invalid nested repetition operator: `{lastRepeat}{repeat}`";
                    repeat = lastRepeat + repeat;
                    break;
                case '|':
                    canRepeat = false;
                    break;
                default:
                    canRepeat = true;
                    break;
            }
            lastRepeat = repeat;
        }
        return open > 0 ? $"missing closing ): `{pattern}`" : $"invalid repeat count: `{pattern}`";
    }

    private static int ClassEnd(string pattern, int start)
    {
        int i = start + 1;
        if (i < pattern.Length && pattern[i] == '^')
            i++;
        for (bool isFirst = true; i < pattern.Length; i++, isFirst = false)
        {
            if (pattern[i] == ']' && !isFirst)
                return i;
            if (pattern[i] == '\\')
                i++;
            else if (pattern[i] == '[' && i + 1 < pattern.Length && pattern[i + 1] == ':' && pattern.IndexOf(":]", i, StringComparison.Ordinal) is var end and > 0)
                i = end + 1;
        }
        return -1;
    }

    private static string? BadRange(string set)
    {
        for (int i = 2; i + 1 < set.Length - 1; i++)
        {
            if (set[i] == '-' && set[i - 1] > set[i + 1] && set[i + 1] != ']' && set[i + 1] != '\\' && (i < 3 || set[i - 2] != '\\'))
                return set.Substring(i - 1, 3);
        }
        return null;
    }
}
