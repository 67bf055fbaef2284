using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Values as text: what string() makes of them and how messages print them.</summary>
internal static class CelText
{
    /// <summary>A double as Go's %g prints it: the shortest digits, an exponent when it is below -4 or above 5.</summary>
    internal static string General(double value)
    {
        if (double.IsNaN(value))
            return "NaN";
        if (double.IsInfinity(value))
            return value > 0 ? "+Inf" : "-Inf";
        if (value == 0)
            return double.IsNegative(value) ? "-0" : "0";
        string scientific = value.ToString("E16", CultureInfo.InvariantCulture);
        string shortest = value.ToString("R", CultureInfo.InvariantCulture);
        int exponent = int.Parse(scientific.AsSpan(scientific.IndexOf('E', StringComparison.Ordinal) + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        if (exponent is >= -4 and < 6)
            return decimal.TryParse(shortest, NumberStyles.Float, CultureInfo.InvariantCulture, out var plain) && shortest.Contains('E', StringComparison.Ordinal)
                ? plain.ToString(CultureInfo.InvariantCulture) : shortest;
        string digits = Digits(shortest);
        string mantissa = digits.Length == 1 ? digits : $"{digits[0]}.{digits[1..]}";
        return string.Create(CultureInfo.InvariantCulture, $"{(value < 0 ? "-" : "")}{mantissa}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}");
    }

    private static string Digits(string shortest)
    {
        int end = shortest.IndexOf('E', StringComparison.Ordinal);
        string digits = string.Concat((end < 0 ? shortest : shortest[..end]).Where(char.IsAsciiDigit)).TrimStart('0').TrimEnd('0');
        return digits.Length == 0 ? "0" : digits;
    }

    /// <summary>The value as string(x) gives it; null when it has no such form.</summary>
    internal static string? Of(CelValue value) => value.Kind switch
    {
        CelKind.String => value.AsString,
        CelKind.Bool => value.AsBool ? "true" : "false",
        CelKind.Int => value.AsInt.ToString(CultureInfo.InvariantCulture),
        CelKind.Uint => value.AsUint.ToString(CultureInfo.InvariantCulture),
        CelKind.Double => General(value.AsDouble),
        CelKind.Duration => CelTime.DurationText(value.AsInt),
        CelKind.Timestamp => CelTime.Text(value),
        CelKind.Type => value.AsType.Name,
        _ => null,
    };

    /// <summary>The value as messages print it.</summary>
    internal static string Print(CelValue value)
    {
        switch (value.Kind)
        {
            case CelKind.Null:
                return "null";
            case CelKind.Error:
                return value.AsString;
            case CelKind.Bytes:
                return $"[{string.Join(' ', value.AsBytes)}]";
            case CelKind.List:
                var list = value.AsList;
                return $"[{string.Join(", ", Enumerable.Range(0, list.Count).Select(i => Print(list[i])))}]";
            case CelKind.Map or CelKind.Struct when value.Reference is CelMap map:
                var text = new StringBuilder("{");
                foreach (var key in map.Keys)
                {
                    map.TryGet(key, out var member);
                    text.Append(text.Length > 1 ? ", " : "").Append(Print(key)).Append(": ").Append(Print(member));
                }
                return text.Append('}').ToString();
            default:
                return Of(value) ?? value.Reference?.ToString() ?? "";
        }
    }
}
