using System.Globalization;

namespace K3sFast.Kubelet.Containers;

/// <summary>Durations as upstream's messages write them: <c>10s</c>, <c>1m20s</c>, <c>5m0s</c>, <c>1.234s</c>, <c>87ms</c>.</summary>
internal static class GoDuration
{
    public static string Format(TimeSpan duration)
    {
        if (duration < TimeSpan.FromSeconds(1)) return string.Create(CultureInfo.InvariantCulture, $"{(long)duration.TotalMilliseconds}ms");
        var seconds = (decimal)duration.Seconds + (duration.Milliseconds / 1000m);
        var text = seconds.ToString("0.###", CultureInfo.InvariantCulture) + "s";
        var minutes = (long)duration.TotalMinutes;
        if (minutes == 0) return text;
        return minutes < 60
            ? string.Create(CultureInfo.InvariantCulture, $"{minutes}m{text}")
            : string.Create(CultureInfo.InvariantCulture, $"{minutes / 60}h{minutes % 60}m{text}");
    }
}
