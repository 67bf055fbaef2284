using System.Globalization;
using System.Numerics;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// A resource quantity: 500m, 1.5Gi, 2e3. The value is exact (a whole number times a power of ten); which suffix it prints with follows the form that
/// it was given in. Same arithmetic, rounding (up, to nano) and canonical form as resource.Quantity of k8s.io/apimachinery.
/// </summary>
/// <remarks>Immutable. Small values are held without allocation.</remarks>
public readonly struct Quantity : IComparable<Quantity>, IEquatable<Quantity>
{
    /// <summary>What upstream says of text that is no quantity.</summary>
    public const string FormatError = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

    /// <summary>What upstream says of an unknown suffix.</summary>
    public const string SuffixError = "unable to parse quantity's suffix";

    /// <summary>What upstream says of a number that is none.</summary>
    public const string NumericError = "unable to parse numeric part of quantity";

    // int64 holds any number of 18 digits; with more, upstream changes to arbitrary precision.
    private const int MaxFastDigits = 18;

    // The finest grain, 10^-9.
    private const int Nano = -9;

    // No quantity that anybody means has more digits; without a bound a body could make us multiply megabytes.
    private const int MaxLength = 256;

    private static readonly string[] s_binarySuffixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

    private static readonly BigInteger s_maxBinary = (BigInteger.One << 63) - 1;

    private enum Form : byte { Decimal, Binary, Exponent }

    private readonly BigInteger _unscaled;
    private readonly int _scale;
    private readonly Form _form;

    private Quantity(BigInteger unscaled, int scale, Form form)
    {
        _unscaled = unscaled;
        _scale = scale;
        _form = form;
    }

    /// <summary>-1, 0 or 1.</summary>
    public int Sign => _unscaled.Sign;

    /// <summary>The value rounded up to a whole number, clamped to 64 bits.</summary>
    public long Value => Clamp(RoundUp(0));

    /// <summary>Thousandths, rounded up, clamped to 64 bits.</summary>
    public long MilliValue => Clamp(RoundUp(-3));

    /// <summary>A whole number in decimal form.</summary>
    public static Quantity FromInt64(long value) => new(value, 0, Form.Decimal);

    /// <summary>Thousandths in decimal form.</summary>
    public static Quantity FromMilli(long value) => new(value, -3, Form.Decimal);

    /// <summary>A number of bytes; prints with Ki, Mi ... where that is exact.</summary>
    public static Quantity FromBytes(long value) => new(value, 0, Form.Binary);

    /// <summary>Parses the text; false when it is no quantity.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out Quantity value) => TryParse(text, out value, out _) is null;

    /// <summary>Parses the text. Throws <see cref="FormatException"/> with upstream's words when it is no quantity.</summary>
    public static Quantity Parse(string text)
    {
        var failure = TryParse(Encoding.UTF8.GetBytes(text), out var value, out _);
        return failure is null ? value : throw new FormatException(failure);
    }

    /// <summary>Sum; prints in the form of the first.</summary>
    public static Quantity operator +(Quantity left, Quantity right)
    {
        var scale = Math.Min(left._scale, right._scale);
        return new Quantity(left.At(scale) + right.At(scale), scale, left.Sign == 0 ? right._form : left._form);
    }

    /// <summary>Difference; prints in the form of the first.</summary>
    public static Quantity operator -(Quantity left, Quantity right) => left + new Quantity(-right._unscaled, right._scale, right._form);

    /// <summary>Equal value, whatever the form.</summary>
    public static bool operator ==(Quantity left, Quantity right) => left.CompareTo(right) == 0;

    /// <summary>Different value.</summary>
    public static bool operator !=(Quantity left, Quantity right) => left.CompareTo(right) != 0;

    /// <summary>Less.</summary>
    public static bool operator <(Quantity left, Quantity right) => left.CompareTo(right) < 0;

    /// <summary>More.</summary>
    public static bool operator >(Quantity left, Quantity right) => left.CompareTo(right) > 0;

    /// <summary>Less or equal.</summary>
    public static bool operator <=(Quantity left, Quantity right) => left.CompareTo(right) <= 0;

    /// <summary>More or equal.</summary>
    public static bool operator >=(Quantity left, Quantity right) => left.CompareTo(right) >= 0;

    /// <inheritdoc/>
    public int CompareTo(Quantity other)
    {
        if (Sign != other.Sign || Sign == 0)
            return Sign.CompareTo(other.Sign);
        if (_scale == other._scale)
            return _unscaled.CompareTo(other._unscaled);
        var scale = Math.Min(_scale, other._scale);
        return At(scale).CompareTo(other.At(scale));
    }

    /// <inheritdoc/>
    public bool Equals(Quantity other) => CompareTo(other) == 0;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Quantity other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var (digits, exponent) = WithoutTens();
        return HashCode.Combine(digits, exponent);
    }

    /// <summary>The value as a floating point number.</summary>
    public double ToDouble() => (double)_unscaled * Math.Pow(10, _scale);

    /// <summary>The same value, rounded up (away from zero) to a multiple of 10^<paramref name="scale"/>.</summary>
    public Quantity RoundedUp(int scale) => _scale >= scale ? this : new Quantity(RoundUp(scale), scale, _form);

    /// <summary>The canonical form: no fraction, the biggest suffix that is exact.</summary>
    public override string ToString()
    {
        if (Sign == 0)
            return "0";
        if (_form == Form.Binary && IsWhole(out var whole) && BigInteger.Abs(whole) >= 1024)
        {
            var power = 0;
            while ((whole & 1023).IsZero && power < 6)
            {
                whole >>= 10;
                power++;
            }
            return whole.ToString(CultureInfo.InvariantCulture) + s_binarySuffixes[power];
        }
        var (digits, exponent) = WithoutTens();
        var above = ((exponent % 3) + 3) % 3;
        digits *= above == 0 ? 1 : above == 1 ? 10 : 100;
        exponent -= above;
        var number = digits.ToString(CultureInfo.InvariantCulture);
        if (_form == Form.Exponent)
            return exponent == 0 ? number : string.Create(CultureInfo.InvariantCulture, $"{number}e{exponent}");
        // Beyond the suffixes upstream prints none and loses the exponent; the exponent form keeps the value.
        return exponent switch
        {
            -9 => number + "n",
            -6 => number + "u",
            -3 => number + "m",
            0 => number,
            3 => number + "k",
            6 => number + "M",
            9 => number + "G",
            12 => number + "T",
            15 => number + "P",
            18 => number + "E",
            _ => string.Create(CultureInfo.InvariantCulture, $"{number}e{exponent}"),
        };
    }

    /// <summary>True for text that surely is canonical already, which nearly all quantities in bodies are: 2, 100m, 16G, 128Mi.</summary>
    internal static bool IsPlainCanonical(ReadOnlySpan<byte> text)
    {
        if (text.Length is 0 or > 15)
            return false;
        if (text.Length == 1 && text[0] == '0')
            return true;
        var isBinary = text.Length > 2 && text[^1] == 'i' && text[^2] is (byte)'K' or (byte)'M' or (byte)'G';
        var digits = isBinary ? text[..^2] : text[^1] is (byte)'m' or (byte)'k' or (byte)'M' or (byte)'G' ? text[..^1] : text;
        if (digits.Length == 0 || digits[0] == '0' || digits.IndexOfAnyExceptInRange((byte)'0', (byte)'9') >= 0)
            return false;
        if (!isBinary)
            return !digits.EndsWith("000"u8);
        // Nine digits of Gi stay below the 2^63 at which binary quantities are capped.
        if (digits.Length > 9)
            return false;
        var value = 0;
        foreach (var digit in digits)
            value = (value * 10) + (digit - '0');
        return (value & 1023) != 0;
    }

    /// <summary>
    /// Parses the text; null, or what is wrong in upstream's words. <paramref name="isKept"/> says that upstream would write the text again as it came,
    /// although it need not be canonical ("1.234").
    /// </summary>
    internal static string? TryParse(ReadOnlySpan<byte> text, out Quantity value, out bool isKept)
    {
        value = default;
        isKept = false;
        if (text.Length == 0)
            return FormatError;
        if (text.Length > MaxLength)
            return NumericError;
        var isNegative = text[0] == '-';
        var rest = text[0] is (byte)'-' or (byte)'+' ? text[1..] : text;
        rest = rest.TrimStart((byte)'0');
        if (rest.Length == 0)
            return null;
        var whole = TakeDigits(ref rest);
        ReadOnlySpan<byte> fraction = default;
        if (rest.Length > 0 && rest[0] == '.')
        {
            rest = rest[1..];
            fraction = TakeDigits(ref rest);
        }
        if (!IsSuffixShape(rest))
            return FormatError;
        if (!TrySuffix(rest, out var form, out var exponent))
            return SuffixError;
        var digits = whole.Length + fraction.Length;
        var precision = form != Form.Binary ? MaxFastDigits - Math.Max(whole.Length, 1) - fraction.Length
            : fraction.Length == 0 ? 15 - Math.Max(whole.Length, 1) - (int)((float)exponent * 3 / 10) - 1
            : -1;
        BigInteger unscaled = digits == 0 ? BigInteger.Zero : BigInteger.Parse(Encoding.ASCII.GetString([.. whole, .. fraction]), CultureInfo.InvariantCulture);
        var scale = (form == Form.Binary ? 0 : exponent) - fraction.Length;
        if (precision >= 0 && scale >= Nano)
        {
            isKept = form == Form.Binary
                ? exponent % 10 == 0 && !(unscaled & 7).IsZero
                : scale % 3 == 0 && digits > 0 && (whole.Length > 0 ? whole[0] : (byte)'0') != '0' && !EndsWithThreeZeros(whole, fraction);
        }
        if (form == Form.Binary)
            unscaled <<= exponent;
        if (scale < Nano)
        {
            (unscaled, scale) = (DivideUp(unscaled, Nano - scale), Nano);
        }
        if (form == Form.Binary && !isKept)
        {
            if (precision < 0 && unscaled > At(s_maxBinary, 0, Math.Min(scale, 0)))
                (unscaled, scale) = (s_maxBinary, 0);
            if (precision < 0 && !unscaled.IsZero && unscaled < At(BigInteger.One, 0, Math.Min(scale, 0)))
                form = Form.Decimal;
        }
        value = new Quantity(isNegative ? -unscaled : unscaled, scale, form);
        return null;
    }

    private static bool EndsWithThreeZeros(ReadOnlySpan<byte> whole, ReadOnlySpan<byte> fraction)
    {
        var zeros = 0;
        for (var i = fraction.Length - 1; i >= 0 && fraction[i] == '0'; i--)
            zeros++;
        if (zeros == fraction.Length)
        {
            for (var i = whole.Length - 1; i >= 0 && whole[i] == '0'; i--)
                zeros++;
        }
        return zeros >= 3;
    }

    private static ReadOnlySpan<byte> TakeDigits(scoped ref ReadOnlySpan<byte> text)
    {
        var length = text.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        if (length < 0)
            length = text.Length;
        var digits = text[..length];
        text = text[length..];
        return digits;
    }

    // [eEinumkKMGTP]*[-+]?[0-9]*
    private static bool IsSuffixShape(ReadOnlySpan<byte> suffix)
    {
        var letters = suffix.IndexOfAnyExcept("eEinumkKMGTP"u8);
        suffix = letters < 0 ? default : suffix[letters..];
        if (suffix.Length > 0 && suffix[0] is (byte)'-' or (byte)'+')
            suffix = suffix[1..];
        return suffix.IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0;
    }

    private static bool TrySuffix(ReadOnlySpan<byte> suffix, out Form form, out int exponent)
    {
        form = Form.Decimal;
        exponent = 0;
        if (suffix.Length == 0)
            return true;
        if (suffix.Length == 2 && suffix[1] == 'i')
        {
            form = Form.Binary;
            exponent = 10 * (1 + "KMGTPE"u8.IndexOf(suffix[0]));
            return exponent > 0;
        }
        if (suffix.Length == 1)
        {
            var at = "num kMGTPE"u8.IndexOf(suffix[0]);
            exponent = (at * 3) - 9;
            return at >= 0 && suffix[0] != ' ';
        }
        form = Form.Exponent;
        return suffix[0] is (byte)'e' or (byte)'E'
            && int.TryParse(suffix[1..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent) && Math.Abs((long)exponent) <= 10_000;
    }

    private static BigInteger DivideUp(BigInteger value, int tens)
    {
        if (value.IsZero)
            return value;
        // More tens than the value has digits: what is left is the rounding.
        if (tens > MaxLength * 2)
            return value.Sign;
        var quotient = BigInteger.DivRem(value, BigInteger.Pow(10, tens), out var remainder);
        return remainder.IsZero ? quotient : quotient + value.Sign;
    }

    private static BigInteger At(BigInteger unscaled, int from, int to) => from == to ? unscaled : unscaled * BigInteger.Pow(10, from - to);

    private BigInteger At(int scale) => At(_unscaled, _scale, scale);

    private BigInteger RoundUp(int scale) => _scale >= scale ? At(scale) : DivideUp(_unscaled, scale - _scale);

    private static long Clamp(BigInteger value) => value > long.MaxValue ? long.MaxValue : value < long.MinValue ? long.MinValue : (long)value;

    private bool IsWhole(out BigInteger whole)
    {
        if (_scale >= 0)
        {
            whole = At(0);
            return true;
        }
        whole = BigInteger.DivRem(_unscaled, BigInteger.Pow(10, -_scale), out var remainder);
        return remainder.IsZero;
    }

    private (BigInteger Digits, int Exponent) WithoutTens()
    {
        var (digits, exponent) = (_unscaled, _scale);
        while (!digits.IsZero)
        {
            var quotient = BigInteger.DivRem(digits, 10, out var remainder);
            if (!remainder.IsZero)
                break;
            digits = quotient;
            exponent++;
        }
        return (digits, digits.IsZero ? 0 : exponent);
    }
}
