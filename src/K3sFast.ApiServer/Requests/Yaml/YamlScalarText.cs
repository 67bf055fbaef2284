using System.Buffers;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>
/// One text as a YAML scalar (YAML 1.1), in the style that upstream's encoder takes: plain where it stays a text, a literal block for several lines,
/// double quotes where a reader would take it for something else, single quotes where only its characters are in the way.
/// </summary>
internal static class YamlScalarText
{
    // Behind this column a text is folded at its next blank.
    private const int BestWidth = 80;

    // A longer key is no simple one for upstream's encoder.
    private const int MaxSimpleKeyLength = 128;

    // Written as they are between double quotes, without a look at the column.
    private static readonly SearchValues<byte> s_unescaped = SearchValues.Create([.. Enumerable.Range('!', '~' - '!' + 1).Where(static c => c is not ('"' or '\\')).Select(static c => (byte)c)]);

    /// <summary>The key can stand before its colon as it is.</summary>
    internal static bool IsSimpleKey(ReadOnlySpan<byte> key) => key.Length <= MaxSimpleKeyLength && !YamlTextShape.HasBreak(key);

    /// <summary>Writes the text. <paramref name="indent"/> is that of its further lines; a simple key has none.</summary>
    internal static void Write(ref YamlOutput text, scoped ReadOnlySpan<byte> value, int indent, bool isKey)
    {
        var shape = YamlTextShape.Of(value);
        if (value.Contains((byte)'\n'))
        {
            if (shape.AllowsBlock)
                WriteLiteral(ref text, value, indent);
            else
                WriteDoubleQuoted(ref text, value, indent, isKey);
        }
        else if (!YamlPlainText.IsText(value))
            WriteDoubleQuoted(ref text, value, indent, isKey);
        else if (shape.AllowsPlain)
            WriteFolded(ref text, value, indent, isKey, isQuoted: false);
        else if (shape.AllowsSingleQuotes)
            WriteFolded(ref text, value, indent, isKey, isQuoted: true);
        else
            WriteDoubleQuoted(ref text, value, indent, isKey);
    }

    private static void WriteFolded(ref YamlOutput text, scoped ReadOnlySpan<byte> value, int indent, bool isKey, bool isQuoted)
    {
        if (isQuoted)
            text.Write((byte)'\'');
        bool wasBlank = false, isLineStart = false;
        for (var i = 0; i < value.Length; i++)
        {
            if (value[i] == ' ')
            {
                if (!isKey && !wasBlank && i > 0 && i < value.Length - 1 && value[i + 1] != ' ' && text.Column > BestWidth)
                    FoldLine(ref text, indent);
                else
                    text.Write((byte)' ');
                wasBlank = true;
                continue;
            }
            if (YamlTextShape.BreakLength(value[i..]) is > 0 and var length)
            {
                text.WriteBreak(value.Slice(i, length));
                i += length - 1;
                isLineStart = true;
                continue;
            }
            if (isLineStart)
                text.Indent(indent);
            (isLineStart, wasBlank) = (false, false);
            var run = value[i..];
            var end = run[1..].IndexOfAny(YamlTextShape.FoldingStops);
            run = end < 0 ? run : run[..(end + 1)];
            if (isQuoted && run[0] == '\'')
                text.Write((byte)'\'');
            text.Write(run);
            i += run.Length - 1;
        }
        if (isQuoted)
            text.Write((byte)'\'');
    }

    private static void WriteDoubleQuoted(ref YamlOutput text, scoped ReadOnlySpan<byte> value, int indent, bool isKey)
    {
        text.Write((byte)'"');
        var wasBlank = false;
        // As upstream: behind a byte order mark everything is escaped.
        var isAllEscaped = value.StartsWith("\uFEFF"u8);
        for (var i = 0; i < value.Length;)
        {
            if (value[i] == ' ' && !isAllEscaped)
            {
                if (!isKey && !wasBlank && i > 0 && i < value.Length - 1 && text.Column > BestWidth)
                {
                    FoldLine(ref text, indent);
                    if (value[i + 1] == ' ')
                        text.Write((byte)'\\');
                }
                else
                {
                    text.Write((byte)' ');
                }
                wasBlank = true;
                i++;
                continue;
            }
            wasBlank = false;
            if (!isAllEscaped && value[i..].IndexOfAnyExcept(s_unescaped) is not 0 and var clean)
            {
                clean = clean < 0 ? value.Length - i : clean;
                text.Write(value.Slice(i, clean));
                i += clean;
                continue;
            }
            Rune.DecodeFromUtf8(value[i..], out var rune, out var length);
            if (isAllEscaped || rune.Value is '"' or '\\' || !YamlTextShape.IsPrintable(rune.Value) || YamlTextShape.BreakLength(value[i..]) > 0)
                Escape(ref text, rune);
            else
                text.Write(value.Slice(i, length));
            i += length;
        }
        text.Write((byte)'"');
    }

    private static void Escape(ref YamlOutput text, Rune rune)
    {
        var mark = rune.Value switch
        {
            0 => '0',
            7 => 'a',
            8 => 'b',
            9 => 't',
            10 => 'n',
            11 => 'v',
            12 => 'f',
            13 => 'r',
            27 => 'e',
            '"' => '"',
            '\\' => '\\',
            0x85 => 'N',
            0xA0 => '_',
            0x2028 => 'L',
            0x2029 => 'P',
            <= 0xFF => 'x',
            <= 0xFFFF => 'u',
            _ => 'U',
        };
        text.Write((byte)'\\');
        text.Write((byte)mark);
        if (mark is not ('x' or 'u' or 'U'))
            return;
        Span<byte> digits = stackalloc byte[8];
        rune.Value.TryFormat(digits, out _, "X8", CultureInfo.InvariantCulture);
        text.Write(digits[(mark == 'x' ? 6 : mark == 'u' ? 4 : 0)..]);
    }

    private static void WriteLiteral(ref YamlOutput text, scoped ReadOnlySpan<byte> value, int indent)
    {
        text.Write((byte)'|');
        if (value[0] == ' ' || YamlTextShape.BreakLength(value) > 0)
            text.Write((byte)'2');
        if (!YamlTextShape.EndsWithBreak(value, out var last))
            text.Write((byte)'-');
        else if (last == value.Length || YamlTextShape.EndsWithBreak(value[..^last], out _))
            text.Write((byte)'+');
        text.EndLine();
        var isLineStart = true;
        for (var i = 0; i < value.Length;)
        {
            var length = YamlTextShape.BreakLength(value[i..]);
            if (length == 0)
            {
                if (isLineStart)
                    text.Indent(indent);
                isLineStart = false;
                var run = value[i..];
                var end = run[1..].IndexOfAny(YamlTextShape.LiteralStops);
                run = end < 0 ? run : run[..(end + 1)];
                text.Write(run);
                i += run.Length;
                continue;
            }
            if (value[i] == '\n')
                text.EndLine();
            else
                text.WriteBreak(value.Slice(i, length));
            isLineStart = true;
            i += length;
        }
    }

    private static void FoldLine(ref YamlOutput text, int indent)
    {
        text.EndLine();
        text.Indent(indent);
    }
}
