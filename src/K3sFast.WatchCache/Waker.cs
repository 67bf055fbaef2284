namespace K3sFast.WatchCache;

/// <summary>
/// The waiting cursors of one cache. The committing thread pays one lock and at most one queued work item per batch, however many
/// wait; a pool thread then hands each cursor to the pool.
/// </summary>
internal sealed class Waker : IThreadPoolWorkItem
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private List<WatchCursor> _waiting = [];
    private long _round;

    // Guarded by _drainGate
    private readonly Lock _drainGate = new();
    private List<WatchCursor> _woken = [];

    private int _isQueued;

    /// <summary>Adds a cursor unless it has something to read: events are published before <see cref="Wake"/> takes the lock.</summary>
    public bool TryEnlist(WatchCursor cursor)
    {
        lock (_gate)
        {
            if (cursor.HasMore) return false;
            if (cursor.ListedInRound != _round)
            {
                cursor.ListedInRound = _round;
                _waiting.Add(cursor);
            }
            return true;
        }
    }

    public void Delist(WatchCursor cursor)
    {
        lock (_gate)
        {
            if (cursor.ListedInRound == _round) _waiting.Remove(cursor);
        }
    }

    public void Wake()
    {
        lock (_gate)
        {
            if (_waiting.Count == 0) return;
        }
        if (Interlocked.Exchange(ref _isQueued, 1) == 0) ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: false);
    }

    void IThreadPoolWorkItem.Execute()
    {
        // One drain at a time: the lists are swapped, not made anew.
        lock (_drainGate)
        {
            Volatile.Write(ref _isQueued, 0);
            Drain();
        }
    }

    private void Drain()
    {
        List<WatchCursor> woken;
        lock (_gate)
        {
            woken = _waiting;
            _waiting = _woken;
            _woken = woken;
            _round++;
        }
        foreach (var cursor in woken) cursor.Signal();
        woken.Clear();
    }
}
