using System.Diagnostics;
using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>
/// A resource's objects in key order: an array of chunks of objects, both counted by reference. Whoever holds a root sees it unchanged
/// for ever; the writer changes in place what only the table holds, and copies what a snapshot holds too. So a snapshot is one
/// increment, and a write without a snapshot beside it copies nothing. The caller synchronizes (<see cref="WatchCache"/>'s lock).
/// </summary>
internal sealed class ObjectTable
{
    private TableRoot _root = new();

    public int Count => _root.Count;

    /// <summary>The present state, retained for the caller.</summary>
    public TableRoot TakeRoot()
    {
        _root.Retain();
        return _root;
    }

    public StoredObject? Find(ReadOnlySpan<byte> key) => _root.Find(key);

    /// <summary>Puts an object in, taking the caller's reference over. Returns the one it replaces, with the table's reference, or null.</summary>
    public StoredObject? Set(StoredObject item)
    {
        OwnRoot();
        return _root.SetUnsynchronized(item);
    }

    /// <summary>Puts an object behind all others, where the caller knows that its key belongs, taking the caller's reference over. Looks at no key.</summary>
    public void Append(StoredObject item)
    {
        OwnRoot();
        _root.AppendUnsynchronized(item);
    }

    /// <summary>Takes an object out and hands the table's reference to the caller; null = there is none.</summary>
    public StoredObject? Remove(ReadOnlySpan<byte> key)
    {
        if (_root.Find(key) is null) return null;
        OwnRoot();
        return _root.RemoveUnsynchronized(key);
    }

    /// <summary>Lets go of everything.</summary>
    public void Clear()
    {
        _root.Release();
        _root = new TableRoot();
    }

    private void OwnRoot()
    {
        if (_root.IsShared)
        {
            var copy = _root.Copy();
            _root.Release();
            _root = copy;
        }
    }
}

/// <summary>One state of a table. Immutable for everybody but the table that alone holds it.</summary>
internal sealed class TableRoot
{
    private TableChunk[] _chunks = [];
    private int _chunkCount;
    private int _references = 1;

    public int Count { get; private set; }

    public int ChunkCount => _chunkCount;

    public bool IsShared => Volatile.Read(ref _references) > 1;

    public TableChunk Chunk(int index) => _chunks[index];

    public void Retain() => Interlocked.Increment(ref _references);

    public void Release()
    {
        int references = Interlocked.Decrement(ref _references);
        Invariant.Verify(references >= 0, $"a snapshot was released more often than taken");
        if (references != 0) return;
        for (int i = 0; i < _chunkCount; i++) _chunks[i].Release();
        _chunks = [];
        _chunkCount = 0;
    }

    public TableRoot Copy()
    {
        var copy = new TableRoot { _chunks = (TableChunk[])_chunks.Clone(), _chunkCount = _chunkCount, Count = Count };
        for (int i = 0; i < _chunkCount; i++) _chunks[i].Retain();
        return copy;
    }

    public StoredObject? Find(ReadOnlySpan<byte> key)
    {
        int chunk = ChunkOf(key);
        if (chunk < 0) return null;
        int index = _chunks[chunk].IndexOf(key);
        return index >= 0 ? _chunks[chunk][index] : null;
    }

    /// <summary>Place of the first object whose key is not before <paramref name="key"/>.</summary>
    public (int Chunk, int Index) LowerBound(ReadOnlySpan<byte> key)
    {
        int chunk = ChunkOf(key);
        if (chunk < 0) return (0, 0);
        int index = _chunks[chunk].IndexOf(key);
        if (index < 0) index = ~index;
        return index < _chunks[chunk].Count ? (chunk, index) : (chunk + 1, 0);
    }

    /// <summary>Objects before a place.</summary>
    public int Rank((int Chunk, int Index) place)
    {
        int rank = place.Index;
        for (int i = 0; i < place.Chunk; i++) rank += _chunks[i].Count;
        return rank;
    }

    public StoredObject? SetUnsynchronized(StoredObject item)
    {
        var key = item.KeyUtf8;
        int at = ChunkOf(key);
        if (at < 0)
        {
            if (_chunkCount == 0) InsertChunk(0, new TableChunk());
            at = 0;
        }
        var chunk = OwnChunk(at);
        int index = chunk.IndexOf(key);
        if (index >= 0) return chunk.Replace(index, item);
        Count++;
        if (chunk.IsFull)
        {
            // Keys that arrive in order (a load) fill chunks whole; others split them in half.
            bool isAppend = at == _chunkCount - 1 && ~index == chunk.Count;
            var upper = isAppend ? new TableChunk() : chunk.Split();
            InsertChunk(at + 1, upper);
            if (isAppend || upper[0].KeyUtf8.SequenceCompareTo(key) <= 0) chunk = upper;
            index = chunk.IndexOf(key);
        }
        chunk.Insert(~index, item);
        return null;
    }

