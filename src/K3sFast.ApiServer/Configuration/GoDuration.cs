using System.Globalization;

namespace K3sFast.ApiServer;

/// <summary>Durations as Kubernetes' flags and files write them: <c>5m</c>, <c>1h30m</c>, <c>1.5s</c>, <c>300ms</c>, <c>0</c>.</summary>
public static class GoDuration
{
    /// <summary>False when the text is no duration; a number without unit is none, except 0.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan duration)
    {
        duration = default;
        var isNegative = text.StartsWith("-");
        if (isNegative || text.StartsWith("+"))
            text = text[1..];
        if (text.SequenceEqual("0"))
            return true;
        if (text.IsEmpty)
            return false;
        var seconds = 0.0;
        while (!text.IsEmpty)
        {
            var digits = text.IndexOfAnyExcept("0123456789.");
            if (digits <= 0 || !double.TryParse(text[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number))
                return false;
            text = text[digits..];
            var end = text.IndexOfAny("0123456789.");
            var unit = end < 0 ? text : text[..end];
            var factor = unit switch { "h" => 3600.0, "m" => 60, "s" => 1, "ms" => 1e-3, "us" or "µs" or "μs" => 1e-6, "ns" => 1e-9, _ => -1 };
            if (factor < 0)
                return false;
            seconds += number * factor;
            text = text[unit.Length..];
        }
        if (seconds > TimeSpan.MaxValue.TotalSeconds / 2)
            return false;
        duration = TimeSpan.FromSeconds(isNegative ? -seconds : seconds);
        return true;
    }
}
