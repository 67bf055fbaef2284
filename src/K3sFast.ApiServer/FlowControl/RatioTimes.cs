namespace K3sFast.ApiServer;

/// <summary>For how long a number, as a part of another one, lay in each bucket. Every nanosecond is an observation, so that counts are times.</summary>
/// <remarks>Guarded by its owner's lock. Setting allocates nothing.</remarks>
internal struct RatioTimes(double[] bounds, long now)
{
    private readonly double[] _nanoseconds = new double[bounds.Length + 1];
    private long _at = now;
    private double _value;
    private double _whole = 1;
    private double _sum;

    /// <summary>The number is this from now on.</summary>
    internal void Set(TimeProvider clock, long now, double value)
    {
        Accumulate(clock, now);
        _value = value;
    }

    /// <summary>The whole is this from now on, and at least one.</summary>
    internal void SetWhole(TimeProvider clock, long now, double whole)
    {
        Accumulate(clock, now);
        _whole = Math.Max(1, whole);
    }

    /// <summary>The times since the start.</summary>
    internal RatioHistogram Read(TimeProvider clock, long now)
    {
        Accumulate(clock, now);
        return new RatioHistogram(bounds, [.. _nanoseconds], _sum);
    }

    private void Accumulate(TimeProvider clock, long now)
    {
        var nanoseconds = clock.GetElapsedTime(_at, now).TotalSeconds * 1e9;
        var ratio = _value / _whole;
        var bucket = 0;
        while (bucket < bounds.Length && ratio > bounds[bucket])
            bucket++;
        _nanoseconds[bucket] += nanoseconds;
        _sum += ratio * nanoseconds;
        _at = now;
    }
}

/// <summary>Nanoseconds by bucket, one more than there are bounds, and the sum of the ratio over all of them.</summary>
internal readonly record struct RatioHistogram(double[] Bounds, double[] Nanoseconds, double Sum);

/// <summary>What a level did over time: the demand for its seats, the seats and requests in service, the requests in its queues.</summary>
internal readonly record struct LevelTimes(RatioHistogram Demand, RatioHistogram Seats, RatioHistogram Executing, RatioHistogram Waiting)
{
    // Upstream's bounds.
    internal static readonly double[] DemandBounds = [0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6];
    internal static readonly double[] SeatBounds = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1];
    internal static readonly double[] RequestBounds = [0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1];
}

/// <summary>
/// Virtual times of a level, in seat-seconds: now, when a request was last taken from a queue, that request's own, and the least and most of the queues'
/// then, with and without the work in progress.
/// </summary>
internal readonly record struct DispatchTimes(double Now, bool HasDispatched, double AtDispatch, double Latest, double Min, double Max, double DiscountedMin, double DiscountedMax);
