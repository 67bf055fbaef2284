namespace K3sFast.ApiMachinery;

/// <summary>How many characters, bytes, elements or members a value may have. Sums and products stop at the largest number.</summary>
internal readonly record struct CelSize(ulong Min, ulong Max)
{
    private const double TwoTo64 = 18_446_744_073_709_551_616.0;

    internal static readonly CelSize Unknown = new(0, ulong.MaxValue);

    /// <summary>No size yet, to be joined with others.</summary>
    internal static readonly CelSize None = new(ulong.MaxValue, 0);

    internal static CelSize Of(ulong size) => new(size, size);

    internal CelSize Plus(CelSize other) => new(Add(Min, other.Min), Add(Max, other.Max));

    internal CelSize Times(CelSize other) => new(Multiply(Min, other.Min), Multiply(Max, other.Max));

    /// <summary>The smallest range that holds both.</summary>
    internal CelSize Or(CelSize other) => new(Math.Min(Min, other.Min), Math.Max(Max, other.Max));

    /// <summary>The worst case's cost at so much each, rounded up.</summary>
    internal ulong Cost(double each) => Cost(Max, each);

    internal static ulong Cost(ulong count, double each)
    {
        double cost = Math.Ceiling(count * each);
        return cost >= TwoTo64 ? ulong.MaxValue : (ulong)cost;
    }

    internal static ulong Add(ulong left, ulong right) => left > ulong.MaxValue - right ? ulong.MaxValue : left + right;

    internal static ulong Multiply(ulong left, ulong right) => right != 0 && left > ulong.MaxValue / right ? ulong.MaxValue : left * right;
}
