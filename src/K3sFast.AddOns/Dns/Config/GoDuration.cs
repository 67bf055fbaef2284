using System.Globalization;

namespace K3sFast.AddOns.Dns;

/// <summary>Durations in Go's form: 300ms, 1.5h, 2h45m.</summary>
internal static class GoDuration
{
    /// <exception cref="FormatException">It is none.</exception>
    internal static TimeSpan Parse(string text)
    {
        if (text == "0") return TimeSpan.Zero;
        var total = 0.0;
        for (var at = 0; at < text.Length;)
        {
            var start = at;
            while (at < text.Length && (char.IsAsciiDigit(text[at]) || text[at] == '.')) at++;
            var number = text[start..at];
            start = at;
            while (at < text.Length && char.IsLetter(text[at])) at++;
            double unit = text[start..at] switch { "ns" => 1e-9, "us" or "µs" => 1e-6, "ms" => 1e-3, "s" => 1, "m" => 60, "h" => 3600, _ => -1 };
            if (unit < 0 || !double.TryParse(number, NumberStyles.Float, CultureInfo.InvariantCulture, out var value)) throw new FormatException($"time: invalid duration \"{text}\"");
            total += value * unit;
        }
        if (text.Length == 0 || total > TimeSpan.MaxValue.TotalSeconds / 2) throw new FormatException($"time: invalid duration \"{text}\"");
        return TimeSpan.FromSeconds(total);
    }
}
