namespace K3sFast.Datastore;

/// <summary>How often a figure fell below each of some bounds. One thread adds, any reads; a reader may miss the newest addition.</summary>
public sealed class Distribution
{
    private readonly double[] _bounds;
    private readonly long[] _counts;
    private double _sum;
    private double _largest;

    /// <summary>Bounds in rising order; above the last one lies one more bucket.</summary>
    public Distribution(params double[] bounds)
    {
        ArgumentNullException.ThrowIfNull(bounds);
        _bounds = bounds;
        _counts = new long[bounds.Length + 1];
    }

    /// <summary>Upper bounds, inclusive, as Prometheus counts.</summary>
    public IReadOnlyList<double> Bounds => _bounds;

    /// <summary>Additions at or below each bound and above the one before it; the last entry is above all bounds.</summary>
    public IReadOnlyList<long> Counts => _counts;

    /// <summary>The sum of all figures.</summary>
    public double Sum => Volatile.Read(ref _sum);

    /// <summary>The largest of them; 0 = there is none.</summary>
    public double Largest => Volatile.Read(ref _largest);

    /// <summary>A bound that this share of all figures does not exceed; infinite = it lies above the last bound.</summary>
    public double BoundOf(double share)
    {
        long below = 0, wanted = (long)Math.Ceiling(share * _counts.Sum());
        for (int i = 0; i < _bounds.Length; i++)
        {
            below += Volatile.Read(ref _counts[i]);
            if (below >= wanted) return _bounds[i];
        }
        return double.PositiveInfinity;
    }

    /// <summary>Adds one. Allocates nothing.</summary>
    internal void Add(double figure)
    {
        int bucket = 0;
        while (bucket < _bounds.Length && figure > _bounds[bucket]) bucket++;
        Volatile.Write(ref _counts[bucket], _counts[bucket] + 1);
        Volatile.Write(ref _sum, _sum + figure);
        if (figure > _largest) Volatile.Write(ref _largest, figure);
    }
}
