using System.Globalization;
using System.Text;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace K3sFast.ApiMachinery;

/// <summary>What a YAML 1.1 scalar means, by the rules of Kubernetes' reader. Quoted and block scalars are strings.</summary>
internal static class YamlScalar
{
    private const string TagPrefix = "tag:yaml.org,2002:";

    public static int Read(ApiObject document, Scalar scalar)
    {
        var tag = scalar.Tag.IsEmpty || scalar.Tag.IsNonSpecific ? "" : scalar.Tag.Value;
        var text = scalar.Value;
        if (tag is TagPrefix + "str" or TagPrefix + "binary" || (tag.Length == 0 && scalar.Style != ScalarStyle.Plain))
            return NewText(document, NodeKind.String, tag.EndsWith("binary", StringComparison.Ordinal) ? Binary(text) : text);
        if (tag.Length > 0 && tag is not (TagPrefix + "bool" or TagPrefix + "int" or TagPrefix + "float" or TagPrefix + "null" or TagPrefix + "timestamp"))
            return NewText(document, NodeKind.String, text);
        switch (text)
        {
            case "y" or "Y" or "yes" or "Yes" or "YES" or "true" or "True" or "TRUE" or "on" or "On" or "ON":
                return document.NewNode(NodeKind.True);
            case "n" or "N" or "no" or "No" or "NO" or "false" or "False" or "FALSE" or "off" or "Off" or "OFF":
                return document.NewNode(NodeKind.False);
            case "" or "~" or "null" or "Null" or "NULL":
                return document.NewNode(NodeKind.Null);
            case ".nan" or ".NaN" or ".NAN":
                throw NoJson("NaN");
            case ".inf" or ".Inf" or ".INF" or "+.inf" or "+.Inf" or "+.INF":
                throw NoJson("+Inf");
            case "-.inf" or "-.Inf" or "-.INF":
                throw NoJson("-Inf");
        }
        if (text[0] is not ((>= '0' and <= '9') or '+' or '-' or '.'))
            return NewText(document, NodeKind.String, text);
        var plain = text[0] == '.' ? text : text.Replace("_", "", StringComparison.Ordinal);
        if (text[0] != '.' && TryInteger(plain, out var number))
            return NewText(document, NodeKind.Number, number);
        if (!IsFloat(plain) || !double.TryParse(plain, NumberStyles.Float, CultureInfo.InvariantCulture, out var floating))
            return NewText(document, NodeKind.String, text);
        if (!double.IsFinite(floating))
            return NewText(document, NodeKind.String, text);
        Span<byte> canonical = stackalloc byte[ScalarText.MaxDoubleLength];
        var node = document.NewNode(NodeKind.Number);
        document.SetText(node, canonical[..ScalarText.WriteDouble(floating, canonical)]);
        return node;
    }

    // [-+] then 0x, 0o, 0b, octal by a leading zero, or decimal; int64 or uint64.
    private static bool TryInteger(string text, out string number)
    {
        number = "";
        var isNegative = text[0] == '-';
        var digits = text[0] is '-' or '+' ? text.AsSpan(1) : text;
        var radix = 10;
        if (digits.Length > 1 && digits[0] == '0')
        {
            radix = char.ToLowerInvariant(digits[1]) switch { 'x' => 16, 'o' => 8, 'b' => 2, >= '0' and <= '9' => 8, _ => 0 };
            // 0.5, 0e1: no integer.
            if (radix == 0)
                return false;
            digits = digits[(char.IsAsciiDigit(digits[1]) ? 1 : 2)..];
        }
        if (digits.Length is 0 or > 70)
            return false;
        UInt128 value = 0;
        foreach (var digit in digits)
        {
            var unit = char.IsAsciiHexDigit(digit) ? Convert.ToInt32(digit.ToString(), 16) : 99;
            if (unit >= radix)
                return false;
            value = (value * (uint)radix) + (uint)unit;
            if (value > ulong.MaxValue)
                return false;
        }
        if (isNegative ? value > (UInt128)long.MaxValue + 1 : text[0] == '+' && value > long.MaxValue)
            return false;
        number = (isNegative && value != 0 ? "-" : "") + value.ToString(CultureInfo.InvariantCulture);
        return true;
    }

    // [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
    private static bool IsFloat(ReadOnlySpan<char> text)
    {
        if (text.Length > 0 && text[0] is '-' or '+')
            text = text[1..];
        var whole = TakeDigits(ref text);
        var fraction = 0;
        if (text.Length > 0 && text[0] == '.')
        {
            text = text[1..];
            fraction = TakeDigits(ref text);
        }
        if (whole == 0 && fraction == 0)
            return false;
        if (text.Length == 0)
            return true;
        if (text[0] is not ('e' or 'E'))
            return false;
        text = text[1..];
        if (text.Length > 0 && text[0] is '-' or '+')
            text = text[1..];
        return TakeDigits(ref text) > 0 && text.Length == 0;
    }

    private static int TakeDigits(scoped ref ReadOnlySpan<char> text)
    {
        var length = text.IndexOfAnyExceptInRange('0', '9');
        length = length < 0 ? text.Length : length;
        text = text[length..];
        return length;
    }

    private static string Binary(string base64)
    {
        try
        {
            return Encoding.UTF8.GetString(Convert.FromBase64String(base64));
        }
        catch (FormatException)
        {
            throw ApiStatus.BadRequest("error converting YAML to JSON: yaml: !!binary value contains invalid base64 data").ToException();
        }
    }

    private static int NewText(ApiObject document, NodeKind kind, string text)
    {
        var node = document.NewNode(kind);
        document.SetText(node, Encoding.UTF8.GetBytes(text));
        return node;
    }

    private static ApiStatusException NoJson(string value) => ApiStatus.BadRequest($"error converting YAML to JSON: json: unsupported value: {value}").ToException();
}
