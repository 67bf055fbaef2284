using System.Text;
using K3sFast.Datastore;
using K3sFast.WatchCache.Json;

namespace K3sFast.WatchCache;

/// <summary>
/// One resource's objects at now and its ring of recent events. The <see cref="Cacher"/> writes, in revision order; anybody reads.
/// </summary>
public sealed class WatchCache
{
    private readonly Cacher _owner;
    private readonly FieldPaths _paths;
    private readonly KeyReader _keys;
    private readonly Waker _waker;
    private readonly byte[] _prefix;
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly ObjectTable _table = new();
    private readonly IndexTable? _indexed;
    private readonly EventRing _ring;
    private long _lastRevision;
    private long _applied;

    internal WatchCache(Cacher owner, string keyPrefix, IReadOnlyList<string> selectableFields, ResourceIndexes indexes, CacherOptions options, RingBudget budget)
    {
        _owner = owner;
        KeyPrefix = keyPrefix;
        _prefix = Encoding.UTF8.GetBytes(keyPrefix);
        _paths = new FieldPaths(selectableFields);
        _ring = new EventRing(options, budget);
        _keys = new KeyReader(_prefix, selectableFields, indexes);
        _waker = new Waker(_keys, _gate);
        if (_keys.IndexCount > 0) _indexed = new IndexTable(_keys);
    }

    /// <summary>What all keys start with: <c>/registry/pods/</c>.</summary>
    public string KeyPrefix { get; }

    internal ReadOnlySpan<byte> KeyPrefixUtf8 => _prefix;

    /// <summary>The selectable fields, in the order of <see cref="StoredObject.Field"/>.</summary>
    public IReadOnlyList<string> SelectableFields => _paths.Paths;

