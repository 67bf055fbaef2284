namespace K3sFast.Client;

/// <summary>
/// The controllers' queue: a key waits at most once, is never worked on by two at a time, comes back after a failure with growing delay, and
/// can be put in for later. Upstream's workqueue, with its promises. Any thread.
/// </summary>
/// <remarks>
/// A key that is added while it is worked on waits until <see cref="Done"/>. An added key overtakes its own pending delay; the earliest of
/// several delays counts. One timer serves all delayed keys and sleeps while there are none.
/// </remarks>
public sealed class WorkQueue<TKey> : IDisposable, IWorkQueueState where TKey : notnull
{
    // Upstream's default controller rate limiter: 5 ms doubled at each failure, up to 1000 s.
    private static readonly TimeSpan s_baseDelay = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan s_maxDelay = TimeSpan.FromSeconds(1000);

    // Immutable after construction
    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private readonly TimeSpan _firstDelay;
    private readonly TimeSpan _lastDelay;

    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly Queue<TKey> _ready = new();
    // Since when, as timestamps of _time
    private readonly Dictionary<TKey, long> _waiting = [];
    private readonly Dictionary<TKey, long> _working = [];
    private readonly Dictionary<TKey, int> _failures = [];
    private readonly Dictionary<TKey, long> _delayed = [];
    private readonly PriorityQueue<(TKey Key, long Due), long> _due = new();
    private readonly Queue<TaskCompletionSource<TKey>> _takers = new();
    private WorkQueueMetrics? _metrics;
    private string _name = "";
    private bool _isClosed;

    /// <summary>A queue; delays after failures start at <paramref name="baseDelay"/> (5 ms) and end at <paramref name="maxDelay"/> (1000 s).</summary>
    public WorkQueue(TimeProvider? time = null, TimeSpan? baseDelay = null, TimeSpan? maxDelay = null)
    {
        _time = time ?? TimeProvider.System;
        (_firstDelay, _lastDelay) = (baseDelay ?? s_baseDelay, maxDelay ?? s_maxDelay);
        _timer = _time.CreateTimer(static queue => ((WorkQueue<TKey>)queue!).MoveDue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Keys that wait now, delayed ones not counted.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _waiting.Count;
        }
    }

    /// <summary>Counts what happens here from now on under this name; the first name stays.</summary>
    public void Measure(string name)
    {
        lock (_gate)
        {
            if (_metrics is not null)
                return;
            _name = name;
            _metrics = new WorkQueueMetrics(name, this);
            _metrics.Adds.Add(_waiting.Count + _working.Count);
        }
    }

    string IWorkQueueState.Name => _name;

    double IWorkQueueState.Depth => Count;

    double IWorkQueueState.UnfinishedSeconds
    {
        get
        {
            lock (_gate) return _working.Values.Sum(since => _time.GetElapsedTime(since).TotalSeconds);
        }
    }

    double IWorkQueueState.LongestSeconds
    {
        get
        {
            lock (_gate) return _working.Values.Select(since => _time.GetElapsedTime(since).TotalSeconds).DefaultIfEmpty().Max();
        }
    }

    /// <summary>Puts a key in, unless it waits already.</summary>
    public void Add(TKey key)
    {
        lock (_gate) AddLocked(key);
    }

    /// <summary>Puts a key in once <paramref name="delay"/> has passed.</summary>
    public void AddAfter(TKey key, TimeSpan delay)
    {
        lock (_gate)
        {
            if (_isClosed) return;
            if (delay <= TimeSpan.Zero)
            {
                AddLocked(key);
                return;
            }
            var due = _time.GetTimestamp() + (long)(delay.TotalSeconds * _time.TimestampFrequency);
            if (_delayed.TryGetValue(key, out var earlier) && earlier <= due) return;
            _delayed[key] = due;
            _due.Enqueue((key, due), due);
            SetTimerLocked();
        }
    }

