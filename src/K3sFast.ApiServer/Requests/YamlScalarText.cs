using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.ApiServer;

/// <summary>
/// One text as a YAML scalar (YAML 1.1), in the style that upstream's encoder takes: plain where it stays a text, a literal block for several lines,
/// double quotes where a reader would take it for something else, single quotes where only its characters are in the way.
/// </summary>
internal static partial class YamlScalarText
{
    // Behind this column a text is folded at its next blank.
    private const int BestWidth = 80;

    private static readonly HashSet<string> s_words = new(StringComparer.Ordinal)
    {
        "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON", "n", "N", "no", "No", "NO", "false", "False", "FALSE",
        "off", "Off", "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", "<<",
    };

    /// <summary>Writes the text. <paramref name="indent"/> is that of its further lines; a key has none.</summary>
    internal static void Write(StringBuilder text, string value, int indent, bool isKey)
    {
        var shape = Shape.Of(value);
        // In a key a line separator would end the line that the colon must stand on.
        if (IsSomethingElse(value) || isKey && value.AsSpan().ContainsAny('\u0085', '\u2028', '\u2029'))
            WriteDoubleQuoted(text, value, indent, isKey);
        else if (value.Contains('\n', StringComparison.Ordinal))
        {
            if (!isKey && shape.AllowsBlock)
                WriteLiteral(text, value, indent);
            else
                WriteDoubleQuoted(text, value, indent, isKey);
        }
        else if (shape.AllowsPlain)
            Fold(text, value, indent, isKey, "", static character => character.ToString());
        else if (shape.AllowsSingleQuotes)
            Fold(text, value, indent, isKey, "'", static character => character == '\'' ? "''" : character.ToString());
        else
            WriteDoubleQuoted(text, value, indent, isKey);
    }

    /// <summary>A reader would take the plain text for a number, a boolean, a time or nothing.</summary>
    private static bool IsSomethingElse(string value)
    {
        if (s_words.Contains(value))
            return true;
        if (!(char.IsAsciiDigit(value[0]) || value[0] is '+' or '-' or '.'))
            return false;
        var digits = value.Replace("_", "", StringComparison.Ordinal);
        return Number().IsMatch(digits) || Based().IsMatch(digits) || Sexagesimal().IsMatch(value) || Time().IsMatch(value);
    }

    private static void Fold(StringBuilder text, string value, int indent, bool isKey, string quote, Func<char, string> write)
    {
        text.Append(quote);
        var wasBlank = false;
        for (var i = 0; i < value.Length; i++)
        {
            if (value[i] == ' ')
            {
                var mayBreak = !isKey && !wasBlank && i > 0 && i < value.Length - 1 && value[i + 1] != ' ' && Column(text) > BestWidth;
                if (mayBreak)
                    text.Append('\n').Append(' ', indent);
                else
                    text.Append(' ');
                wasBlank = true;
                continue;
            }
            text.Append(write(value[i]));
            wasBlank = false;
        }
        text.Append(quote);
    }

    private static void WriteDoubleQuoted(StringBuilder text, string value, int indent, bool isKey)
    {
        text.Append('"');
        var wasBlank = false;
        for (var i = 0; i < value.Length; i++)
        {
            var rune = Rune.GetRuneAt(value, i) is var found && char.IsHighSurrogate(value[i]) ? found : new Rune(char.IsSurrogate(value[i]) ? '\uFFFD' : value[i]);
            if (rune.Value == ' ')
            {
                if (!isKey && !wasBlank && i > 0 && i < value.Length - 1 && Column(text) > BestWidth)
                {
                    text.Append('\n').Append(' ', indent);
                    if (value[i + 1] == ' ')
                        text.Append('\\');
                }
                else
                {
                    text.Append(' ');
                }
                wasBlank = true;
                continue;
            }
            wasBlank = false;
            if (rune.Utf16SequenceLength == 2)
                i++;
            text.Append(Escape(rune));
        }
        text.Append('"');
    }

