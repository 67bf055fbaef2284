using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>A point in time as upstream's Time and MicroTime hold it.</summary>
/// <param name="UnixSeconds">Seconds since 1970, UTC.</param>
/// <param name="Nanoseconds">0 to 999,999,999.</param>
internal readonly record struct ApiTime(long UnixSeconds, int Nanoseconds)
{
    /// <summary>Year 1, which is Go's zero time and null in JSON.</summary>
    public const long ZeroUnixSeconds = -62135596800;

    public bool IsZero => UnixSeconds == ZeroUnixSeconds && Nanoseconds == 0;
}

/// <summary>
/// Scalars whose JSON form is upstream's own: times, durations, floating point numbers, base64. Parsing answers null, or what is wrong in Go's words.
/// </summary>
internal static class ScalarText
{
    // 2006-01-02T15:04:05.000000Z
    public const int MaxTimeLength = 32;

    public const int MaxDoubleLength = 40;

    private static readonly SearchValues<byte> s_base64 = SearchValues.Create(Base64Digits);

    private static ReadOnlySpan<byte> Base64Digits => "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"u8;

    /// <summary>True for 2006-01-02T15:04:05Z with numbers in range, the form in which nearly all times come.</summary>
    public static bool IsCanonicalTime(ReadOnlySpan<byte> text) => TryReadCanonicalTime(text, out _);

