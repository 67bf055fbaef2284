using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Values as Go's fmt prints them in upstream's messages.</summary>
public static class GoText
{
    /// <summary>The text in double quotes as %q prints it: what cannot be printed is escaped.</summary>
    public static string Quote(ReadOnlySpan<char> text)
    {
        var quoted = new StringBuilder(text.Length + 2).Append('"');
        foreach (var rune in text.EnumerateRunes())
            AppendRune(quoted, rune);
        return quoted.Append('"').ToString();
    }

    /// <inheritdoc cref="Quote(ReadOnlySpan{char})"/>
    public static string Quote(ReadOnlySpan<byte> utf8) => Quote(Encoding.UTF8.GetString(utf8));

    /// <summary>A node as %v prints the Go value of it: map[a:1 b:[x y]].</summary>
    public static string Value(ApiNode node)
    {
        switch (node.Kind)
        {
            case NodeKind.Object:
                var members = new List<(string Name, string Value)>();
                foreach (var member in node.Members)
                    members.Add((Encoding.UTF8.GetString(member.Name), Value(member.Value)));
                return $"map[{string.Join(' ', members.OrderBy(member => member.Name, StringComparer.Ordinal).Select(member => $"{member.Name}:{member.Value}"))}]";
            case NodeKind.Array:
                var elements = new List<string>();
                foreach (var element in node.Elements)
                    elements.Add(Value(element));
                return $"[{string.Join(' ', elements)}]";
            case NodeKind.String or NodeKind.Number:
                return node.AsString();
            case NodeKind.True:
                return "true";
            case NodeKind.False:
                return "false";
            default:
                return "<nil>";
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
