using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.Controllers;

/// <summary>
/// A cron expression: minute, hour, day of month, month, day of week, each <c>*</c>, values, ranges and steps; or @hourly, @daily, @midnight,
/// @weekly, @monthly, @yearly, @annually, @every. Days match by either field when both are given (crontab(5)). Immutable.
/// </summary>
internal sealed class CronSchedule
{
    // Farther ahead nothing is looked for: a day that never comes (30 February).
    private const int MaxYears = 5;

    private static readonly string[] s_months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    private static readonly string[] s_days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

    private readonly ulong _minutes;
    private readonly ulong _hours;
    private readonly ulong _daysOfMonth;
    private readonly ulong _months;
    private readonly ulong _daysOfWeek;
    private readonly bool _anyDayOfMonth;
    private readonly bool _anyDayOfWeek;
    private readonly TimeZoneInfo _zone;
    private readonly TimeSpan? _every;

    private CronSchedule(string[] fields, TimeZoneInfo zone)
    {
        _zone = zone;
        _minutes = Field(fields[0], 0, 59, null);
        _hours = Field(fields[1], 0, 23, null);
        _daysOfMonth = Field(fields[2], 1, 31, null);
        _months = Field(fields[3], 1, 12, s_months);
        _daysOfWeek = Field(fields[4], 0, 7, s_days);
        // 7 is Sunday, too.
        if ((_daysOfWeek & (1UL << 7)) != 0) _daysOfWeek |= 1;
        (_anyDayOfMonth, _anyDayOfWeek) = (fields[2].StartsWith('*') || fields[2] == "?", fields[4].StartsWith('*') || fields[4] == "?");
    }

    private CronSchedule(TimeSpan every)
    {
        (_every, _zone) = (every, TimeZoneInfo.Utc);
    }

    /// <summary>Reads an expression for a time zone (null = UTC).</summary>
    /// <exception cref="FormatException">It is none, or the zone is not known.</exception>
    internal static CronSchedule Parse(string text, string? zoneName)
    {
        var zone = TimeZoneInfo.Utc;
        if (!string.IsNullOrEmpty(zoneName) && !TimeZoneInfo.TryFindSystemTimeZoneById(zoneName, out zone)) throw new FormatException($"unknown time zone {zoneName}");
        text = text.Trim();
        if (text.StartsWith("@every ", StringComparison.Ordinal)) return new CronSchedule(Interval(text["@every ".Length..]));
        text = text switch
        {
            "@yearly" or "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" or "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ => text,
        };
        var fields = text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length != 5) throw new FormatException($"expected exactly 5 fields, found {fields.Length}: [{text}]");
        return new CronSchedule(fields, zone!);
    }

    /// <summary>The first time after <paramref name="after"/> (UTC), or null when there is none in the next years.</summary>
    internal DateTime? Next(DateTime after)
    {
        if (_every is { } every) return after + every;
        var local = TimeZoneInfo.ConvertTimeFromUtc(DateTime.SpecifyKind(after, DateTimeKind.Utc), _zone);
        var time = new DateTime(local.Year, local.Month, local.Day, local.Hour, local.Minute, 0).AddMinutes(1);
        var last = time.AddYears(MaxYears);
        while (time < last)
        {
            if (!Has(_months, time.Month)) time = new DateTime(time.Year, time.Month, 1).AddMonths(1);
            else if (!IsDay(time)) time = time.Date.AddDays(1);
            else if (!Has(_hours, time.Hour)) time = new DateTime(time.Year, time.Month, time.Day, time.Hour, 0, 0).AddHours(1);
            else if (!Has(_minutes, time.Minute)) time = time.AddMinutes(1);
            // An hour that the clock jumps over does not exist.
            else if (_zone.IsInvalidTime(time)) time = time.AddMinutes(1);
            else if (TimeZoneInfo.ConvertTimeToUtc(time, _zone) is var utc && utc > after) return utc;
            else time = time.AddMinutes(1);
        }
        return null;
    }

    private bool IsDay(DateTime time)
    {
        var byMonth = Has(_daysOfMonth, time.Day);
        var byWeek = Has(_daysOfWeek, (int)time.DayOfWeek);
        return _anyDayOfMonth || _anyDayOfWeek ? byMonth && byWeek : byMonth || byWeek;
    }

    private static bool Has(ulong bits, int value) => (bits & (1UL << value)) != 0;

    private static ulong Field(string text, int min, int max, string[]? names)
    {
        ulong bits = 0;
        foreach (var part in text.Split(','))
        {
            var pieces = part.Split('/');
            var step = pieces.Length > 1 ? Number(pieces[1], 1, max, null) : 1;
            int first, last;
            if (pieces[0] is "*" or "?")
            {
                (first, last) = (min, max);
            }
            else
            {
                var ends = pieces[0].Split('-');
                first = Number(ends[0], min, max, names);
                // "5/10" means from 5 on.
                last = ends.Length > 1 ? Number(ends[1], min, max, names) : pieces.Length > 1 ? max : first;
            }
            if (first > last) throw new FormatException($"beginning of range ({first}) beyond end of range ({last}): {part}");
            for (var value = first; value <= last; value += step) bits |= 1UL << value;
        }
        return bits;
    }

    private static int Number(string text, int min, int max, string[]? names)
    {
        var at = names is null ? -1 : Array.IndexOf(names, text.ToLowerInvariant());
        // Months count from 1, days from 0.
        if (at >= 0) return at + (names == s_months ? 1 : 0);
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value)) throw new FormatException($"failed to parse int from {text}");
        if (value < min || value > max) throw new FormatException($"{text} is not between {min} and {max}");
        return value;
    }

    // Whole seconds, one at least.
    private static TimeSpan Interval(string text)
    {
        if (!GoDuration.TryParse(text, out var interval, out var why)) throw new FormatException($"failed to parse duration @every {text}: {why}");
        return TimeSpan.FromSeconds(Math.Max(1, (long)interval.TotalSeconds));
    }
}
