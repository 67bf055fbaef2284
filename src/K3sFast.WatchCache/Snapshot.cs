namespace K3sFast.WatchCache;

/// <summary>
/// A resource's objects at one revision, in key order, restricted to a prefix. Writes go on beside it. It lends its objects until it
/// is disposed. For an older revision it is the present state with the changes since then undone on the way; for one that the ring has
/// forgotten it is fetched from the datastore piece by piece, and lends the objects of one piece at a time.
/// </summary>
public sealed class Snapshot : IDisposable
{
    private readonly byte[] _prefix;
    private readonly StoredHistory? _history;

    // Keys that changed after the revision, in order, with what they held at it (null = nothing). Retained.
    private readonly KeyValuePair<StoredObject, StoredObject?>[] _undo;
    private TableRoot? _root;

    // Of the piece at hand: from where it reaches, and where the next one begins (null = nowhere).
    private byte[] _from = [];
    private byte[]? _next;

    internal Snapshot(TableRoot root, byte[] prefix, long revision, KeyValuePair<StoredObject, StoredObject?>[] undo)
    {
        _root = root;
        _prefix = prefix;
        _undo = undo;
        Revision = revision;
    }

    internal Snapshot(StoredHistory history, byte[] prefix, long revision, HistoryPiece first)
        : this(first.Root, prefix, revision, [])
    {
        _history = history;
        (_from, _next) = (first.From, first.Next);
    }

    /// <summary>The revision whose state this is: a list's resourceVersion, from which a watch misses and repeats nothing.</summary>
    public long Revision { get; }

    /// <summary>Walks from a key (inclusive; empty = from the start), in key order, also where objects have to be fetched on the way.</summary>
    public SnapshotReader ReadFrom(byte[] startKey) => new(this, Start(startKey).ToArray());

    /// <summary>Objects from <paramref name="startKey"/> (inclusive; empty = all) to the end of the prefix. O(chunks), or O(objects) in the datastore.</summary>
    public ValueTask<int> CountFromAsync(ReadOnlySpan<byte> startKey, CancellationToken cancellationToken) =>
        _history is null ? new ValueTask<int>(CountFrom(startKey)) : _history.CountFromAsync(Start(startKey).ToArray(), cancellationToken);

    /// <summary>Objects at hand from <paramref name="startKey"/> (inclusive; empty = all) to the end of the prefix. O(chunks).</summary>
    internal int CountFrom(ReadOnlySpan<byte> startKey = default)
    {
        var root = Root;
        var start = Start(startKey);
        int count = root.Rank(root.LowerBound(PrefixEnd())) - root.Rank(root.LowerBound(start));
        foreach (var (changed, before) in _undo)
        {
            if (changed.KeyUtf8.SequenceCompareTo(start) < 0) continue;
            if (root.Find(changed.KeyUtf8) is not null) count--;
            if (before is not null) count++;
        }
        return Math.Max(0, count);
    }

    /// <summary>
    /// Enumerates from a key (inclusive; empty = from the start), in key order. To go on behind a key, start at it with a zero byte
    /// appended. Allocates nothing.
    /// </summary>
    public Enumerator From(ReadOnlySpan<byte> startKey) => new(this, Start(startKey));

    /// <summary>Enumerates everything.</summary>
    public Enumerator GetEnumerator() => From(default);

    /// <summary>Gives the objects back.</summary>
    public void Dispose()
    {
        var root = Interlocked.Exchange(ref _root, null);
        if (root is null) return;
        root.Release();
        foreach (var (changed, before) in _undo)
        {
            changed.Release();
            before?.Release();
        }
    }

    /// <summary>What is at hand begins at or before a key and reaches beyond it.</summary>
    internal bool Covers(ReadOnlySpan<byte> key) =>
        _history is null || (_from.AsSpan().SequenceCompareTo(key) <= 0 && (_next is null || key.SequenceCompareTo(_next) < 0));

    /// <summary>Where the next piece begins; null = what is at hand reaches to the end.</summary>
    internal byte[]? Next => _next;

    /// <summary>Puts the piece that begins at a key in the place of the one at hand.</summary>
    internal async ValueTask FetchAsync(byte[] startKey, CancellationToken cancellationToken)
    {
        var piece = await _history!.ReadAsync(startKey, cancellationToken).ConfigureAwait(false);
        var before = Interlocked.Exchange(ref _root, piece.Root);
        (_from, _next) = (piece.From, piece.Next);
        before?.Release();
    }

    private TableRoot Root => _root ?? throw new ObjectDisposedException(nameof(Snapshot));

    private ReadOnlySpan<byte> Start(ReadOnlySpan<byte> startKey) => startKey.SequenceCompareTo(_prefix) > 0 ? startKey : _prefix;

    private byte[] PrefixEnd()
    {
        // UTF-8 never has 0xff bytes, so the last byte can always be raised.
        byte[] end = [.. _prefix];
        end[^1]++;
        return end;
    }

    /// <summary>Walks the objects in key order. Not to be used after the snapshot is disposed.</summary>
    public struct Enumerator
    {
        private readonly Snapshot _snapshot;
        private readonly TableRoot _root;
        private int _chunk;
        private int _index;
        private int _undo;

        internal Enumerator(Snapshot snapshot, ReadOnlySpan<byte> start)
        {
            _snapshot = snapshot;
            _root = snapshot.Root;
            (_chunk, _index) = _root.LowerBound(start);
            while (_undo < snapshot._undo.Length && snapshot._undo[_undo].Key.KeyUtf8.SequenceCompareTo(start) < 0) _undo++;
            Current = null!;
        }

        /// <summary>The object the walk stands at, lent until the snapshot is disposed.</summary>
        public StoredObject Current { get; private set; }

        /// <summary>Steps on; false at the end.</summary>
        public bool MoveNext()
        {
            while (true)
            {
                var present = Present();
                if (_undo == _snapshot._undo.Length)
                {
                    if (present is null) return false;
                    return Show(present);
                }
                var (changed, before) = _snapshot._undo[_undo];
                int order = present is null ? 1 : present.KeyUtf8.SequenceCompareTo(changed.KeyUtf8);
                if (order < 0) return Show(present!);
                // The key changed since: what it held then takes the place of what it holds now.
                if (order == 0) _index++;
                _undo++;
                if (before is null) continue;
                Current = before;
                return true;
            }
        }

        /// <summary>For foreach over <see cref="From"/>.</summary>
        public readonly Enumerator GetEnumerator() => this;

        private bool Show(StoredObject present)
        {
            Current = present;
            _index++;
            return true;
        }

        /// <summary>The next object of the present state under the prefix, not yet taken.</summary>
        private StoredObject? Present()
        {
            while (_chunk < _root.ChunkCount)
            {
                var chunk = _root.Chunk(_chunk);
                if (_index < chunk.Count)
                {
                    var item = chunk[_index];
                    return item.KeyUtf8.StartsWith(_snapshot._prefix) ? item : null;
                }
                _chunk++;
                _index = 0;
            }
            return null;
        }
    }
}
