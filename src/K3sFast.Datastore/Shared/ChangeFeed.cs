namespace K3sFast.Datastore.Shared;

/// <summary>
/// What one process sees of a shared store: every change once, in revision order, handed to all live watches. One follower publishes;
/// a watch that catches up from the engine joins under the same lock, so nothing falls between history and live.
/// </summary>
internal sealed class ChangeFeed
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly List<FeedWatch> _live = [];
    private readonly PriorityQueue<TaskCompletionSource, long> _waiters = new();
    private Exception? _closed;

    // Written under _gate, read by anyone
    private long _position;
    private long _known;
    private long _compactRevision;

    public ChangeFeed(long position, long compactRevision)
    {
        _position = _known = position;
        _compactRevision = compactRevision;
    }

    /// <summary>Everything up to here is known, and is being shown to the watches or was: no revision up to here is still to come.</summary>
    public long Known => Volatile.Read(ref _known);

    /// <summary>Everything up to here was published.</summary>
    public long Position => Volatile.Read(ref _position);

    public long CompactRevision => Volatile.Read(ref _compactRevision);

    /// <summary>Somebody compacted; the revision never falls.</summary>
    public void NoteCompacted(long revision)
    {
        long seen = CompactRevision;
        while (revision > seen)
        {
            long before = Interlocked.CompareExchange(ref _compactRevision, revision, seen);
            if (before == seen) return;
            seen = before;
        }
    }

    /// <summary>Shows changes to all live watches: everything that happened after <see cref="Position"/> up to <paramref name="revision"/>.</summary>
    public void Publish(ReadOnlySpan<Change> changes, long revision) => Publish(null, changes, revision);

    /// <summary>Shows changes that follow directly on a revision, if that is the newest published; false = others lie between.</summary>
    public bool TryPublish(long afterRevision, ReadOnlySpan<Change> changes, long revision) => Publish(afterRevision, changes, revision);

    private bool Publish(long? afterRevision, ReadOnlySpan<Change> changes, long revision)
    {
        List<TaskCompletionSource>? reached = null;
        lock (_gate)
        {
            if (afterRevision is { } after && after != _position) return revision <= _position;
            if (revision <= _position) return true;
            Volatile.Write(ref _known, revision);
            for (int i = _live.Count - 1; i >= 0; i--)
            {
                if (!_live[i].TryShow(changes, revision)) _live.RemoveAt(i);
            }
            Volatile.Write(ref _position, revision);
            while (_waiters.TryPeek(out var waiter, out long wanted) && wanted <= revision)
            {
                _waiters.Dequeue();
                (reached ??= []).Add(waiter);
            }
        }
        if (reached is null) return true;
        foreach (var waiter in reached) waiter.TrySetResult();
        return true;
    }

    /// <summary>Completes when everything up to a revision was published.</summary>
    public ValueTask WaitForAsync(long revision, CancellationToken cancellationToken)
    {
        if (Position >= revision) return ValueTask.CompletedTask;
        TaskCompletionSource waiter;
        lock (_gate)
        {
            if (_position >= revision) return ValueTask.CompletedTask;
            if (_closed is { } closed) throw closed;
            waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiters.Enqueue(waiter, revision);
        }
        return new ValueTask(waiter.Task.WaitAsync(cancellationToken));
    }

    /// <summary>Makes a watch live if it has seen everything published; false = read on from the engine first.</summary>
    public bool TryJoin(FeedWatch watch)
    {
        lock (_gate)
        {
            if (_closed is { } closed) throw closed;
            if (watch.Position < _position) return false;
            _live.Add(watch);
            return true;
        }
    }

    public void Leave(FeedWatch watch)
    {
        lock (_gate) _live.Remove(watch);
    }

    /// <summary>What follows cannot be told without a gap: live watches end with the reason, and the feed goes on behind it.</summary>
    public void Restart(long position, Exception reason)
    {
        FeedWatch[] watches;
        lock (_gate)
        {
            watches = [.. _live];
            _live.Clear();
        }
        foreach (var watch in watches) watch.Fail(reason);
        Publish([], position);
    }

    /// <summary>Ends everything: the store is closing.</summary>
    public void Close(Exception reason)
    {
        FeedWatch[] watches;
        var waiting = new List<TaskCompletionSource>();
        lock (_gate)
        {
            _closed = reason;
            watches = [.. _live];
            _live.Clear();
            while (_waiters.TryDequeue(out var waiter, out _)) waiting.Add(waiter);
        }
        foreach (var waiter in waiting) waiter.TrySetException(reason);
        foreach (var watch in watches) watch.Fail(reason);
    }
}
