using System.Globalization;
using System.Text;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Text: the standard's functions and version 2 of the strings extension. Places count code points.</summary>
internal static class CelStringLibrary
{
    private static readonly CelType s_string = CelType.String, s_int = CelType.Int, s_bool = CelType.Bool, s_list = CelType.List(CelType.String);

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("contains", Member("contains_string", [s_string, s_string], s_bool, static args => CelValue.Of(args[0].AsString.Contains(args[1].AsString, StringComparison.Ordinal)))),
        Function("startsWith", Member("starts_with_string", [s_string, s_string], s_bool, static args => CelValue.Of(args[0].AsString.StartsWith(args[1].AsString, StringComparison.Ordinal)))),
        Function("endsWith", Member("ends_with_string", [s_string, s_string], s_bool, static args => CelValue.Of(args[0].AsString.EndsWith(args[1].AsString, StringComparison.Ordinal)))),
        Function("charAt", Member("string_char_at_int", [s_string, s_int], s_string, static args => CharAt(args[0].AsString, args[1].AsInt))),
        Function("indexOf",
            Member("string_index_of_string", [s_string, s_string], s_int, static args => IndexOf(args[0].AsString, args[1].AsString, 0)),
            Member("string_index_of_string_int", [s_string, s_string, s_int], s_int, static args => IndexOf(args[0].AsString, args[1].AsString, args[2].AsInt))),
        Function("lastIndexOf",
            Member("string_last_index_of_string", [s_string, s_string], s_int, static args => LastIndexOf(args[0].AsString, args[1].AsString)),
            Member("string_last_index_of_string_int", [s_string, s_string, s_int], s_int, static args => LastIndexOf(args[0].AsString, args[1].AsString, args[2].AsInt))),
        Function("lowerAscii", Member("string_lower_ascii", [s_string], s_string, static args => Map(args[0].AsString, char.IsAsciiLetterUpper, static unit => (char)(unit | 0x20)))),
        Function("upperAscii", Member("string_upper_ascii", [s_string], s_string, static args => Map(args[0].AsString, char.IsAsciiLetterLower, static unit => (char)(unit & ~0x20)))),
        Function("replace",
            Member("string_replace_string_string", [s_string, s_string, s_string], s_string, static args => Replace(args[0].AsString, args[1].AsString, args[2].AsString, -1)),
            Member("string_replace_string_string_int", [s_string, s_string, s_string, s_int], s_string,
                static args => Replace(args[0].AsString, args[1].AsString, args[2].AsString, args[3].AsInt))),
        Function("split",
            Member("string_split_string", [s_string, s_string], s_list, static args => Split(args[0].AsString, args[1].AsString, -1)),
            Member("string_split_string_int", [s_string, s_string, s_int], s_list, static args => Split(args[0].AsString, args[1].AsString, args[2].AsInt))),
        Function("substring",
            Member("string_substring_int", [s_string, s_int], s_string, static args => Substring(args[0].AsString, args[1].AsInt, null)),
            Member("string_substring_int_int", [s_string, s_int, s_int], s_string, static args => Substring(args[0].AsString, args[1].AsInt, args[2].AsInt))),
        Function("trim", Member("string_trim", [s_string], s_string, static args => CelValue.Of(args[0].AsString.Trim()))),
        Function("format", Member("string_format", [s_string, CelType.ListOfDyn], s_string, static args => CelStringFormat.Format(args[0].AsString, args[1].AsList))),
        Function("strings.quote", Global("strings_quote", [s_string], s_string, static args => CelValue.Of(Quote(args[0].AsString)))),
        Function("join",
            Member("list_join", [s_list], s_string, static args => Join(args[0].AsList, "")),
            Member("list_join_string", [s_list, s_string], s_string, static args => Join(args[0].AsList, args[1].AsString))),
    ];

    private static CelValue OutOfRange(long index) => CelValue.Error(string.Create(CultureInfo.InvariantCulture, $"index out of range: {index}"));

    // The offset in UTF-16 units of a place in code points; the place is within the text or at its end.
    private static int Offset(string text, long place)
    {
        int at = 0;
        for (; place > 0; place--)
            at += char.IsHighSurrogate(text[at]) && at + 1 < text.Length ? 2 : 1;
        return at;
    }

    private static CelValue CharAt(string text, long index)
    {
        int length = CelIssues.CodePoints(text);
        if (index < 0 || index > length)
            return OutOfRange(index);
        return index == length ? CelValue.Of("") : Substring(text, index, index + 1);
    }

    private static CelValue IndexOf(string text, string part, long start)
    {
        if (part.Length == 0)
            return CelValue.Of(start);
        if (start < 0)
            return OutOfRange(start);
        if (start >= CelIssues.CodePoints(text))
            return CelValue.Of(-1L);
        int found = text.IndexOf(part, Offset(text, start), StringComparison.Ordinal);
        return CelValue.Of(found < 0 ? -1L : CelIssues.CodePoints(text.AsSpan(0, found)));
    }

    private static CelValue LastIndexOf(string text, string part)
    {
        int length = CelIssues.CodePoints(text);
        return part.Length == 0 ? CelValue.Of((long)length) : text.Length < part.Length ? CelValue.Of(-1L) : LastIndexOf(text, part, length - 1);
    }

    private static CelValue LastIndexOf(string text, string part, long last)
    {
        if (part.Length == 0)
            return CelValue.Of(last);
        if (last < 0)
            return OutOfRange(last);
        if (last >= CelIssues.CodePoints(text))
            return CelValue.Of(-1L);
        int end = (int)Math.Min((long)text.Length, Offset(text, last) + part.Length);
        int found = text.AsSpan(0, end).LastIndexOf(part, StringComparison.Ordinal);
        return CelValue.Of(found < 0 ? -1L : CelIssues.CodePoints(text.AsSpan(0, found)));
    }

    private static CelValue Map(string text, Func<char, bool> isMeant, Func<char, char> map) =>
        CelValue.Of(string.Create(text.Length, (text, isMeant, map), static (output, state) =>
        {
            for (int i = 0; i < output.Length; i++)
                output[i] = state.isMeant(state.text[i]) ? state.map(state.text[i]) : state.text[i];
        }));

    private static CelValue Replace(string text, string old, string with, long count)
    {
        if (old == with || count == 0)
            return CelValue.Of(text);
        var result = new StringBuilder();
        int at = 0;
        // An empty text stands before every character and at the end.
        for (long done = 0; count < 0 || done < count; done++)
        {
            int found = at;
            if (old.Length > 0)
                found = text.IndexOf(old, at, StringComparison.Ordinal);
            else if (done > 0)
                found = at < text.Length ? at + Offset(text[at..], 1) : -1;
            if (found < 0)
                break;
            result.Append(text, at, found - at).Append(with);
            at = found + old.Length;
        }
        return CelValue.Of(result.Append(text, at, text.Length - at).ToString());
    }

    private static CelValue Split(string text, string separator, long count)
    {
        if (count == 0)
            return CelValue.Of(new CelValueList([]));
        if (separator.Length > 0)
            return CelValue.Of(count < 0 ? text.Split(separator) : text.Split(separator, (int)Math.Min(count, int.MaxValue)));
        var parts = new List<string>();
        int at = 0;
        while (at < text.Length && (count < 0 || parts.Count < count - 1))
        {
            int next = at + Offset(text[at..], 1);
            parts.Add(text[at..next]);
            at = next;
        }
        if (at < text.Length)
            parts.Add(text[at..]);
        return CelValue.Of(parts);
    }

    private static CelValue Substring(string text, long start, long? end)
    {
        long length = CelIssues.CodePoints(text);
        if (start > end)
            return CelValue.Error(string.Create(CultureInfo.InvariantCulture, $"invalid substring range. start: {start}, end: {end}"));
        if (start < 0 || start > length)
            return OutOfRange(start);
        if (end < 0 || end > length)
            return OutOfRange(end.Value);
        int from = Offset(text, start);
        return CelValue.Of(text[from..(end is { } stop ? Offset(text, stop) : text.Length)]);
    }

    private static CelValue Join(CelList list, string separator)
    {
        var text = new StringBuilder();
        for (int i = 0; i < list.Count; i++)
        {
            if (list[i].Kind != CelKind.String)
                return CelValue.Error($"join: invalid input: {CelText.Print(list[i])}");
            text.Append(i == 0 ? "" : separator).Append(list[i].AsString);
        }
        return CelValue.Of(text.ToString());
    }

    private static string Quote(string text)
    {
        var quoted = new StringBuilder("\"");
        foreach (char unit in text)
        {
            _ = unit switch
            {
                '\a' => quoted.Append("\\a"),
                '\b' => quoted.Append("\\b"),
                '\f' => quoted.Append("\\f"),
                '\n' => quoted.Append("\\n"),
                '\r' => quoted.Append("\\r"),
                '\t' => quoted.Append("\\t"),
                '\v' => quoted.Append("\\v"),
                '\\' => quoted.Append("\\\\"),
                '"' => quoted.Append("\\\""),
                _ => quoted.Append(unit),
            };
        }
        return quoted.Append('"').ToString();
    }
}
