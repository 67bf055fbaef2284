namespace K3sFast.Datastore;

/// <summary>How often a figure fell below each of some bounds. One thread adds, any reads; a reader may miss the newest addition.</summary>
public sealed class Distribution
{
    private readonly double[] _bounds;
    private readonly long[] _counts;
    private double _sum;

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

    /// <summary>Adds one. Allocates nothing.</summary>
    internal void Add(double figure)
    {
        int bucket = 0;
        while (bucket < _bounds.Length && figure > _bounds[bucket]) bucket++;
        Volatile.Write(ref _counts[bucket], _counts[bucket] + 1);
        Volatile.Write(ref _sum, _sum + figure);
    }
}