    /// <summary>How many objects there are.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _table.Count;
        }
    }

    /// <summary>How many changes were applied since the start.</summary>
    public long AppliedEvents
    {
        get
        {
            lock (_gate) return _applied;
        }
    }

    /// <summary>The oldest revision that a cursor can start after and a list can show.</summary>
    public long OldestRevision
    {
        get
        {
            lock (_gate) return _ring.BaseRevision;
        }
    }

    /// <summary>Watchers that wait for events of their key alone.</summary>
    public int ParkedCursors => _waker.ParkedCount;

    /// <summary>The newest revision that every cache shows.</summary>
    internal long GlobalRevision => _owner.CurrentRevision;

    /// <summary>The object of a key, or null. It is retained for the caller, who disposes it.</summary>
    /// <remarks>O(log n), allocates nothing.</remarks>
    public StoredObject? Get(ReadOnlySpan<byte> key)
    {
        lock (_gate)
        {
            var found = _table.Find(key);
            found?.Retain();
            return found;
        }
    }

    /// <summary>The object of a key, or null. It is retained for the caller, who disposes it.</summary>
    public StoredObject? Get(string key)
    {
        int maxBytes = Encoding.UTF8.GetMaxByteCount(key.Length);
        Span<byte> buffer = maxBytes <= 512 ? stackalloc byte[512] : new byte[maxBytes];
        return Get(buffer[..Encoding.UTF8.GetBytes(key, buffer)]);
    }

    /// <summary>The objects under a prefix (default: all; one namespace: <c>/registry/pods/default/</c>) now. O(1).</summary>
    public Snapshot List(ReadOnlySpan<byte> keyPrefix = default)
    {
        byte[] prefix = PrefixOrOwn(keyPrefix);
        lock (_gate) return new Snapshot(_table.TakeRoot(), prefix, Math.Max(GlobalRevision, _lastRevision), []);
    }

    /// <summary>The key of a selectable field's value; none when the resource is not looked up by it.</summary>
    public IndexKey KeyOfField(string path, ReadOnlySpan<byte> value) => _keys.OfField(path, value);

    /// <summary>The key of a label's value; none when the resource is not looked up by it.</summary>
    public IndexKey KeyOfLabel(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value) => _keys.OfLabel(name, value);

    /// <summary>The key of one object, by its whole datastore key.</summary>
    public static IndexKey KeyOfObject(ReadOnlySpan<byte> key) => IndexKey.Of(IndexKey.ObjectKind, key);

    /// <summary>
    /// The objects under a prefix that have an indexed value now, and possibly a few others: the caller compares. O(1), whatever the number of objects.
    /// </summary>
    public Snapshot List(ReadOnlySpan<byte> keyPrefix, IndexKey key)
    {
        if (key.Kind < IndexKey.FirstIndexKind || _indexed is null) return List(keyPrefix);
        byte[] prefix = PrefixOrOwn(keyPrefix);
        lock (_gate) return new Snapshot(_indexed.TakeRoot(key), prefix, Math.Max(GlobalRevision, _lastRevision), []);
    }

    /// <summary>
    /// The objects under a prefix at an older revision, by walking the ring back: O(events since). False = the revision left the ring
    /// (answer 410 Expired), or has not happened yet.
    /// </summary>
    public bool TryListAt(long revision, ReadOnlySpan<byte> keyPrefix, out Snapshot? snapshot)
    {
        snapshot = null;
        byte[] prefix = PrefixOrOwn(keyPrefix);
        lock (_gate)
        {
            if (revision > Math.Max(GlobalRevision, _lastRevision)) return false;
            var undo = new Dictionary<StoredObject, StoredObject?>(KeyComparer.Instance);
            var segment = _ring.Seek(revision, out int index);
            if (segment is null) return false;
            for (var at = segment; at is not null; at = at.Next, index = 0)
            {
                for (; index < at.Published; index++)
                {
                    ref readonly var item = ref at[index];
                    // The first event after the revision tells the state at the revision.
                    if (!item.Object.KeyUtf8.StartsWith(prefix) || !undo.TryAdd(item.Object, item.Previous)) continue;
                    item.Object.Retain();
                    item.Previous?.Retain();
                }
            }
            segment.Release();
            var changes = undo.ToArray();
            Array.Sort(changes, static (left, right) => left.Key.KeyUtf8.SequenceCompareTo(right.Key.KeyUtf8));
            snapshot = new Snapshot(_table.TakeRoot(), prefix, revision, changes);
            return true;
        }
    }

    /// <summary>A cursor that reads what happens after a revision, under a prefix (default: everything).</summary>
    /// <param name="afterRevision">The last revision that is known already. Where it has left the ring, the first read answers -1.</param>
    /// <param name="keyPrefix">What the keys of events must start with.</param>
    /// <param name="key">
    /// Only events of objects that have (or had) this key need be shown: others do not wake the cursor, but may be among what it reads.
    /// </param>
    public WatchCursor OpenCursor(long afterRevision, ReadOnlySpan<byte> keyPrefix = default, IndexKey key = default)
    {
        byte[] prefix = keyPrefix.Length > _prefix.Length ? keyPrefix.ToArray() : [];
        if (key.IsNone) key = _keys.OfPrefix(prefix);
        lock (_gate)
        {
            var segment = _ring.Seek(afterRevision, out int index);
            return new WatchCursor(this, segment, index, afterRevision, prefix, key);
        }
    }

    /// <summary>A cursor that reads what happens from now on: after everything that this cache shows, also where others do not show it yet.</summary>
    /// <remarks>Parameters as of <see cref="OpenCursor"/>.</remarks>
    public WatchCursor OpenCursorAtEnd(ReadOnlySpan<byte> keyPrefix = default, IndexKey key = default)
    {
        // Held throughout: a history that began anew in between would not hold what was now before.
        lock (_gate) return OpenCursor(Math.Max(GlobalRevision, _lastRevision), keyPrefix, key);
    }

    /// <summary>An object as the datastore shows it, with one reference, the caller's.</summary>
    internal StoredObject Read(in DatastoreEntry entry, ReadOnlySpan<byte> key, ReadOnlySpan<byte> json) => StoredObjectWriter.Create(
        key, json, entry.Revision, entry.CreateRevision, entry.Kind == AppendKind.Create ? WatchEventType.Added : WatchEventType.Modified, _paths);

    /// <summary>Takes loaded objects over, with their references, in key order and into an empty cache: no events.</summary>
    internal void Load(List<StoredObject> items)
    {
        lock (_gate)
        {
            foreach (var item in items)
            {
                _table.Append(item);
                _indexed?.Replace(null, item);
            }
        }
    }

    /// <summary>Loading is done: history begins here.</summary>
    internal void BeginAt(long revision)
    {
        lock (_gate)
        {
            _ring.BaseRevision = revision;
            _lastRevision = revision;
        }
    }

    /// <summary>Applies one commit. The applying thread only.</summary>
    internal void Apply(in DatastoreEntry entry, ReadOnlySpan<byte> key, ReadOnlySpan<byte> json)
    {
        // Keys whose lease ends together go at one revision.
        Invariant.Verify(entry.Revision >= _lastRevision, $"commit {entry.Revision} applied after {_lastRevision} in {KeyPrefix}");
        if (entry.Kind == AppendKind.Delete) ApplyDelete(entry, key);
        else ApplyWrite(entry, key, json);
    }

    /// <summary>The object of a commit that the caller has just made, retained; null = it has left the ring meanwhile.</summary>
    internal StoredObject? TakeWritten(long revision)
    {
        lock (_gate)
        {
            if (!_ring.TryFind(revision, out var found)) return null;
            found.Object.Retain();
            return found.Object;
        }
    }

    /// <summary>An object as a commit would have stored it, for a caller whose commit has already left the ring.</summary>
    internal StoredObject Rebuild(ReadOnlySpan<byte> key, ReadOnlySpan<byte> json, long revision, long createRevision, WatchEventType type) =>
        StoredObjectWriter.Create(key, json, revision, createRevision, type, _paths);

    /// <summary>Drops everything; open cursors find their place gone.</summary>
    internal void Clear(long revision)
    {
        lock (_gate)
        {
            _table.Clear();
            _indexed?.Clear();
            _ring.Clear(revision);
            _waker.PostAll();
        }
    }

    /// <summary>Puts another state in the place of the present one, taking over a reference to each object, in key order; open cursors find their place gone.</summary>
    internal void Replace(List<StoredObject> objects, long revision)
    {
        lock (_gate)
        {
            _table.Clear();
            _indexed?.Clear();
            foreach (var item in objects)
            {
                _table.Append(item);
                _indexed?.Replace(null, item);
            }
            _ring.Clear(revision);
            _lastRevision = revision;
            _waker.PostAll();
        }
    }

    /// <summary>Lets go of events that are too old, where nothing was written since.</summary>
    internal void TrimRing()
    {
        lock (_gate) _ring.Evict();
    }

    /// <summary>Puts a cursor among the waiting; false = there is something to read already.</summary>
    internal bool TryEnlist(WatchCursor cursor) => _waker.TryEnlist(cursor);

    internal void Delist(WatchCursor cursor) => _waker.Delist(cursor);

    /// <summary>Brings a cursor that waited under its key back into the ring, where it goes on.</summary>
    internal void Unpark(WatchCursor cursor)
    {
        lock (_gate)
        {
            if (!_waker.Unpark(cursor)) return;
            var (segment, index) = _ring.End();
            cursor.GoTo(segment, index);
        }
    }

    /// <summary>Ends the waits of all cursors, on pool threads.</summary>
    internal void WakeCursors() => _waker.Wake();

    private void ApplyWrite(in DatastoreEntry entry, ReadOnlySpan<byte> key, ReadOnlySpan<byte> json)
    {
        // Only this thread writes, so what it finds stays; the lock is held for the swap alone.
        bool exists;
        lock (_gate) exists = _table.Find(key) is not null;
        var type = exists ? WatchEventType.Modified : WatchEventType.Added;
        var item = StoredObjectWriter.Create(key, json, entry.Revision, entry.CreateRevision, type, _paths);
        lock (_gate)
        {
            // One reference for the table, one for the ring; what the table let go of is the ring's now.
            item.Retain();
            var previous = _table.Set(item);
            _indexed?.Replace(previous, item);
            PublishLocked(new WatchEvent(type, item, previous));
        }
    }

    private void ApplyDelete(in DatastoreEntry entry, ReadOnlySpan<byte> key)
    {
        StoredObject? last;
        lock (_gate) last = _table.Find(key);
        if (last is null) return;
        var deleted = StoredObjectWriter.CreateDeleted(last, entry.Revision, _paths);
        lock (_gate)
        {
            var previous = _table.Remove(key);
            _indexed?.Replace(previous, null);
            PublishLocked(new WatchEvent(WatchEventType.Deleted, deleted, previous));
        }
    }

    private void PublishLocked(in WatchEvent item)
    {
        _applied++;
        _waker.Publish(_ring, item);
        _lastRevision = item.Revision;
    }

    private byte[] PrefixOrOwn(ReadOnlySpan<byte> keyPrefix) => keyPrefix.IsEmpty || keyPrefix.SequenceEqual(_prefix) ? _prefix : keyPrefix.ToArray();

    private sealed class KeyComparer : IEqualityComparer<StoredObject>
    {
        public static readonly KeyComparer Instance = new();

        public bool Equals(StoredObject? left, StoredObject? right) => left!.KeyUtf8.SequenceEqual(right!.KeyUtf8);

        public int GetHashCode(StoredObject item)
        {
            var hash = default(HashCode);
            hash.AddBytes(item.KeyUtf8);
            return hash.ToHashCode();
        }
    }
}
