using System.Globalization;

namespace K3sFast.Configuration;

/// <summary>Durations as flags have them: <c>1h30m</c>, <c>90s</c>, <c>250ms</c>.</summary>
internal static class DurationText
{
    /// <summary>Reads a duration; false when it is none, or negative.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        if (text is "0")
            return true;
        if (text.IsEmpty)
            return false;
        while (!text.IsEmpty)
        {
            var digits = text.IndexOfAnyExcept("0123456789.");
            if (digits <= 0 || !double.TryParse(text[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
                return false;
            text = text[digits..];
            var letters = text.IndexOfAny("0123456789.");
            var unit = letters < 0 ? text : text[..letters];
            text = text[unit.Length..];
            double? seconds = unit switch { "h" => 3600, "m" => 60, "s" => 1, "ms" => 1e-3, "us" or "µs" => 1e-6, "ns" => 1e-9, _ => null };
            // Beyond a few hundred years no flag means anything, and Go's type ends there.
            if (seconds is null || number * seconds.Value + duration.TotalSeconds > 9.2e9)
                return false;
            duration += TimeSpan.FromSeconds(number * seconds.Value);
        }
        return true;
    }
}
