using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>
/// The waiting cursors of one cache. The committing thread pays one lock and at most one queued work item per batch, however many wait; a pool
/// thread then hands each cursor to the pool. Cursors with an index key are parked under it: events of other keys neither wake nor touch them.
/// </summary>
/// <param name="keys">Reads the keys of events.</param>
/// <param name="cacheGate">The cache's lock, under which its history changes; taken before this class' own.</param>
internal sealed class Waker(KeyReader keys, Lock cacheGate) : IThreadPoolWorkItem
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private List<WatchCursor> _waiting = [];
    private long _round;

    // Guarded by _gate: the first cursor of each key's chain, and how many are parked under keys of each kind.
    private readonly Dictionary<IndexKey, WatchCursor> _parked = [];
    private readonly int[] _parkedOfKind = new int[IndexKey.Kinds];
    private int _parkedCount;

    // Guarded by _drainGate
    private readonly Lock _drainGate = new();
    private List<WatchCursor> _woken = [];

    private int _isQueued;

    /// <summary>Cursors that wait under a key.</summary>
    public int ParkedCount => Volatile.Read(ref _parkedCount);

    /// <summary>Adds a cursor unless it has something to read: all of an event's publishing comes before or after this, and <see cref="Wake"/> takes the lock later.</summary>
    public bool TryEnlist(WatchCursor cursor)
    {
        lock (_gate)
        {
            if (cursor.Parking != CursorParking.None) return cursor.Parking == CursorParking.Parked;
            if (cursor.HasMore) return false;
            if (cursor.Key.IsNone) ListLocked(cursor);
            else ParkLocked(cursor);
            return true;
        }
    }

    /// <summary>
    /// Publishes an event: appends it to the ring, and cursors that are parked under one of its keys go there. In one step, since a cursor that read it in
    /// between, and parked, would be put back before it. The writer only.
    /// </summary>
    public void Publish(EventRing ring, in WatchEvent item)
    {
        lock (_gate)
        {
            var (segment, index) = ring.Append(item);
            if (_parkedCount == 0) return;
            for (int kind = 1; kind < IndexKey.Kinds; kind++)
            {
                if (_parkedOfKind[kind] == 0) continue;
                PostLocked(keys.Read(item.Object, kind), segment, index);
                if (item.Previous is { } previous && kind >= IndexKey.FirstIndexKind) PostLocked(keys.Read(previous, kind), segment, index);
            }
        }
    }

    /// <summary>
    /// Takes a cursor from under its key. True = nothing that concerns it happened, so its place is the end of the ring, where the caller (who
    /// holds the cache's lock) puts it.
    /// </summary>
    public bool Unpark(WatchCursor cursor)
    {
        lock (_gate)
        {
            bool isParked = cursor.Parking == CursorParking.Parked;
            if (isParked) UnparkLocked(cursor);
            cursor.Parking = CursorParking.None;
            return isParked;
        }
    }

    public void Delist(WatchCursor cursor)
    {
        lock (_gate)
        {
            if (cursor.Parking == CursorParking.Parked) UnparkLocked(cursor);
            cursor.Parking = CursorParking.None;
            if (cursor.ListedInRound != _round) return;
            var last = _waiting[^1];
            _waiting[cursor.ListIndex] = last;
            last.ListIndex = cursor.ListIndex;
            _waiting.RemoveAt(_waiting.Count - 1);
            cursor.ListedInRound = -1;
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

    /// <summary>
    /// The cache's history begins anew: whoever is parked finds its place gone. In one step with that, under the cache's lock: who opens a cursor behind it
    /// has missed nothing, and who comes back from under its key in between would miss everything.
    /// </summary>
    public void PostAll()
    {
        Invariant.Verify(cacheGate.IsHeldByCurrentThread, $"history was dropped and its watchers told of it in two steps");
        lock (_gate)
        {
            foreach (var first in _parked.Values) PostChainLocked(first, null, 0);
            _parked.Clear();
        }
        Wake();
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

    private void ListLocked(WatchCursor cursor)
    {
        if (cursor.ListedInRound == _round) return;
        cursor.ListedInRound = _round;
        cursor.ListIndex = _waiting.Count;
        _waiting.Add(cursor);
    }

    private void ParkLocked(WatchCursor cursor)
    {
        if (_parked.TryGetValue(cursor.Key, out var first))
        {
            cursor.NextParked = first;
            first.PreviousParked = cursor;
        }
        _parked[cursor.Key] = cursor;
        _parkedOfKind[cursor.Key.Kind]++;
        _parkedCount++;
        cursor.Parking = CursorParking.Parked;
        cursor.LeaveRing();
    }

    private void UnparkLocked(WatchCursor cursor)
    {
        if (cursor.PreviousParked is { } previous) previous.NextParked = cursor.NextParked;
        else if (cursor.NextParked is { } next) _parked[cursor.Key] = next;
        else _parked.Remove(cursor.Key);
        if (cursor.NextParked is { } following) following.PreviousParked = cursor.PreviousParked;
        cursor.NextParked = cursor.PreviousParked = null;
        _parkedOfKind[cursor.Key.Kind]--;
        _parkedCount--;
    }

    private void PostLocked(IndexKey key, RingSegment? segment, int index)
    {
        if (!key.IsNone && _parked.Remove(key, out var first)) PostChainLocked(first, segment, index);
    }

    private void PostChainLocked(WatchCursor first, RingSegment? segment, int index)
    {
        for (WatchCursor? cursor = first, next; cursor is not null; cursor = next)
        {
            next = cursor.NextParked;
            cursor.NextParked = cursor.PreviousParked = null;
            _parkedOfKind[cursor.Key.Kind]--;
            _parkedCount--;
            cursor.Parking = CursorParking.Posted;
            cursor.GoTo(segment, index);
            ListLocked(cursor);
        }
    }
}

/// <summary>Where a cursor with an index key stands while it waits.</summary>
internal enum CursorParking : byte
{
    /// <summary>In the ring, as others.</summary>
    None,

    /// <summary>Nowhere in the ring: it is told where to go on when an event of its key comes.</summary>
    Parked,

    /// <summary>Put at the first event of its key, and about to be woken.</summary>
    Posted,
}
