using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>Parts of points in time, in UTC or a time zone, and durations in whole units.</summary>
internal static class CelTimeLibrary
{
    internal static IEnumerable<CelFunction> Functions =>
    [
        Part("getFullYear", "year", static time => time.Year),
        Part("getMonth", "month", static time => time.Month - 1),
        Part("getDayOfYear", "day_of_year", static time => time.DayOfYear - 1),
        Part("getDayOfMonth", "day_of_month", static time => time.Day - 1),
        Part("getDate", "day_of_month_1_based", static time => time.Day),
        Part("getDayOfWeek", "day_of_week", static time => (int)time.DayOfWeek),
        Part("getHours", "hours", static time => time.Hour, 3600 * CelTime.NanosPerSecond),
        Part("getMinutes", "minutes", static time => time.Minute, 60 * CelTime.NanosPerSecond),
        Part("getSeconds", "seconds", static time => time.Second, CelTime.NanosPerSecond),
        Function("getMilliseconds",
            Member("timestamp_to_milliseconds", [CelType.Timestamp], CelType.Int, static args => CelValue.Of(args[0].Nanos / 1_000_000L)),
            Member("timestamp_to_milliseconds_with_tz", [CelType.Timestamp, CelType.String], CelType.Int, static args =>
                CelTime.TryLocal(args[0], args[1].AsString, out _, out string problem) ? CelValue.Of(args[0].Nanos / 1_000_000L) : CelValue.Error(problem)),
            Member("duration_to_milliseconds", [CelType.Duration], CelType.Int, static args => CelValue.Of(args[0].AsInt / 1_000_000L))),
    ];

    private static CelFunction Part(string name, string id, Func<DateTime, int> part, long durationUnit = 0)
    {
        CelOverload[] overloads =
        [
            Member($"timestamp_to_{id}", [CelType.Timestamp], CelType.Int, args => Of(args[0], null, part)),
            Member($"timestamp_to_{id}_with_tz", [CelType.Timestamp, CelType.String], CelType.Int, args => Of(args[0], args[1].AsString, part)),
        ];
        return durationUnit == 0 ? Function(name, overloads)
            : Function(name, [.. overloads, Member($"duration_to_{id}", [CelType.Duration], CelType.Int, args => CelValue.Of(args[0].AsInt / durationUnit))]);
    }

    private static CelValue Of(CelValue time, string? zone, Func<DateTime, int> part) =>
        CelTime.TryLocal(time, zone, out var local, out string problem) ? CelValue.Of((long)part(local)) : CelValue.Error(problem);
}