    /// <summary>Reads a time of that form; allocates nothing.</summary>
    public static bool TryReadCanonicalTime(ReadOnlySpan<byte> text, out ApiTime time)
    {
        time = default;
        if (text.Length != 20 || text[19] != 'Z' || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
            return false;
        var year = (Two(text) * 100) + Two(text[2..]);
        int month = Two(text[5..]), day = Two(text[8..]), hour = Two(text[11..]), minute = Two(text[14..]), second = Two(text[17..]);
        if (year is < 2 or > 9999 || month is < 1 or > 12 || day < 1 || day > DateTime.DaysInMonth(year, month)
            || hour is < 0 or > 23 || minute is < 0 or > 59 || second is < 0 or > 59)
            return false;
        var days = new DateOnly(year, month, day).DayNumber - DateOnly.FromDateTime(DateTime.UnixEpoch).DayNumber;
        time = new ApiTime((days * 86400L) + (hour * 3600) + (minute * 60) + second, 0);
        return true;

        // -1000 when a digit is missing, so that every sum is out of range.
        static int Two(ReadOnlySpan<byte> digits)
        {
            int tens = digits[0] - '0', ones = digits[1] - '0';
            return (uint)tens <= 9 && (uint)ones <= 9 ? (tens * 10) + ones : -1000;
        }
    }

    /// <summary>RFC 3339; for MicroTime exactly six digits of fraction, as upstream.</summary>
    public static string? TryParseTime(ReadOnlySpan<byte> text, bool isMicro, out ApiTime time)
    {
        time = default;
        var layout = isMicro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
        var rest = text;
        Span<int> parts = stackalloc int[6];
        ReadOnlySpan<string> layouts = ["2006", "01", "02", "15", "04", "05"];
        ReadOnlySpan<byte> before = "\0--T::"u8;
        for (var i = 0; i < 6; i++)
        {
            if (before[i] != 0)
            {
                if (rest.Length == 0 || rest[0] != before[i])
                    return CannotParse(text, rest, layout, ((char)before[i]).ToString());
                rest = rest[1..];
            }
            var digits = i == 0 ? 4 : 2;
            if (rest.Length < digits || !TryDigits(rest[..digits], out parts[i]))
                return CannotParse(text, rest, layout, layouts[i]);
            rest = rest[digits..];
        }
        var nanoseconds = 0;
        if (isMicro || (rest.Length > 1 && rest[0] is (byte)'.' or (byte)',' && char.IsAsciiDigit((char)rest[1])))
        {
            var length = 1;
            while (length < rest.Length && char.IsAsciiDigit((char)rest[length]))
                length++;
            if (rest.Length == 0 || rest[0] is not ((byte)'.' or (byte)',') || (isMicro && length != 7))
                return CannotParse(text, rest, layout, ".000000");
            for (var i = 1; i <= 9; i++)
                nanoseconds = (nanoseconds * 10) + (i < length ? rest[i] - '0' : 0);
            rest = rest[length..];
        }
        if (!TryZone(rest, out var offsetSeconds, out var used))
            return CannotParse(text, rest, layout, "Z07:00");
        rest = rest[used..];
        if (rest.Length > 0)
            return $"parsing time {GoText.Quote(text)}: extra text: {GoText.Quote(rest)}";
        var wrong = parts[1] is < 1 or > 12 ? "month" : parts[2] < 1 || parts[2] > DaysIn(parts[0], parts[1]) ? "day"
            : parts[3] > 23 ? "hour" : parts[4] > 59 ? "minute" : parts[5] > 59 ? "second" : null;
        if (wrong is not null)
            return $"parsing time {GoText.Quote(text)}: {wrong} out of range";
        // Year 0 is before what DateTime holds; upstream would write it, nobody means it.
        if (parts[0] == 0)
            return $"parsing time {GoText.Quote(text)}: year out of range";
        var local = new DateTime(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], DateTimeKind.Utc);
        time = new ApiTime(((local.Ticks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerSecond) - offsetSeconds, isMicro ? nanoseconds / 1000 * 1000 : 0);
        return null;
    }

    /// <summary>Writes a time in UTC with whole seconds, or six digits of fraction; answers the length.</summary>
    public static int WriteTime(ApiTime time, bool isMicro, Span<byte> destination)
    {
        var ticks = Math.Clamp((time.UnixSeconds * TimeSpan.TicksPerSecond) + DateTime.UnixEpoch.Ticks, 0, DateTime.MaxValue.Ticks);
        var utc = new DateTime(ticks, DateTimeKind.Utc).AddTicks(time.Nanoseconds / 100);
        utc.TryFormat(destination, out var length, isMicro ? "yyyy-MM-ddTHH:mm:ss.ffffffZ" : "yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);
        return length;
    }

    /// <summary>A float64 as Go's encoding/json writes it: shortest digits, exponent form below 1e-6 and from 1e21 on.</summary>
    public static int WriteDouble(double value, Span<byte> destination)
    {
        if (value == 0)
        {
            var zero = double.IsNegative(value) ? "-0"u8 : "0"u8;
            zero.CopyTo(destination);
            return zero.Length;
        }
        // E16 would not be the shortest; R is, but chooses its own form: take its digits and exponent.
        var shortest = Math.Abs(value).ToString("R", CultureInfo.InvariantCulture);
        var exponentAt = shortest.IndexOf('E', StringComparison.Ordinal);
        var exponent = exponentAt < 0 ? 0 : int.Parse(shortest.AsSpan(exponentAt + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        var mantissa = exponentAt < 0 ? shortest : shortest[..exponentAt];
        var point = mantissa.IndexOf('.', StringComparison.Ordinal);
        var pointAt = (point < 0 ? mantissa.Length : point) + exponent;
        var digits = mantissa.Replace(".", "", StringComparison.Ordinal);
        var leading = digits.Length - digits.TrimStart('0').Length;
        digits = digits.Trim('0');
        pointAt -= leading;
        var sign = value < 0 ? "-" : "";
        var magnitude = Math.Abs(value);
        string text;
        if (magnitude is < 1e-6 or >= 1e21)
            text = $"{sign}{digits[0]}{(digits.Length > 1 ? "." : "")}{digits[1..]}e{(pointAt > 0 ? "+" : "-")}{Math.Abs(pointAt - 1)}";
        else if (pointAt <= 0)
            text = $"{sign}0.{new string('0', -pointAt)}{digits}";
        else if (pointAt >= digits.Length)
            text = $"{sign}{digits}{new string('0', pointAt - digits.Length)}";
        else
            text = $"{sign}{digits[..pointAt]}.{digits[pointAt..]}";
        return Encoding.ASCII.GetBytes(text, destination);
    }

    /// <summary>True for standard base64 as encoders write it: padded, nothing between its characters, no bits left over behind the last byte.</summary>
    public static bool IsCanonicalBase64(ReadOnlySpan<byte> text) => Base64.IsValid(text) && text.IndexOfAny(" \t\r\n"u8) < 0;

    /// <summary>-1 for what Go's encoding/base64 reads: padded, line ends anywhere, whatever bits are left over; else about where it is wrong.</summary>
    public static int FindBase64Error(ReadOnlySpan<byte> text)
    {
        var count = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] is (byte)'\r' or (byte)'\n')
                continue;
            if (text[i] == '=')
                return FindPaddingError(text, i, count % 4);
            if (!s_base64.Contains(text[i]))
                return i;
            count++;
        }
        return count % 4 == 0 ? -1 : text.Length - (count % 4);
    }

    /// <summary>Clears the bits that are left over behind the last byte, as if the bytes were encoded anew.</summary>
    public static void ClearSpareBits(Span<byte> base64)
    {
        if (base64.Length < 4 || base64[^1] != '=')
            return;
        var (last, bits) = base64[^2] == '=' ? (base64.Length - 3, 4) : (base64.Length - 2, 2);
        base64[last] = Base64Digits[Base64Digits.IndexOf(base64[last]) >> bits << bits];
    }

    // Behind so many digits of the last group of four.
    private static int FindPaddingError(ReadOnlySpan<byte> text, int at, int digits)
    {
        if (digits < 2)
            return at;
        var next = SkipLineEnds(text, at + 1);
        if (digits == 2)
        {
            if (next == text.Length)
                return next;
            if (text[next] != '=')
                return next - 1;
            next = SkipLineEnds(text, next + 1);
        }
        return next == text.Length ? -1 : next;
    }

    private static int SkipLineEnds(ReadOnlySpan<byte> text, int at)
    {
        while (at < text.Length && text[at] is (byte)'\r' or (byte)'\n')
            at++;
        return at;
    }

    private static int DaysIn(int year, int month) => DateTime.DaysInMonth(year is 0 ? 4 : year, month);

    private static bool TryDigits(ReadOnlySpan<byte> digits, out int value)
    {
        value = 0;
        foreach (var digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'9')
                return false;
            value = (value * 10) + (digit - '0');
        }
        return true;
    }

    private static bool TryZone(ReadOnlySpan<byte> text, out int offsetSeconds, out int used)
    {
        offsetSeconds = 0;
        used = 1;
        if (text.Length > 0 && text[0] == 'Z')
            return true;
        used = 6;
        if (text.Length < 6 || text[0] is not ((byte)'+' or (byte)'-') || text[3] != ':' || !TryDigits(text.Slice(1, 2), out var hours)
            || !TryDigits(text.Slice(4, 2), out var minutes) || hours > 24 || minutes > 60)
            return false;
        offsetSeconds = ((hours * 60) + minutes) * 60 * (text[0] == '-' ? -1 : 1);
        return true;
    }

    private static string CannotParse(ReadOnlySpan<byte> text, ReadOnlySpan<byte> rest, string layout, string element) =>
        $"parsing time {GoText.Quote(text)} as \"{layout}\": cannot parse {GoText.Quote(rest)} as \"{element}\"";
}
