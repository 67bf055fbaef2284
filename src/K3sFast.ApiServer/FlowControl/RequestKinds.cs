namespace K3sFast.ApiServer;

/// <summary>How many requests that read and that write wait and are served, now and over time, as parts of what may.</summary>
/// <remarks>Any thread.</remarks>
internal sealed class RequestKinds(TimeProvider clock)
{
    // Upstream's bounds.
    private static readonly double[] s_bounds = [0, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1];

    private readonly Lock _gate = new();

    // Guarded by _gate: by phase and kind
    private readonly RatioTimes[] _times = [.. Enumerable.Range(0, 4).Select(_ => new RatioTimes(s_bounds, clock.GetTimestamp()))];
    private readonly int[] _counts = new int[4];

    /// <summary>So many requests may wait, and so many be served.</summary>
    internal void SetLimits(int waiting, int executing)
    {
        lock (_gate)
        {
            for (var i = 0; i < _times.Length; i++)
                _times[i].SetWhole(clock, clock.GetTimestamp(), i < 2 ? waiting : executing);
        }
    }

    /// <summary>One more or one less waits.</summary>
    internal void Waiting(bool isMutating, int change) => Change(isMutating ? 1 : 0, change);

    /// <summary>One more or one less is served.</summary>
    internal void Executing(bool isMutating, int change) => Change(isMutating ? 3 : 2, change);

    /// <summary>Requests that wait now.</summary>
    internal int WaitingNow(bool isMutating) => Volatile.Read(ref _counts[isMutating ? 1 : 0]);

    /// <summary>The times of each phase and kind.</summary>
    internal List<(string Phase, string Kind, RatioHistogram Times)> Read()
    {
        lock (_gate)
        {
            var now = clock.GetTimestamp();
            return
            [
                ("executing", "mutating", _times[3].Read(clock, now)), ("executing", "readOnly", _times[2].Read(clock, now)),
                ("waiting", "mutating", _times[1].Read(clock, now)), ("waiting", "readOnly", _times[0].Read(clock, now)),
            ];
        }
    }

    private void Change(int index, int change)
    {
        lock (_gate)
        {
            _counts[index] += change;
            _times[index].Set(clock, clock.GetTimestamp(), _counts[index]);
        }
    }
}
