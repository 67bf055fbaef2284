namespace K3sFast.ApiServer;

/// <summary>The demand for a level's seats over time: its mean, deviation and maximum since the last look.</summary>
/// <remarks>Guarded by its level's lock.</remarks>
internal struct SeatDemand(long now)
{
    private long _since = now;
    private long _at = now;
    private double _value;
    private double _sum;
    private double _sumOfSquares;
    private double _max;

    internal void Set(TimeProvider clock, long now, int value)
    {
        Accumulate(clock, now);
        _value = value;
        _max = Math.Max(_max, value);
    }

    internal Summary Take(TimeProvider clock, long now)
    {
        Accumulate(clock, now);
        var seconds = clock.GetElapsedTime(_since, now).TotalSeconds;
        var mean = seconds > 0 ? _sum / seconds : _value;
        var variance = seconds > 0 ? (_sumOfSquares / seconds) - (mean * mean) : 0;
        var summary = new Summary(seconds, mean, Math.Sqrt(Math.Max(0, variance)), _max);
        _since = now;
        _sum = _sumOfSquares = 0;
        _max = _value;
        return summary;
    }

    private void Accumulate(TimeProvider clock, long now)
    {
        var seconds = clock.GetElapsedTime(_at, now).TotalSeconds;
        _at = now;
        _sum += _value * seconds;
        _sumOfSquares += _value * _value * seconds;
    }

    /// <summary>A period's demand.</summary>
    internal readonly record struct Summary(double Seconds, double Mean, double Deviation, double Max);
}

/// <summary>
/// After how long a refused client may come again: one second, doubled while many are refused, and less by one second at a time when few are; upstream's rule.
/// </summary>
/// <remarks>Guarded by its level's lock.</remarks>
internal struct DroppedRequests()
{
    private const int MaxRetrySeconds = 32;

    // As many seconds back as the longest retry looks, a power of two.
    private readonly (long Second, int Count)[] _history = new (long, int)[64];
    private long _second;
    private long _raisedAt;
    private int _retry = 1;

    internal int Note(long second)
    {
        ref var slot = ref _history[second & 63];
        if (slot.Second != second)
            slot = (second, 0);
        slot.Count++;
        if (_second != second)
        {
            _second = second;
            Adjust(second);
        }
        return _retry;
    }

    private void Adjust(long now)
    {
        var dropped = 0;
        foreach (var (second, count) in _history)
        {
            if (second < now && now - second <= _retry)
                dropped += count;
        }
        if (now - _raisedAt >= _retry && dropped >= 3 * _retry)
        {
            _retry = Math.Min(MaxRetrySeconds, _retry * 2);
            _raisedAt = now;
        }
        else if (dropped < _retry && _retry > 1)
        {
            _retry--;
        }
    }
}
