using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>Arithmetic that notices overflow, comparison across kinds, and numbers in text.</summary>
internal static class CelNumbers
{
    private const string IntOverflow = "integer overflow";
    private const string UintOverflow = "unsigned integer overflow";

    // The first doubles beyond the range of 64 bits.
    private const double TwoTo63 = 9223372036854775808.0;
    private const double TwoTo64 = 18446744073709551616.0;

    internal static CelValue Add(long a, long b)
    {
        long sum = unchecked(a + b);
        return ((a ^ sum) & (b ^ sum)) < 0 ? CelValue.Error(IntOverflow) : CelValue.Of(sum);
    }

    internal static CelValue Subtract(long a, long b)
    {
        long difference = unchecked(a - b);
        return ((a ^ b) & (a ^ difference)) < 0 ? CelValue.Error(IntOverflow) : CelValue.Of(difference);
    }

    internal static CelValue Multiply(long a, long b)
    {
        var product = (Int128)a * b;
        return product > long.MaxValue || product < long.MinValue ? CelValue.Error(IntOverflow) : CelValue.Of((long)product);
    }

    internal static CelValue Divide(long a, long b) => b == 0 ? CelValue.Error("division by zero") : a == long.MinValue && b == -1 ? CelValue.Error(IntOverflow) : CelValue.Of(a / b);

    internal static CelValue Modulo(long a, long b) => b == 0 ? CelValue.Error("modulus by zero") : a == long.MinValue && b == -1 ? CelValue.Error(IntOverflow) : CelValue.Of(a % b);

    internal static CelValue Negate(long a) => a == long.MinValue ? CelValue.Error(IntOverflow) : CelValue.Of(-a);

    internal static CelValue Add(ulong a, ulong b) => a > ulong.MaxValue - b ? CelValue.Error(UintOverflow) : CelValue.Of(a + b);

    internal static CelValue Subtract(ulong a, ulong b) => b > a ? CelValue.Error(UintOverflow) : CelValue.Of(a - b);

    internal static CelValue Multiply(ulong a, ulong b)
    {
        var product = (UInt128)a * b;
        return product > ulong.MaxValue ? CelValue.Error(UintOverflow) : CelValue.Of((ulong)product);
    }

    internal static CelValue Divide(ulong a, ulong b) => b == 0 ? CelValue.Error("division by zero") : CelValue.Of(a / b);

    internal static CelValue Modulo(ulong a, ulong b) => b == 0 ? CelValue.Error("modulus by zero") : CelValue.Of(a % b);

    internal static CelValue ToInt(double value) => !(value > -TwoTo63 && value < TwoTo63) ? CelValue.Error(IntOverflow) : CelValue.Of((long)value);

    internal static CelValue ToInt(ulong value) => value > long.MaxValue ? CelValue.Error(IntOverflow) : CelValue.Of((long)value);

    internal static CelValue ToUint(double value) => !(value >= 0 && value < TwoTo64) ? CelValue.Error(UintOverflow) : CelValue.Of((ulong)value);

    internal static CelValue ToUint(long value) => value < 0 ? CelValue.Error(UintOverflow) : CelValue.Of((ulong)value);

    /// <summary>-1, 0 or 1; 2 when one of them is not a number, which equals nothing.</summary>
    internal static int Compare(CelValue first, CelValue second)
    {
        if (first.Kind == CelKind.Double || second.Kind == CelKind.Double)
        {
            if (first.Kind == second.Kind)
                return first.AsDouble < second.AsDouble ? -1 : first.AsDouble > second.AsDouble ? 1 : first.AsDouble == second.AsDouble ? 0 : 2;
            return first.Kind == CelKind.Double ? CompareToWhole(first.AsDouble, second) : Reverse(CompareToWhole(second.AsDouble, first));
        }
        if (first.Kind == second.Kind)
            return first.Kind == CelKind.Int ? first.AsInt.CompareTo(second.AsInt) : first.AsUint.CompareTo(second.AsUint);
        Int128 left = first.Kind == CelKind.Int ? first.AsInt : first.AsUint;
        Int128 right = second.Kind == CelKind.Int ? second.AsInt : second.AsUint;
        return left.CompareTo(right);
    }

    private static int Reverse(int order) => order == 2 ? 2 : -order;

    private static int CompareToWhole(double number, CelValue whole)
    {
        if (double.IsNaN(number))
            return 2;
        if (whole.Kind == CelKind.Int)
            return number < -TwoTo63 ? -1 : number > TwoTo63 ? 1 : number.CompareTo((double)whole.AsInt);
        return number < 0 ? -1 : number > TwoTo64 ? 1 : number.CompareTo((double)whole.AsUint);
    }

    /// <summary>A literal: digits, or 0x and hexadecimal ones.</summary>
    internal static bool TryParseInt(string sign, string text, out long value)
    {
        value = 0;
        if (!TryParseUint(text, out ulong magnitude))
            return false;
        if (sign.Length > 0)
        {
            value = unchecked(-(long)magnitude);
            return magnitude <= 1UL << 63;
        }
        value = (long)magnitude;
        return magnitude <= long.MaxValue;
    }

    internal static bool TryParseUint(string text, out ulong value) => text.StartsWith("0x", StringComparison.Ordinal)
        ? ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
        : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
