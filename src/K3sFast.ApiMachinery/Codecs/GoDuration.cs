using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Go's durations, 64 bits of nanoseconds: <c>[-+](digits[.digits]unit)+</c> with the units ns, us, µs, ms, s, m, h; a lone 0 needs none (time.ParseDuration).</summary>
public static class GoDuration
{
    /// <summary>The most bytes that <see cref="Write"/> writes: <c>-2562047h47m16.854775808s</c>.</summary>
    public const int MaxLength = 32;

    private const long Second = 1_000_000_000;
    // 2^63, which only a negative duration may have.
    private const ulong Limit = 1UL << 63;

    /// <summary>Reads a duration. Null, or why it is none in Go's words.</summary>
    public static string? TryParse(ReadOnlySpan<byte> text, out long nanoseconds)
    {
        nanoseconds = 0;
        var rest = text;
        var isNegative = rest is [(byte)'-', ..];
        if (rest is [(byte)'-' or (byte)'+', ..])
            rest = rest[1..];
        if (rest.SequenceEqual("0"u8))
            return null;
        if (rest.IsEmpty)
            return $"time: invalid duration {GoText.Quote(text)}";
        UInt128 sum = 0;
        while (!rest.IsEmpty)
        {
            if (!TryReadNumber(ref rest, out var whole, out var fraction, out var divisor))
                return $"time: invalid duration {GoText.Quote(text)}";
            var unit = ReadUnit(ref rest);
            if (unit.IsEmpty)
                return $"time: missing unit in duration {GoText.Quote(text)}";
            if (Nanoseconds(unit) is var scale && scale == 0)
                return $"time: unknown unit {GoText.Quote(unit)} in duration {GoText.Quote(text)}";
            sum += (whole * (ulong)scale) + (fraction * (ulong)scale / divisor);
            if (sum > Limit || (sum == Limit && !isNegative))
                return $"time: invalid duration {GoText.Quote(text)}";
        }
        nanoseconds = isNegative ? unchecked(-(long)(ulong)sum) : (long)sum;
        return null;
    }

    /// <summary>Reads a duration; what is none is told in Go's words.</summary>
    public static bool TryParse(string text, out TimeSpan duration, out string error)
    {
        ArgumentNullException.ThrowIfNull(text);
        error = TryParse(Encoding.UTF8.GetBytes(text), out var nanoseconds) ?? "";
        duration = TimeSpan.FromTicks(nanoseconds / TimeSpan.NanosecondsPerTick);
        return error.Length == 0;
    }

    /// <summary>Go's Duration.String: <c>1h0m0s</c>, <c>1.5s</c>, <c>10ms</c>, <c>0s</c>.</summary>
    public static string Format(long nanoseconds)
    {
        var text = new StringBuilder(nanoseconds < 0 ? "-" : "");
        var magnitude = nanoseconds < 0 ? unchecked((ulong)-nanoseconds) : (ulong)nanoseconds;
        if (magnitude == 0)
            text.Append("0s");
        else if (magnitude < 1_000)
            text.Append(magnitude).Append("ns");
        else if (magnitude < 1_000_000)
            text.Append(Fraction(magnitude, 1_000, 3)).Append("µs");
        else if (magnitude < Second)
            text.Append(Fraction(magnitude, 1_000_000, 6)).Append("ms");
        else
        {
            var hours = magnitude / (3600UL * Second);
            var minutes = magnitude / (60UL * Second) % 60;
            if (hours > 0)
                text.Append(hours).Append('h');
            if (hours > 0 || minutes > 0)
                text.Append(minutes).Append('m');
            text.Append(Fraction(magnitude % (60UL * Second), Second, 9)).Append('s');
        }
        return text.ToString();
    }

    /// <inheritdoc cref="Format(long)"/>
    public static int Write(long nanoseconds, Span<byte> destination) => Encoding.UTF8.GetBytes(Format(nanoseconds), destination);

    /// <summary>As upstream's messages tell a time that passed: to the millisecond.</summary>
    public static string Format(TimeSpan duration) => Format((long)duration.TotalMilliseconds * 1_000_000);

    private static bool TryReadNumber(ref ReadOnlySpan<byte> rest, out UInt128 whole, out UInt128 fraction, out UInt128 divisor)
    {
        (whole, fraction, divisor) = (0, 0, 1);
        var at = 0;
        for (; at < rest.Length && char.IsAsciiDigit((char)rest[at]); at++)
        {
            whole = (whole * 10) + (uint)(rest[at] - '0');
            if (whole > Limit)
                return false;
        }
        var digits = at;
        if (at < rest.Length && rest[at] == '.')
        {
            for (at++; at < rest.Length && char.IsAsciiDigit((char)rest[at]); at++, digits++)
            {
                // What is less than a nanosecond of an hour changes nothing.
                if (divisor >= Limit / 10)
                    continue;
                fraction = (fraction * 10) + (uint)(rest[at] - '0');
                divisor *= 10;
            }
        }
        rest = rest[at..];
        return digits > 0;
    }

    private static ReadOnlySpan<byte> ReadUnit(ref ReadOnlySpan<byte> rest)
    {
        var end = rest.IndexOfAny(".0123456789"u8);
        var unit = end < 0 ? rest : rest[..end];
        rest = rest[unit.Length..];
        return unit;
    }

    private static long Nanoseconds(ReadOnlySpan<byte> unit) =>
        unit.SequenceEqual("ns"u8) ? 1
        : unit.SequenceEqual("us"u8) || unit.SequenceEqual("µs"u8) || unit.SequenceEqual("μs"u8) ? 1_000
        : unit.SequenceEqual("ms"u8) ? 1_000_000
        : unit.SequenceEqual("s"u8) ? Second
        : unit.SequenceEqual("m"u8) ? 60 * Second
        : unit.SequenceEqual("h"u8) ? 3600 * Second
        : 0;

    private static string Fraction(ulong value, ulong unit, int digits)
    {
        var whole = (value / unit).ToString(CultureInfo.InvariantCulture);
        var fraction = (value % unit).ToString(CultureInfo.InvariantCulture).PadLeft(digits, '0').TrimEnd('0');
        return fraction.Length == 0 ? whole : $"{whole}.{fraction}";
    }
}
