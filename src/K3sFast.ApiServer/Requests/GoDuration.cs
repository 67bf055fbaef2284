using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Go's durations: <c>[-+](digits[.digits]unit)+</c> with the units ns, us, µs, ms, s, m, h; a lone 0 needs none.</summary>
public static class GoDuration
{
    /// <summary>Reads a duration; what is none is told in Go's words.</summary>
    public static bool TryParse(string text, out TimeSpan duration, out string error)
    {
        ArgumentNullException.ThrowIfNull(text);
        duration = default;
        error = $"time: invalid duration {GoText.Quote(text)}";
        var rest = text.AsSpan();
        var isNegative = rest.StartsWith("-");
        if (isNegative || rest.StartsWith("+"))
            rest = rest[1..];
        if (rest is "0")
            return true;
        if (rest.IsEmpty)
            return false;
        double seconds = 0;
        while (!rest.IsEmpty)
        {
            var length = rest.IndexOfAnyExcept("0123456789.");
            var number = length < 0 ? rest : rest[..length];
            if (!double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value))
                return false;
            if (length < 0)
            {
                error = $"time: missing unit in duration {GoText.Quote(text)}";
                return false;
            }
            rest = rest[length..];
            var unitLength = rest.IndexOfAny("0123456789.");
            var unit = unitLength < 0 ? rest : rest[..unitLength];
            var scale = unit switch { "ns" => 1e-9, "us" or "µs" or "μs" => 1e-6, "ms" => 1e-3, "s" => 1, "m" => 60, "h" => 3600, _ => 0 };
            if (scale == 0)
            {
                error = $"time: unknown unit {GoText.Quote(unit.ToString())} in duration {GoText.Quote(text)}";
                return false;
            }
            seconds += value * scale;
            rest = unitLength < 0 ? default : rest[unitLength..];
        }
        // Go's durations are 64 bits of nanoseconds.
        if (seconds > long.MaxValue / 1e9)
            return false;
        duration = TimeSpan.FromSeconds(isNegative ? -seconds : seconds);
        return true;
    }
}
