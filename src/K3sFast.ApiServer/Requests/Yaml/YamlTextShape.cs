using System.Buffers;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>Which styles the characters of a text allow in block context, by the rules of upstream's encoder.</summary>
internal readonly record struct YamlTextShape(bool AllowsPlain, bool AllowsSingleQuotes, bool AllowsBlock)
{
    /// <summary>Bytes at which a folded text may need something else than a copy; those that are not ASCII lead what breaks lines.</summary>
    internal static readonly SearchValues<byte> FoldingStops = SearchValues.Create([(byte)' ', (byte)'\'', (byte)'\r', (byte)'\n', 0xC2, 0xE2]);

    /// <summary>The same for a literal block.</summary>
    internal static readonly SearchValues<byte> LiteralStops = SearchValues.Create([(byte)'\r', (byte)'\n', 0xC2, 0xE2]);

    // What most texts are made of: nothing in them needs a second look.
    private static readonly SearchValues<byte> s_harmless = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./=,+()"u8);

    // Plain texts do not begin with one of these.
    private static readonly SearchValues<byte> s_indicators = SearchValues.Create("#,[]{}&*!|>'\"%@`"u8);

    internal static YamlTextShape Of(ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty)
            return new YamlTextShape(false, true, false);
        if (char.IsAsciiLetterOrDigit((char)value[0]) && !value.ContainsAnyExcept(s_harmless))
            return new YamlTextShape(true, true, true);
        bool hasIndicator = value.StartsWith("---"u8) || value.StartsWith("..."u8) || s_indicators.Contains(value[0]), isSpecial = false, hasBreak = false;
        bool hasSpaceBreak = false, hasBreakSpace = false, wasBreak = false;
        for (var i = 0; i < value.Length;)
        {
            var length = LengthAt(value, i, out var character);
            var isFollowedByBlank = i + length >= value.Length || value[i + length] is (byte)' ' or (byte)'\t';
            hasIndicator |= character switch
            {
                ':' => isFollowedByBlank,
                '?' or '-' => i == 0 && isFollowedByBlank,
                '#' => i > 0 && value[i - 1] is (byte)' ' or (byte)'\t',
                _ => false,
            };
            isSpecial |= !IsPrintable(character);
            var isBreak = BreakLength(value[i..]) > 0;
            hasBreak |= isBreak;
            hasSpaceBreak |= isBreak && i > 0 && value[i - 1] == ' ';
            hasBreakSpace |= character == ' ' && wasBreak;
            wasBreak = isBreak;
            i += length;
        }
        var isEdgeBlank = value[0] == ' ' || value[^1] == ' ' || BreakLength(value) > 0 || EndsWithBreak(value, out _);
        return new YamlTextShape(
            !(hasIndicator || isSpecial || hasBreak || isEdgeBlank),
            !(hasBreakSpace || hasSpaceBreak || isSpecial),
            !(value[^1] == ' ' || hasSpaceBreak || isSpecial));
    }

    /// <summary>Characters that upstream's encoder does not escape. Its eldest rule holds: none beyond the basic plane, and no tab.</summary>
    internal static bool IsPrintable(int value) =>
        value is '\n' or >= ' ' and <= '~' or >= 0xA0 and <= 0xD7FF or >= 0xE000 and <= 0xFFFD and not 0xFEFF;

    /// <summary>Bytes of the line break that the text begins with; 0 = it begins with none.</summary>
    internal static int BreakLength(ReadOnlySpan<byte> text) => text.IsEmpty ? 0 : text[0] switch
    {
        (byte)'\n' or (byte)'\r' => 1,
        0xC2 when text.StartsWith("\u0085"u8) => 2,
        0xE2 when text.StartsWith("\u2028"u8) || text.StartsWith("\u2029"u8) => 3,
        _ => 0,
    };

    /// <summary>The text's last character breaks the line; its bytes.</summary>
    internal static bool EndsWithBreak(ReadOnlySpan<byte> text, out int length)
    {
        for (length = 1; length <= 3 && length <= text.Length; length++)
        {
            if (BreakLength(text[^length..]) == length)
                return true;
        }
        return false;
    }

    internal static bool HasBreak(ReadOnlySpan<byte> text)
    {
        for (var at = text.IndexOfAny(LiteralStops); at >= 0;)
        {
            if (BreakLength(text[at..]) > 0)
                return true;
            text = text[(at + 1)..];
            at = text.IndexOfAny(LiteralStops);
        }
        return false;
    }

    private static int LengthAt(ReadOnlySpan<byte> text, int at, out int character)
    {
        character = text[at];
        if (character < 0x80)
            return 1;
        Rune.DecodeFromUtf8(text[at..], out var rune, out var length);
        character = rune.Value;
        return length;
    }
}
