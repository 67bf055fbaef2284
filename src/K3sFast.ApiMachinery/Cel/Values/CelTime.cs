using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Durations in nanoseconds and points in time from the year 1 to 9999, to the nanosecond, with Go's text forms.</summary>
internal static class CelTime
{
    internal const long NanosPerSecond = 1_000_000_000;

    // 0001-01-01 and 9999-12-31T23:59:59, in seconds since 1970.
    private const long MinSeconds = -62_135_596_800;
    private const long MaxSeconds = 253_402_300_799;

    private static readonly CelValue s_overflow = CelValue.Error("timestamp overflow");

    internal static CelValue Timestamp(long seconds, int nanos, int offsetMinutes = 0) =>
        seconds is < MinSeconds or > MaxSeconds ? s_overflow : CelValue.Timestamp(seconds, nanos, offsetMinutes);

    internal static CelValue Add(CelValue time, long duration)
    {
        long nanos = time.Nanos + (duration % NanosPerSecond);
        long seconds = time.AsInt + (duration / NanosPerSecond);
        if (nanos < 0)
            (seconds, nanos) = (seconds - 1, nanos + NanosPerSecond);
        else if (nanos >= NanosPerSecond)
            (seconds, nanos) = (seconds + 1, nanos - NanosPerSecond);
        return Timestamp(seconds, (int)nanos, time.OffsetMinutes);
    }

    internal static CelValue Difference(CelValue first, CelValue second)
    {
        var nanos = ((Int128)(first.AsInt - second.AsInt) * NanosPerSecond) + first.Nanos - second.Nanos;
        return nanos > long.MaxValue || nanos < long.MinValue ? CelValue.Error("integer overflow") : CelValue.Duration((long)nanos);
    }

    /// <summary>The date and time of day in UTC, or at an offset or in a named zone; false when the zone is none.</summary>
    internal static bool TryLocal(CelValue time, string? zone, out DateTime local, out string problem)
    {
        local = DateTime.UnixEpoch.AddSeconds(time.AsInt);
        problem = "";
        if (zone is null or "" or "UTC")
            return true;
        int colon = zone.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0)
        {
            if (!TimeZoneInfo.TryFindSystemTimeZoneById(zone, out var info))
            {
                problem = $"unknown time zone {zone}";
                return false;
            }
            local = TimeZoneInfo.ConvertTimeFromUtc(local, info);
            return true;
        }
        if (!int.TryParse(zone.AsSpan(0, colon), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int hours)
            || !int.TryParse(zone.AsSpan(colon + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int minutes))
        {
            problem = $"strconv.Atoi: parsing {GoText.Quote(zone)}: invalid syntax";
            return false;
        }
        long shift = hours < 0 || zone[0] == '-' ? (hours * 60L) - minutes : (hours * 60L) + minutes;
        local = local.AddMinutes(shift);
        return true;
    }

    /// <summary>RFC 3339 with up to nine places, none when they are zero, at the offset that the time was given with.</summary>
    internal static string Text(CelValue time)
    {
        long local = Math.Clamp(time.AsInt + (time.OffsetMinutes * 60L), MinSeconds, MaxSeconds);
        string text = DateTime.UnixEpoch.AddSeconds(local).ToString("yyyy-MM-dd'T'HH:mm:ss", CultureInfo.InvariantCulture);
        if (time.Nanos != 0)
            text += "." + time.Nanos.ToString("D9", CultureInfo.InvariantCulture).TrimEnd('0');
        int offset = Math.Abs(time.OffsetMinutes);
        return offset == 0 ? text + "Z" : string.Create(CultureInfo.InvariantCulture, $"{text}{(time.OffsetMinutes < 0 ? '-' : '+')}{offset / 60:00}:{offset % 60:00}");
    }

    /// <summary>Seconds with a fraction and an s.</summary>
    internal static string DurationText(long nanoseconds) => (nanoseconds / NanosPerSecond + (nanoseconds % NanosPerSecond / 1e9)).ToString("0.#########", CultureInfo.InvariantCulture) + "s";

    /// <summary>RFC 3339 as Go reads it: 2006-01-02T15:04:05.999999999Z or with an offset.</summary>
    internal static bool TryParse(string text, out CelValue time)
    {
        time = default;
        if (text.Length < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':')
            return false;
        int end = 19;
        long nanos = 0;
        if (text[end] is '.' or ',')
        {
            int digits = 0;
            for (end++; end < text.Length && char.IsAsciiDigit(text[end]); end++, digits++)
                nanos = digits < 9 ? (nanos * 10) + text[end] - '0' : nanos;
            if (digits == 0)
                return false;
            for (; digits < 9; digits++)
                nanos *= 10;
        }
        if (!TryDigits(text, 0, 4, out int year) || !TryDigits(text, 5, 2, out int month) || !TryDigits(text, 8, 2, out int day) || !TryDigits(text, 11, 2, out int hour)
            || !TryDigits(text, 14, 2, out int minute) || !TryDigits(text, 17, 2, out int second) || !TryOffset(text.AsSpan(end), out int offsetMinutes))
            return false;
        if (month is < 1 or > 12 || hour > 23 || minute > 59 || second > 59 || day < 1 || year > 0 && day > DateTime.DaysInMonth(year, month))
            return false;
        if (year == 0)
        {
            time = s_overflow;
            return true;
        }
        long seconds = (long)(new DateTime(year, month, day, hour, minute, second, DateTimeKind.Utc) - DateTime.UnixEpoch).TotalSeconds - (offsetMinutes * 60L);
        time = Timestamp(seconds, (int)nanos, offsetMinutes);
        return true;
    }

    private static bool TryDigits(string text, int start, int length, out int value)
    {
        value = 0;
        for (int i = start; i < start + length; i++)
        {
            if (!char.IsAsciiDigit(text[i]))
                return false;
            value = (value * 10) + text[i] - '0';
        }
        return true;
    }

    private static bool TryOffset(ReadOnlySpan<char> text, out int minutes)
    {
        minutes = 0;
        if (text is "Z")
            return true;
        if (text.Length != 6 || text[0] is not ('+' or '-') || text[3] != ':')
            return false;
        if (!TryDigits(text.ToString(), 1, 2, out int hours) || !TryDigits(text.ToString(), 4, 2, out minutes) || hours > 24 || minutes > 60)
            return false;
        minutes = (text[0] == '-' ? -1 : 1) * ((hours * 60) + minutes);
        return true;
    }
}
