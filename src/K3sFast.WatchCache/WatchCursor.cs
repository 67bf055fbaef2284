using System.Threading.Tasks.Sources;

namespace K3sFast.WatchCache;

/// <summary>
/// A watcher's place in a resource's ring: no queue, no copy. One thread at a time, except <see cref="Wake"/>. What it has read is kept alive until
/// it reads on, waits under a key, or gives it back (<see cref="ReturnEvents"/>); it finds its place gone when the ring has moved on.
/// </summary>
public sealed class WatchCursor : IDisposable, IValueTaskSource, IThreadPoolWorkItem
{
    private const int Idle = 0;
    private const int Waiting = 1;
    private const int WakePending = 2;

    private readonly WatchCache _cache;
    private readonly byte[] _keyPrefix;
    private readonly long _afterRevision;

    // Owned by the reading thread
    private RingSegment? _segment;
    private int _index;
    private bool _isHolding;
    private long _revision;
    private CancellationTokenRegistration _registration;

    // Shared with those who wake it
    private ManualResetValueTaskSourceCore<bool> _core;
    private int _state;
    private Exception? _waitError;

    internal WatchCursor(WatchCache cache, RingSegment? segment, int index, long afterRevision, byte[] keyPrefix, IndexKey key)
    {
        _cache = cache;
        Key = key;
        _segment = segment;
        _isHolding = segment is not null;
        _index = index;
        _afterRevision = _revision = afterRevision;
        _keyPrefix = keyPrefix;
        // Completed by Execute on a pool thread, which may as well run the reader.
        _core.RunContinuationsAsynchronously = false;
    }

    /// <summary>
    /// Everything up to here, in the whole store, has been read or does not concern this cursor: a bookmark's resourceVersion.
    /// </summary>
    public long Revision => _revision;

    /// <summary>The cache it reads.</summary>
    public WatchCache Cache => _cache;

    /// <summary>The only events that wake it; none = all.</summary>
    internal IndexKey Key { get; }

    // Guarded by the waker's lock
    internal long ListedInRound { get; set; } = -1;

    internal int ListIndex { get; set; }

    internal CursorParking Parking { get; set; }

    internal WatchCursor? NextParked { get; set; }

    internal WatchCursor? PreviousParked { get; set; }

    /// <summary>Copies events after the last one read to <paramref name="destination"/>, oldest first.</summary>
    /// <returns>Events copied; 0 = caught up; -1 = the cursor's place left the ring (answer 410 Expired, as kube-apiserver does).</returns>
    /// <remarks>Lock-free, allocates nothing. Events are lent until the next read or the cursor's disposal.</remarks>
    public int Read(Span<WatchEvent> destination)
    {
        // Read before looking: if nothing is found, nothing up to here concerns this cursor.
        long progress = _cache.GlobalRevision;
        if (Parking != CursorParking.None) _cache.Unpark(this);
        var segment = HoldSegment();
        while (segment is not null)
        {
            int copied = ReadSegment(segment, destination);
            if (copied > 0)
            {
                _revision = destination[copied - 1].Revision;
                return copied;
            }
            if (_index < segment.Published) continue;
            var next = segment.Next;
            if (next is null)
            {
                if (segment.Evicted) break;
                _revision = Math.Max(_revision, progress);
                return 0;
            }
            // The writer fills a segment before it links the next one.
            if (_index < segment.Published) continue;
            if (!next.TryRetain()) break;
            segment.Release();
            _segment = segment = next;
            _index = 0;
        }
        return -1;
    }

    /// <summary>
    /// Gives the events that were read back at once, before waiting for somebody who may be slow: a stuck reader keeps no object alive. Where the
    /// ring moves on meanwhile, the next read finds the cursor's place gone.
    /// </summary>
    public void ReturnEvents()
    {
        if (!_isHolding) return;
        _isHolding = false;
        _segment!.Release();
    }