    private static string Escape(Rune rune) => rune.Value switch
    {
        0 => "\\0",
        7 => "\\a",
        8 => "\\b",
        9 => "\\t",
        10 => "\\n",
        11 => "\\v",
        12 => "\\f",
        13 => "\\r",
        27 => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        0x85 => "\\N",
        0xA0 => "\\_",
        0x2028 => "\\L",
        0x2029 => "\\P",
        var value when IsPrintable(value) => rune.ToString(),
        <= 0xFF => $"\\x{rune.Value:X2}",
        <= 0xFFFF => $"\\u{rune.Value:X4}",
        _ => $"\\U{rune.Value:X8}",
    };

    private static void WriteLiteral(StringBuilder text, string value, int indent)
    {
        text.Append('|');
        if (value[0] is ' ' or '\n')
            text.Append('2');
        if (value[^1] != '\n')
            text.Append('-');
        else if (value.Length == 1 || value[^2] == '\n')
            text.Append('+');
        foreach (var line in (value[^1] == '\n' ? value[..^1] : value).Split('\n'))
        {
            text.Append('\n');
            if (line.Length > 0)
                text.Append(' ', indent).Append(line);
        }
        text.Append('\n');
    }

    private static bool IsPrintable(int value) =>
        value is '\n' or '\t' or >= ' ' and <= '~' or 0x85 or >= 0xA0 and <= 0xD7FF or >= 0xE000 and <= 0xFFFD and not 0xFEFF or >= 0x10000;

    private static int Column(StringBuilder text)
    {
        var column = 0;
        for (var i = text.Length - 1; i >= 0 && text[i] != '\n'; i--)
            column++;
        return column;
    }

    [GeneratedRegex("^[-+]?(\\.[0-9]+|[0-9]+(\\.[0-9]*)?)([eE][-+]?[0-9]+)?$", RegexOptions.CultureInvariant)]
    private static partial Regex Number();

    [GeneratedRegex("^[-+]?0(x[0-9a-fA-F]+|o[0-7]+|b[01]+)$", RegexOptions.CultureInvariant)]
    private static partial Regex Based();

    [GeneratedRegex("^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\\.[0-9_]*)?$", RegexOptions.CultureInvariant)]
    private static partial Regex Sexagesimal();

    [GeneratedRegex("^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9:.]+ ?(Z|[-+][0-9:]+)?)?$", RegexOptions.CultureInvariant)]
    private static partial Regex Time();

    /// <summary>Which styles the characters of a text allow in block context.</summary>
    private readonly record struct Shape(bool AllowsPlain, bool AllowsSingleQuotes, bool AllowsBlock)
    {
        internal static Shape Of(string value)
        {
            if (value.Length == 0)
                return new Shape(false, true, false);
            bool hasIndicator = value.StartsWith("---", StringComparison.Ordinal) || value.StartsWith("...", StringComparison.Ordinal), isSpecial = false, hasBreak = false;
            bool hasSpaceBreak = false, hasBreakSpace = false, hasTab = false;
            for (var i = 0; i < value.Length; i++)
            {
                var character = value[i];
                var isFollowedByBlank = i + 1 >= value.Length || IsBlank(value[i + 1]);
                hasIndicator |= i == 0
                    ? character is '#' or ',' or '[' or ']' or '{' or '}' or '&' or '*' or '!' or '|' or '>' or '\'' or '"' or '%' or '@' or '`'
                        || character is '?' or ':' or '-' && isFollowedByBlank
                    : character == ':' && isFollowedByBlank || character == '#' && IsBlank(value[i - 1]);
                isSpecial |= !(IsPrintable(character) || char.IsSurrogate(character));
                hasTab |= character == '\t';
                var isBreak = IsBreak(character);
                hasBreak |= isBreak;
                hasSpaceBreak |= isBreak && i > 0 && value[i - 1] == ' ';
                hasBreakSpace |= character == ' ' && i > 0 && IsBreak(value[i - 1]);
            }
            bool isEdgeBlank = value[0] == ' ' || value[^1] == ' ' || IsBreak(value[0]) || IsBreak(value[^1]);
            return new Shape(
                !(hasIndicator || isSpecial || hasBreak || isEdgeBlank || hasTab),
                !(hasBreakSpace || hasSpaceBreak || isSpecial || hasTab),
                !(value[^1] == ' ' || hasSpaceBreak || isSpecial));
        }

        private static bool IsBreak(char character) => character is '\n' or '\r' or '\u0085' or '\u2028' or '\u2029';

        private static bool IsBlank(char character) => character is ' ' or '\t' || IsBreak(character);
    }
}
