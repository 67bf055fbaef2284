using System.Buffers.Text;
using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Numbers of an applied configuration as upstream's YAML reader leaves them: what is whole is an integer however it was written (2.0, 1e3), everything
/// else a float in its shortest form.
/// </summary>
public static class ConfigNumbers
{
    // Floats hold every whole number up to here.
    private const double MaxExact = 1L << 53;

    /// <summary>Rewrites numbers with a fraction or an exponent, in place.</summary>
    public static void Normalize(ApiNode node)
    {
        StackGuard.Enter();
        foreach (var member in node.Members)
            Normalize(member.Value);
        foreach (var element in node.Elements)
            Normalize(element);
        if (node.Kind != NodeKind.Number || node.Utf8.IndexOfAny(".eE"u8) < 0 || !Utf8Parser.TryParse(node.Utf8, out double value, out _) || !double.IsFinite(value))
            return;
        Span<byte> text = stackalloc byte[ScalarText.MaxDoubleLength];
        int length;
        if (value == Math.Truncate(value) && Math.Abs(value) <= MaxExact)
            ((long)value).TryFormat(text, out length, default, CultureInfo.InvariantCulture);
        else
            length = ScalarText.WriteDouble(value, text);
        node.Document.SetText(node.Index, text[..length]);
    }
}
