using System.Buffers;
using System.Globalization;
using System.Text;

namespace K3sFast.Client;

/// <summary>Writes Prometheus' text form, version 0.0.4: numbers as Go prints them, labels in the order of their names.</summary>
public sealed class MetricText(IBufferWriter<byte> output)
{
    /// <summary>A metric's head.</summary>
    public void Head(string name, string type, string help)
    {
        Append("# HELP ");
        Append(name);
        Append(" ");
        Append(help);
        Append("\n# TYPE ");
        Append(name);
        Append(" ");
        Append(type);
        Append("\n");
    }

    /// <summary>One sample; labels are the text between the braces.</summary>
    public void Sample(string name, string labels, double value) => Sample(name, "", labels, "", value);

    /// <summary>A histogram without labels that somebody else keeps: upper bounds, the count of each bucket alone with one more above them, the sum.</summary>
    public void Histogram(string name, IReadOnlyList<double> bounds, IReadOnlyList<long> counts, double sum)
    {
        long count = 0;
        for (var i = 0; i < counts.Count; i++)
        {
            count += counts[i];
            Sample(name, "_bucket", "", $"le=\"{(i == bounds.Count ? "+Inf" : Number(bounds[i]))}\"", count);
        }
        Sample(name, "_sum", "", "", sum);
        Sample(name, "_count", "", "", count);
    }

    internal void Histogram(string name, string labels, Histogram histogram)
    {
        var separator = labels.Length == 0 ? "" : ",";
        long count = 0;
        for (var i = 0; i <= histogram.Bounds.Length; i++)
        {
            count += histogram.CountOf(i);
            var bound = i == histogram.Bounds.Length ? "+Inf" : Number(histogram.Bounds[i]);
            Sample(name, "_bucket", labels, $"{separator}le=\"{bound}\"", count);
        }
        Sample(name, "_sum", labels, "", histogram.Sum);
        Sample(name, "_count", labels, "", count);
    }

    private void Sample(string name, string suffix, string labels, string more, double value)
    {
        Append(name);
        Append(suffix);
        if (labels.Length + more.Length > 0)
        {
            Append("{");
            Append(labels);
            Append(more);
            Append("}");
        }
        Append(" ");
        Append(Number(value));
        Append("\n");
    }

    private void Append(string text)
    {
        if (text.Length > 0)
            Encoding.UTF8.GetBytes(text, output);
    }

    /// <summary>The shortest form that reads back as the same number, as Go prints it: with an exponent below 1e-4 and from 1e+06 on.</summary>
    internal static string Number(double value)
    {
        if (double.IsNaN(value))
            return "NaN";
        if (double.IsInfinity(value))
            return value > 0 ? "+Inf" : "-Inf";
        var shortest = value.ToString("R", CultureInfo.InvariantCulture);
        if (value == 0)
            return "0";
        var exponent = ExponentOf(shortest);
        if (exponent is >= -4 and < 6)
            return shortest;
        var digits = Digits(shortest);
        var fraction = digits.Length > 1 ? $".{digits[1..]}" : "";
        return $"{(value < 0 ? "-" : "")}{digits[0]}{fraction}e{(exponent < 0 ? '-' : '+')}{Math.Abs(exponent):00}";
    }

    // Of the shortest form itself: a longer one may lie on the other side of a power of ten.
    private static int ExponentOf(string shortest)
    {
        var end = shortest.IndexOf('E', StringComparison.Ordinal);
        var exponent = end < 0 ? 0 : int.Parse(shortest.AsSpan(end + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture);
        var mantissa = (end < 0 ? shortest : shortest[..end]).TrimStart('-');
        var point = mantissa.IndexOf('.', StringComparison.Ordinal) is var at and >= 0 ? at : mantissa.Length;
        var first = mantissa.AsSpan().IndexOfAnyInRange('1', '9');
        return exponent + point - first - (first < point ? 1 : 0);
    }

    // The significant digits, without leading and trailing zeros.
    private static string Digits(string shortest)
    {
        var end = shortest.IndexOf('E', StringComparison.Ordinal);
        var mantissa = end < 0 ? shortest : shortest[..end];
        var digits = mantissa.Replace(".", "", StringComparison.Ordinal).Replace("-", "", StringComparison.Ordinal).Trim('0');
        return digits.Length == 0 ? "0" : digits;
    }
}