    /// <summary>Puts a key in after the delay that its failures so far ask for.</summary>
    public void AddRateLimited(TKey key)
    {
        TimeSpan delay;
        lock (_gate)
        {
            _metrics?.Retries.Add();
            var failures = _failures.GetValueOrDefault(key);
            _failures[key] = failures + 1;
            // 2^40 x 5 ms is far beyond the longest delay: the exponent is bounded so that it never overflows.
            var milliseconds = _firstDelay.TotalMilliseconds * Math.Pow(2, Math.Min(failures, 40));
            delay = milliseconds < _lastDelay.TotalMilliseconds ? TimeSpan.FromMilliseconds(milliseconds) : _lastDelay;
        }
        AddAfter(key, delay);
    }

    /// <summary>Forgets a key's failures.</summary>
    public void Forget(TKey key)
    {
        lock (_gate) _failures.Remove(key);
    }

    /// <summary>How often the key failed since it was last forgotten.</summary>
    public int Failures(TKey key)
    {
        lock (_gate) return _failures.GetValueOrDefault(key);
    }

    /// <summary>The next key, for the caller to work on and to end with <see cref="Done"/>.</summary>
    /// <exception cref="OperationCanceledException">Cancelled, or the queue was closed.</exception>
    public async ValueTask<TKey> TakeAsync(CancellationToken cancellationToken)
    {
        TaskCompletionSource<TKey> taker;
        lock (_gate)
        {
            if (_isClosed) throw new OperationCanceledException("the queue is closed");
            if (_ready.TryDequeue(out var key))
            {
                StartLocked(key);
                return key;
            }
            taker = new TaskCompletionSource<TKey>(TaskCreationOptions.RunContinuationsAsynchronously);
            _takers.Enqueue(taker);
        }
        await using var registration = cancellationToken.Register(static state => ((TaskCompletionSource<TKey>)state!).TrySetCanceled(), taker).ConfigureAwait(false);
        return await taker.Task.ConfigureAwait(false);
    }

    /// <summary>Ends the work on a key; one that was added meanwhile waits again.</summary>
    public void Done(TKey key)
    {
        lock (_gate)
        {
            if (_working.Remove(key, out var since)) _metrics?.Works.Observe(_time.GetElapsedTime(since).TotalSeconds);
            if (_waiting.ContainsKey(key)) HandOverLocked(key);
        }
    }

    /// <summary>Closes the queue: takers are cancelled, additions ignored.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isClosed = true;
            while (_takers.TryDequeue(out var taker)) taker.TrySetCanceled();
        }
        _timer.Dispose();
    }

    private void AddLocked(TKey key)
    {
        if (_isClosed || !_waiting.TryAdd(key, _time.GetTimestamp())) return;
        _metrics?.Adds.Add();
        if (!_working.ContainsKey(key)) HandOverLocked(key);
    }

    private void StartLocked(TKey key)
    {
        if (_waiting.Remove(key, out var since)) _metrics?.Waits.Observe(_time.GetElapsedTime(since).TotalSeconds);
        _working[key] = _time.GetTimestamp();
    }

    private void HandOverLocked(TKey key)
    {
        while (_takers.TryDequeue(out var taker))
        {
            if (!taker.TrySetResult(key)) continue;
            StartLocked(key);
            return;
        }
        _ready.Enqueue(key);
    }

    private void MoveDue()
    {
        lock (_gate)
        {
            var now = _time.GetTimestamp();
            while (_due.TryPeek(out var entry, out var due) && due <= now)
            {
                _due.Dequeue();
                // An entry that was overtaken by an earlier one is stale.
                if (!_delayed.TryGetValue(entry.Key, out var current) || current != due) continue;
                _delayed.Remove(entry.Key);
                AddLocked(entry.Key);
            }
            SetTimerLocked();
        }
    }

    private void SetTimerLocked()
    {
        if (_isClosed || !_due.TryPeek(out _, out var due)) return;
        var ticks = Math.Max(0, due - _time.GetTimestamp());
        // Rounded up to whole milliseconds, so that the timer never fires just before the key is due.
        var wait = TimeSpan.FromMilliseconds(Math.Ceiling(ticks * 1000.0 / _time.TimestampFrequency));
        // Timers refuse more than about 49 days; a longer wait is cut and looked at again.
        _timer.Change(wait < TimeSpan.FromDays(1) ? wait : TimeSpan.FromDays(1), Timeout.InfiniteTimeSpan);
    }
}
