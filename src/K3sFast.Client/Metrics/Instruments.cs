namespace K3sFast.Client;

/// <summary>A count that only grows. Any thread; allocates nothing.</summary>
public sealed class Counter
{
    private long _value;

    /// <summary>The count so far.</summary>
    public long Value => Volatile.Read(ref _value);

    /// <summary>Adds to the count.</summary>
    public void Add(long amount = 1) => Interlocked.Add(ref _value, amount);
}

/// <summary>A number that rises and falls. Any thread; allocates nothing.</summary>
public sealed class Gauge
{
    private double _value;

    /// <summary>The number now.</summary>
    public double Value => Volatile.Read(ref _value);

    /// <summary>Replaces the number.</summary>
    public void Set(double value) => Volatile.Write(ref _value, value);

    /// <summary>Adds to the number; a negative amount takes away.</summary>
    public void Add(double amount) => Atomic.Add(ref _value, amount);
}

/// <summary>How often values fell under each of a few bounds, with their sum. Any thread; allocates nothing.</summary>
public sealed class Histogram
{
    private readonly double[] _bounds;
    private readonly long[] _counts;
    private double _sum;

    internal Histogram(double[] bounds)
    {
        _bounds = bounds;
        _counts = new long[bounds.Length + 1];
    }

    internal ReadOnlySpan<double> Bounds => _bounds;

    internal double Sum => Volatile.Read(ref _sum);

    /// <summary>Values seen.</summary>
    public long Count
    {
        get
        {
            long count = 0;
            for (var i = 0; i < _counts.Length; i++)
                count += Volatile.Read(ref _counts[i]);
            return count;
        }
    }

    /// <summary>Notes a value. O(bounds), two interlocked operations.</summary>
    public void Observe(double value)
    {
        var i = 0;
        while (i < _bounds.Length && value > _bounds[i])
            i++;
        Interlocked.Increment(ref _counts[i]);
        Atomic.Add(ref _sum, value);
    }

    // Values of this bucket alone; the last one is everything above the bounds.
    internal long CountOf(int bucket) => Volatile.Read(ref _counts[bucket]);

    /// <summary>Bounds that start at <paramref name="start"/> and grow by a factor.</summary>
    public static double[] Exponential(double start, double factor, int count)
    {
        var bounds = new double[count];
        for (var i = 0; i < count; i++, start *= factor)
            bounds[i] = start;
        return bounds;
    }

    /// <summary>Bounds that start at <paramref name="start"/> and lie one width apart.</summary>
    public static double[] Linear(double start, double width, int count)
    {
        var bounds = new double[count];
        for (var i = 0; i < count; i++, start += width)
            bounds[i] = start;
        return bounds;
    }
}

/// <summary>Addition of floating point numbers by several threads.</summary>
internal static class Atomic
{
    internal static void Add(ref double target, double amount)
    {
        double before, after;
        do
        {
            before = Volatile.Read(ref target);
            after = before + amount;
        }
        while (Interlocked.CompareExchange(ref target, after, before) != before);
    }
}
