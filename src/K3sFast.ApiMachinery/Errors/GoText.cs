using System.Buffers;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Values as Go's fmt prints them in upstream's messages.</summary>
public static class GoText
{
    /// <summary>No message shows more characters of one value than these; upstream would show all of it.</summary>
    public const int MaxShown = 64 * 1024;

    // What %q prints as it is, and a reader finds in nearly all texts.
    private static readonly SearchValues<char> s_plain = SearchValues.Create([.. Enumerable.Range(0x20, 0x5F).Select(static c => (char)c).Where(static c => c is not ('"' or '\\'))]);

    /// <summary>The beginning of a text that is longer than messages show.</summary>
    public static string Clip(string text) => text.Length <= MaxShown ? text : string.Concat(text.AsSpan(0, MaxShown), "...");

    /// <summary>A node as compact JSON, or the beginning of it.</summary>
    internal static string Json(ApiNode node)
    {
        var buffer = new ArrayBufferWriter<byte>();
        var writer = new JsonTextWriter(buffer, MaxShown);
        node.WriteJson(ref writer);
        writer.Flush();
        return Clip(Encoding.UTF8.GetString(buffer.WrittenSpan[..Math.Min(buffer.WrittenCount, MaxShown * 2)]));
    }

    /// <summary>The text in double quotes as %q prints it: what cannot be printed is escaped.</summary>
    public static string Quote(ReadOnlySpan<char> text)
    {
        if (text.Length > MaxShown)
            return $"{Quote(text[..MaxShown])[..^1]}...\"";
        if (!text.ContainsAnyExcept(s_plain))
            return string.Concat("\"", text, "\"");
        var quoted = new StringBuilder(text.Length + 2).Append('"');
        foreach (var rune in text.EnumerateRunes())
            AppendRune(quoted, rune);
        return quoted.Append('"').ToString();
    }

    /// <inheritdoc cref="Quote(ReadOnlySpan{char})"/>
    public static string Quote(ReadOnlySpan<byte> utf8) => Quote(Encoding.UTF8.GetString(utf8.Length > MaxShown * 4 ? utf8[..(MaxShown * 4)] : utf8));

    /// <summary>A node as %v prints the Go value of it: map[a:1 b:[x y]]; or the beginning of that.</summary>
    public static string Value(ApiNode node)
    {
        var text = new StringBuilder();
        AppendValue(text, node);
        return Clip(text.ToString());
    }

    private static void AppendValue(StringBuilder text, ApiNode node)
    {
        if (text.Length > MaxShown)
            return;
        switch (node.Kind)
        {
            case NodeKind.Object:
                StackGuard.Enter();
                var members = new List<(string Name, ApiNode Value)>();
                foreach (var member in node.Members)
                    members.Add((Encoding.UTF8.GetString(member.Name), member.Value));
                members.Sort(static (left, right) => string.CompareOrdinal(left.Name, right.Name));
                text.Append("map[");
                for (var i = 0; i < members.Count && text.Length <= MaxShown; i++)
                    AppendValue(text.Append(i > 0 ? " " : "").Append(members[i].Name).Append(':'), members[i].Value);
                text.Append(']');
                break;
            case NodeKind.Array:
                StackGuard.Enter();
                text.Append('[');
                var separator = "";
                foreach (var element in node.Elements)
                {
                    AppendValue(text.Append(separator), element);
                    separator = " ";
                    if (text.Length > MaxShown)
                        break;
                }
                text.Append(']');
                break;
            case NodeKind.String or NodeKind.Number:
                text.Append(node.AsString());
                break;
            case NodeKind.True:
                text.Append("true");
                break;
            case NodeKind.False:
                text.Append("false");
                break;
            default:
                text.Append("<nil>");
                break;
        }
    }

    /// <summary>Whether Go's unicode.IsPrint holds of the rune: letters, marks, numbers, punctuation, symbols and the blank.</summary>
    public static bool IsPrint(Rune rune) => rune.Value == ' ' || IsPrintable(rune);

    private static void AppendRune(StringBuilder quoted, Rune rune)
    {
        switch (rune.Value)
        {
            case '"': quoted.Append("\\\""); return;
            case '\\': quoted.Append("\\\\"); return;
            case '\a': quoted.Append("\\a"); return;
            case '\b': quoted.Append("\\b"); return;
            case '\f': quoted.Append("\\f"); return;
            case '\n': quoted.Append("\\n"); return;
            case '\r': quoted.Append("\\r"); return;
            case '\t': quoted.Append("\\t"); return;
            case '\v': quoted.Append("\\v"); return;
            case < 0x20 or 0x7F: quoted.Append(CultureInfo.InvariantCulture, $"\\x{rune.Value:x2}"); return;
        }
        if (rune.Value == ' ' || IsPrintable(rune))
            quoted.Append(rune.ToString());
        else if (rune.Value < 0x10000)
            quoted.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}");
        else
            quoted.Append(CultureInfo.InvariantCulture, $"\\U{rune.Value:x8}");
    }

    private static bool IsPrintable(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format
        or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.SpaceSeparator
        or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
}
