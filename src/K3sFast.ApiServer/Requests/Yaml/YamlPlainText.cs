using System.Buffers;
using System.Buffers.Text;
using System.Globalization;

namespace K3sFast.ApiServer;

/// <summary>What a reader of YAML 1.1 takes a text without quotes for, by the rules of upstream's encoder.</summary>
internal static class YamlPlainText
{
    // Longer texts are numbers too, but nobody means them.
    private const int MaxNumberLength = 512;

    private static readonly byte[][] s_words =
    [
        [.. "~"u8], [.. "null"u8], [.. "Null"u8], [.. "NULL"u8], [.. "y"u8], [.. "Y"u8], [.. "yes"u8], [.. "Yes"u8], [.. "YES"u8], [.. "true"u8], [.. "True"u8], [.. "TRUE"u8],
        [.. "on"u8], [.. "On"u8], [.. "ON"u8], [.. "n"u8], [.. "N"u8], [.. "no"u8], [.. "No"u8], [.. "NO"u8], [.. "false"u8], [.. "False"u8], [.. "FALSE"u8], [.. "off"u8],
        [.. "Off"u8], [.. "OFF"u8], [.. ".nan"u8], [.. ".NaN"u8], [.. ".NAN"u8], [.. ".inf"u8], [.. ".Inf"u8], [.. ".INF"u8], [.. "+.inf"u8], [.. "+.Inf"u8], [.. "+.INF"u8],
        [.. "-.inf"u8], [.. "-.Inf"u8], [.. "-.INF"u8],
    ];

    private static readonly SearchValues<byte> s_numberBytes = SearchValues.Create("0123456789abcdefABCDEFxXoO+-._"u8);

    /// <summary>It stays a text: it is no number, truth value, time, nor nothing.</summary>
    internal static bool IsText(ReadOnlySpan<byte> value)
    {
        if (value.IsEmpty)
            return false;
        if (value.Length <= 5 && IsWord(value))
            return false;
        if (!(char.IsAsciiDigit((char)value[0]) || value[0] is (byte)'+' or (byte)'-' or (byte)'.'))
            return true;
        return !(IsNumber(value) || IsSexagesimal(value) || IsTime(value));
    }

    private static bool IsWord(ReadOnlySpan<byte> value)
    {
        foreach (var word in s_words)
        {
            if (value.SequenceEqual(word))
                return true;
        }
        return false;
    }

    private static bool IsNumber(ReadOnlySpan<byte> value)
    {
        if (value.Length > MaxNumberLength || value.ContainsAnyExcept(s_numberBytes))
            return false;
        // Blanks between digits are nothing, except behind a point that comes first.
        Span<byte> plain = stackalloc byte[MaxNumberLength];
        var length = 0;
        foreach (var symbol in value)
        {
            if (symbol != '_' || value[0] == '.')
                plain[length++] = symbol;
        }
        plain = plain[..length];
        return IsDecimal(plain) || IsBased(plain);
    }

    // A number of decimal digits, finite.
    private static bool IsDecimal(ReadOnlySpan<byte> text)
    {
        var rest = SkipSign(text);
        var whole = DigitsOf(rest);
        rest = rest[whole..];
        var fraction = 0;
        if (!rest.IsEmpty && rest[0] == '.')
        {
            fraction = DigitsOf(rest[1..]);
            rest = rest[(1 + fraction)..];
        }
        if (whole + fraction == 0)
            return false;
        if (!rest.IsEmpty && rest[0] is (byte)'e' or (byte)'E')
        {
            rest = SkipSign(rest[1..]);
            var exponent = DigitsOf(rest);
            if (exponent == 0)
                return false;
            rest = rest[exponent..];
        }
        return rest.IsEmpty && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number);
    }

    // A whole number of another base that fits in 64 bits.
    private static bool IsBased(ReadOnlySpan<byte> text)
    {
        var isNegative = text.Length > 0 && text[0] == '-';
        text = SkipSign(text);
        if (text.Length < 3 || text[0] != '0')
            return false;
        var bits = (text[1] | 0x20) switch { 'x' => 4, 'o' => 3, 'b' => 1, _ => 0 };
        if (bits == 0)
            return false;
        UInt128 number = 0;
        foreach (var symbol in text[2..])
        {
            var digit = symbol <= '9' ? symbol - '0' : (symbol | 0x20) - 'a' + 10;
            number = (number << bits) | (uint)digit;
            if ((uint)digit >= 1u << bits || number > ulong.MaxValue)
                return false;
        }
        return !isNegative || number <= (UInt128)long.MaxValue + 1;
    }

    // Digits in groups of sixty, as 1:30; other readers know them.
    private static bool IsSexagesimal(ReadOnlySpan<byte> text)
    {
        text = SkipSign(text);
        if (text.IsEmpty || !char.IsAsciiDigit((char)text[0]))
            return false;
        var end = text.IndexOfAnyExcept("0123456789_"u8);
        if (end < 0 || text[end] != ':')
            return false;
        text = text[end..];
        while (!text.IsEmpty && text[0] == ':')
        {
            var digits = DigitsOf(text[1..]);
            if (digits is 0 or > 2 || digits == 2 && text[1] > '5')
                return false;
            text = text[(1 + digits)..];
        }
        return text.IsEmpty || text[0] == '.' && !text[1..].ContainsAnyExcept("0123456789_"u8);
    }

    // A date, or a date and a time: with its zone behind T, without behind a blank.
    private static bool IsTime(ReadOnlySpan<byte> text)
    {
        if (DigitsOf(text) != 4 || !Utf8Parser.TryParse(text, out int year, out _))
            return false;
        text = text[4..];
        if (!TryTake(ref text, '-', 1, 12, out var month) || !TryTake(ref text, '-', 1, 31, out var day) || day > DateTime.DaysInMonth(Math.Max(1, year), month))
            return false;
        if (text.IsEmpty)
            return true;
        var hasZone = text[0] is (byte)'T' or (byte)'t';
        if (!TryTake(ref text, hasZone ? (char)text[0] : ' ', 0, 23, out _) || !TryTake(ref text, ':', 0, 59, out _) || !TryTake(ref text, ':', 0, 59, out _))
            return false;
        if (text.Length > 1 && text[0] is (byte)'.' or (byte)',' && DigitsOf(text[1..]) is > 0 and var digits)
            text = text[(1 + digits)..];
        if (!hasZone)
            return text.IsEmpty;
        return text is [(byte)'Z'] || text.Length == 6 && text[0] is (byte)'+' or (byte)'-' && DigitsOf(text[1..]) == 2 && text[3] == ':' && DigitsOf(text[4..]) == 2;
    }

    // One or two digits behind a sign.
    private static bool TryTake(ref ReadOnlySpan<byte> text, char sign, int least, int most, out int number)
    {
        number = 0;
        if (text.Length < 2 || text[0] != sign)
            return false;
        var digits = Math.Min(2, DigitsOf(text[1..]));
        foreach (var digit in text.Slice(1, digits))
            number = (number * 10) + (digit - '0');
        text = text[(1 + digits)..];
        return digits > 0 && number >= least && number <= most;
    }

    private static ReadOnlySpan<byte> SkipSign(ReadOnlySpan<byte> text) => !text.IsEmpty && text[0] is (byte)'+' or (byte)'-' ? text[1..] : text;

    private static int DigitsOf(ReadOnlySpan<byte> text)
    {
        var end = text.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        return end < 0 ? text.Length : end;
    }
}