    public void AppendUnsynchronized(StoredObject item)
    {
        if (_chunkCount == 0 || _chunks[_chunkCount - 1].IsFull) InsertChunk(_chunkCount, new TableChunk());
        var chunk = OwnChunk(_chunkCount - 1);
        Debug.Assert(chunk.Count == 0 || chunk.Last.KeyUtf8.SequenceCompareTo(item.KeyUtf8) < 0, "objects were loaded out of order");
        chunk.Insert(chunk.Count, item);
        Count++;
    }

    public StoredObject RemoveUnsynchronized(ReadOnlySpan<byte> key)
    {
        int at = ChunkOf(key);
        var chunk = OwnChunk(at);
        var removed = chunk.RemoveAt(chunk.IndexOf(key));
        Count--;
        if (chunk.Count == 0) RemoveChunk(at);
        return removed;
    }

    /// <summary>The chunk that holds a key if anyone does: the last whose first key is not behind it; -1 = before all.</summary>
    private int ChunkOf(ReadOnlySpan<byte> key)
    {
        int low = 0;
        int high = _chunkCount - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (_chunks[middle][0].KeyUtf8.SequenceCompareTo(key) <= 0) low = middle + 1;
            else high = middle - 1;
        }
        return high;
    }

    private TableChunk OwnChunk(int at)
    {
        var chunk = _chunks[at];
        if (!chunk.IsShared) return chunk;
        var copy = chunk.Copy();
        chunk.Release();
        return _chunks[at] = copy;
    }

    private void InsertChunk(int at, TableChunk chunk)
    {
        if (_chunkCount == _chunks.Length) Array.Resize(ref _chunks, Math.Max(4, _chunkCount * 2));
        Array.Copy(_chunks, at, _chunks, at + 1, _chunkCount - at);
        _chunks[at] = chunk;
        _chunkCount++;
    }

    private void RemoveChunk(int at)
    {
        _chunks[at].Release();
        _chunkCount--;
        Array.Copy(_chunks, at + 1, _chunks, at, _chunkCount - at);
        _chunks[_chunkCount] = null!;
    }
}

/// <summary>A sorted run of objects. Immutable for everybody but the root that alone holds it.</summary>
internal sealed class TableChunk
{
    // 1 KiB of references when full: a copy beside a snapshot costs about a microsecond.
    private const int Capacity = 128;

    private StoredObject[] _items = new StoredObject[8];
    private int _references = 1;

    public int Count { get; private set; }

    public bool IsFull => Count == Capacity;

    public bool IsShared => Volatile.Read(ref _references) > 1;

    public StoredObject this[int index] => _items[index];

    public void Retain() => Interlocked.Increment(ref _references);

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) != 0) return;
        for (int i = 0; i < Count; i++) _items[i].Release();
        Count = 0;
        _items = [];
    }

    public TableChunk Copy()
    {
        var copy = new TableChunk { _items = new StoredObject[_items.Length], Count = Count };
        for (int i = 0; i < Count; i++)
        {
            _items[i].Retain();
            copy._items[i] = _items[i];
        }
        return copy;
    }

    public StoredObject Last => _items[Count - 1];

    /// <summary>The place of a key, or the complement of where it belongs.</summary>
    public int IndexOf(ReadOnlySpan<byte> key)
    {
        if (Count > 0 && Last.KeyUtf8.SequenceCompareTo(key) < 0) return ~Count;
        int low = 0;
        int high = Count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            int order = _items[middle].KeyUtf8.SequenceCompareTo(key);
            if (order == 0) return middle;
            if (order < 0) low = middle + 1;
            else high = middle - 1;
        }
        return ~low;
    }

    public StoredObject Replace(int index, StoredObject item)
    {
        var replaced = _items[index];
        _items[index] = item;
        return replaced;
    }

    public void Insert(int index, StoredObject item)
    {
        if (Count == _items.Length) Array.Resize(ref _items, Math.Min(Capacity, Count * 2));
        Array.Copy(_items, index, _items, index + 1, Count - index);
        _items[index] = item;
        Count++;
    }

    public StoredObject RemoveAt(int index)
    {
        var removed = _items[index];
        Count--;
        Array.Copy(_items, index + 1, _items, index, Count - index);
        _items[Count] = null!;
        return removed;
    }

    /// <summary>Moves the upper half to a new chunk.</summary>
    public TableChunk Split()
    {
        int half = Count / 2;
        var upper = new TableChunk { _items = new StoredObject[Capacity], Count = Count - half };
        Array.Copy(_items, half, upper._items, 0, upper.Count);
        Array.Clear(_items, half, upper.Count);
        Count = half;
        return upper;
    }
}
