using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>
/// A resource's recent events: a chain of segments, appended at the tail and dropped at the head, by one writer (who holds the cache's
/// lock). Readers hold the segment that they stand in and walk without a lock; a segment's events live until its last holder leaves.
/// </summary>
internal sealed class EventRing(CacherOptions options, RingBudget budget)
{
    // Segments start small, since most resources of a small cluster hardly ever change.
    private const int FirstSegmentEvents = 16;
    private const int MaxSegmentEvents = 256;

    private RingSegment? _head;
    private RingSegment? _tail;

    /// <summary>Everything after this revision is in the ring.</summary>
    public long BaseRevision { get; set; }

    public int Count { get; private set; }

    /// <summary>Bytes of objects that only the ring keeps alive.</summary>
    public long Bytes { get; private set; }

    /// <summary>Appends an event, taking over one reference to each of its objects. Returns where it is, not retained.</summary>
    public (RingSegment Segment, int Index) Append(in WatchEvent item)
    {
        var tail = Tail();
        if (tail.IsFull)
        {
            // The chain grows until a bound is reached; segments grow with it.
            var next = new RingSegment(Math.Min(MaxSegmentEvents, tail.Capacity * 4));
            tail.Next = next;
            _tail = tail = next;
            Evict();
        }
        Count++;
        int bytes = tail.Append(item, options.TimeProvider.GetTimestamp());
        Bytes += bytes;
        budget.Add(bytes);
        return (tail, tail.Published - 1);
    }

    /// <summary>Behind the newest event, not retained.</summary>
    public (RingSegment Segment, int Index) End()
    {
        var tail = Tail();
        return (tail, tail.Published);
    }

    /// <summary>
    /// The segment of the first event after a revision, retained for the caller, and the event's place in it (the tail's end when
    /// there is none). Null = that event has left the ring.
    /// </summary>
    public RingSegment? Seek(long afterRevision, out int index)
    {
        index = 0;
        if (afterRevision < BaseRevision) return null;
        var segment = _head ?? Tail();
        while (segment.LastRevision <= afterRevision && segment.Next is { } next) segment = next;
        index = segment.FirstAfter(afterRevision);
        segment.TryRetain();
        return segment;
    }

    /// <summary>The event of a revision, if it is still there.</summary>
    public bool TryFind(long revision, out WatchEvent found)
    {
        found = default;
        if (revision <= BaseRevision) return false;
        // Nearly always the newest: the caller has just written it.
        for (var segment = _tail is { Published: > 0 } tail && tail.FirstRevision <= revision ? tail : _head; segment is not null; segment = segment.Next)
        {
            if (segment.LastRevision < revision) continue;
            int index = segment.FirstAfter(revision - 1);
            if (index >= segment.Published) return false;
            found = segment[index];
            return found.Revision == revision;
        }
        return false;
    }

    /// <summary>Drops everything; whoever reads finds its place gone.</summary>
    public void Clear(long baseRevision)
    {
        while (_head is not null) DropHead();
        _tail = null;
        BaseRevision = baseRevision;
    }

    private RingSegment Tail() => _tail ??= _head = new RingSegment(FirstSegmentEvents);

    /// <summary>Drops what the bounds do not want; at an append, and now and then for rings that nothing is appended to.</summary>
    public void Evict()
    {
        while (_head is { } head && head != _tail)
        {
            bool isOver = Count > options.MaxRingEvents || Bytes > options.MaxRingBytes
                || (budget.Bytes > options.MaxTotalRingBytes && Bytes > options.MinRingBytes);
            bool isOld = Count - head.Capacity >= options.MinRingEvents
                && options.TimeProvider.GetElapsedTime(head.LastAppendAt) > options.RingAge;
            if (!isOver && !isOld) return;
            DropHead();
        }
    }

    private void DropHead()
    {
        var head = _head!;
        BaseRevision = Math.Max(BaseRevision, head.LastRevision);
        Count -= head.Published;
        Bytes -= head.Bytes;
        budget.Add(-head.Bytes);
        _head = head.Next;
        head.Evicted = true;
        head.Release();
    }
}

/// <summary>The bytes that all rings together keep alive.</summary>
internal sealed class RingBudget
{
    private long _bytes;

    public long Bytes => Interlocked.Read(ref _bytes);

    public void Add(long bytes) => Interlocked.Add(ref _bytes, bytes);
}

/// <summary>A run of events. One writer appends; readers that retained it read the published ones at any time.</summary>
internal sealed class RingSegment(int capacity)
{
    private WatchEvent[] _events = new WatchEvent[capacity];
    private int _published;
    private int _references = 1;
    private RingSegment? _next;

    public int Capacity => capacity;

    /// <summary>Events that readers may see.</summary>
    public int Published => Volatile.Read(ref _published);

    public bool IsFull => _published == capacity;

    public long FirstRevision => _published > 0 ? _events[0].Revision : 0;

    public long LastRevision { get; private set; }

    public long LastAppendAt { get; private set; }

    /// <summary>Bytes of the objects that live only for these events.</summary>
    public long Bytes { get; private set; }

    /// <summary>The ring has let go of it.</summary>
    public bool Evicted { get; set; }

    public RingSegment? Next
    {
        get => Volatile.Read(ref _next);
        set => Volatile.Write(ref _next, value);
    }

    public ref readonly WatchEvent this[int index] => ref _events[index];

    /// <summary>Publishes an event; returns the bytes that it keeps alive.</summary>
    public int Append(in WatchEvent item, long now)
    {
        int bytes = (item.Previous?.SizeBytes ?? 0) + (item.Type == WatchEventType.Deleted ? item.Object.SizeBytes : 0);
        _events[_published] = item;
        LastRevision = item.Revision;
        LastAppendAt = now;
        Bytes += bytes;
        Volatile.Write(ref _published, _published + 1);
        return bytes;
    }

    /// <summary>Index of the first event after a revision; <see cref="Published"/> when there is none.</summary>
    public int FirstAfter(long revision)
    {
        int low = 0;
        int high = Published - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (_events[middle].Revision <= revision) low = middle + 1;
            else high = middle - 1;
        }
        return low;
    }

    /// <summary>Holds the segment; false = its events are already freed.</summary>
    public bool TryRetain()
    {
        int references = Volatile.Read(ref _references);
        while (references > 0)
        {
            int seen = Interlocked.CompareExchange(ref _references, references + 1, references);
            if (seen == references) return true;
            references = seen;
        }
        return false;
    }

    public void Release()
    {
        int references = Interlocked.Decrement(ref _references);
        Invariant.Verify(references >= 0, $"a ring segment was released more often than retained");
        if (references != 0) return;
        for (int i = 0; i < _published; i++)
        {
            _events[i].Object.Release();
            _events[i].Previous?.Release();
        }
        // A cursor that is not read may point here for long: to a few bytes then.
        _events = [];
    }
}
