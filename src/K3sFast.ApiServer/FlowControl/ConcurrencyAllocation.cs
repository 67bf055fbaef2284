namespace K3sFast.ApiServer;

/// <summary>
/// Shares a number of seats out among levels that lend and borrow: each gets its target times one common factor, within its own bounds.
/// </summary>
internal static class ConcurrencyAllocation
{
    // A level without demand still has a claim, or no factor would give it anything.
    private const double MinTarget = 0.001;

    // Halvings of the interval that holds the factor: enough for the last bit of a double.
    private const int Steps = 100;

    /// <summary>One level's claim: never less than <paramref name="Low"/>, never more than <paramref name="High"/>.</summary>
    internal readonly record struct Claim(double Low, double High, double Target);

    /// <summary>The shares, in the claims' order; they add up to the sum wherever the bounds let them.</summary>
    internal static double[] Share(double sum, IReadOnlyList<Claim> claims) => Share(sum, claims, out _);

    /// <inheritdoc cref="Share(double, IReadOnlyList{Claim})"/>
    internal static double[] Share(double sum, IReadOnlyList<Claim> claims, out double factor)
    {
        double low = 0, high = 1;
        while (Total(claims, high) < sum && high < double.MaxValue / 4)
            high *= 2;
        for (var i = 0; i < Steps; i++)
        {
            var middle = (low + high) / 2;
            if (Total(claims, middle) < sum) low = middle;
            else high = middle;
        }
        factor = high;
        return [.. claims.Select(claim => Of(claim, high))];
    }

    private static double Total(IReadOnlyList<Claim> claims, double factor)
    {
        double total = 0;
        foreach (var claim in claims)
            total += Of(claim, factor);
        return total;
    }

    private static double Of(Claim claim, double factor) => Math.Clamp(Math.Max(MinTarget, claim.Target) * factor, claim.Low, Math.Max(claim.Low, claim.High));
}