    /// <summary>Completes when there may be something to read, when <see cref="Wake"/> was called, or as cancelled.</summary>
    /// <remarks>One wait at a time; the continuation runs on a pool thread. Allocates nothing.</remarks>
    public ValueTask WaitAsync(CancellationToken cancellationToken = default)
    {
        if (cancellationToken.IsCancellationRequested) return ValueTask.FromCanceled(cancellationToken);
        if (Interlocked.CompareExchange(ref _state, Waiting, Idle) == WakePending)
        {
            Volatile.Write(ref _state, Idle);
            return default;
        }
        short version = _core.Version;
        if (!_cache.TryEnlist(this) && Interlocked.CompareExchange(ref _state, Idle, Waiting) == Waiting) return default;
        if (cancellationToken.CanBeCanceled)
        {
            _registration = cancellationToken.UnsafeRegister(static (state, token) => ((WatchCursor)state!).CancelWait(token), this);
        }
        return new ValueTask(this, version);
    }

    /// <summary>Ends a wait from any thread (a bookmark is due, the client has gone). Without a wait, the next one ends at once.</summary>
    public void Wake()
    {
        while (true)
        {
            switch (Interlocked.CompareExchange(ref _state, Idle, Waiting))
            {
                case Waiting:
                    ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
                    return;
                case WakePending:
                    return;
                default:
                    if (Interlocked.CompareExchange(ref _state, WakePending, Idle) == Idle) return;
                    break;
            }
        }
    }

    /// <summary>Leaves the ring. Not during a wait.</summary>
    public void Dispose()
    {
        _cache.Delist(this);
        LeaveRing();
    }

    /// <summary>Keeps nothing of the ring.</summary>
    internal void LeaveRing()
    {
        ReturnEvents();
        _segment = null;
    }

    /// <summary>Stands at a place that it does not hold; null = nowhere any more.</summary>
    internal void GoTo(RingSegment? segment, int index) => (_segment, _index) = (segment, index);

    /// <summary>True if a read would find something (or that its place is gone).</summary>
    internal bool HasMore => _segment is not { } segment || _index < segment.Published || segment.Next is not null || segment.Evicted;

    /// <summary>Events arrived: ends the wait, if there is one.</summary>
    internal void Signal()
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Waiting) == Waiting) ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: true);
    }

    void IThreadPoolWorkItem.Execute()
    {
        if (_waitError is { } error) _core.SetException(error);
        else _core.SetResult(true);
    }

    void IValueTaskSource.GetResult(short token)
    {
        try
        {
            _registration.Dispose();
            _registration = default;
            _core.GetResult(token);
        }
        finally
        {
            _waitError = null;
            _core.Reset();
        }
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _core.OnCompleted(continuation, state, token, flags);

    // A segment whose events are freed is still good for going on to the next one when it was read to its end.
    private RingSegment? HoldSegment()
    {
        if (_isHolding) return _segment;
        for (var segment = _segment; segment is not null; (segment, _index) = (segment.Next, 0))
        {
            _segment = segment;
            _isHolding = segment.TryRetain();
            if (_isHolding) return segment;
            if (_index < segment.Published) return null;
        }
        return null;
    }

    private int ReadSegment(RingSegment segment, Span<WatchEvent> destination)
    {
        int published = segment.Published;
        int copied = 0;
        while (_index < published && copied < destination.Length)
        {
            ref readonly var item = ref segment[_index++];
            // Events up to the starting revision are there when the start lies in the future.
            if (item.Revision <= _afterRevision) continue;
            if (_keyPrefix.Length > 0 && !item.Object.KeyUtf8.StartsWith(_keyPrefix)) continue;
            destination[copied++] = item;
        }
        return copied;
    }

    private void CancelWait(CancellationToken token)
    {
        if (Interlocked.CompareExchange(ref _state, Idle, Waiting) != Waiting) return;
        _waitError = new OperationCanceledException(token);
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }
}
