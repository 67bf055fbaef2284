namespace K3sFast.WatchCache;

/// <summary>
/// A resource's objects once more, under each value of its indexed fields and labels: a small table per value, in key order, so that a list by
/// an index is a snapshot like any other. The caller synchronizes (<see cref="WatchCache"/>'s lock).
/// </summary>
internal sealed class IndexTable(KeyReader keys)
{
    private readonly Dictionary<IndexKey, ObjectTable> _tables = [];

    /// <summary>The objects under a key now, retained for the caller. Others may be among them whose value has the same hash.</summary>
    public TableRoot TakeRoot(IndexKey key) => _tables.TryGetValue(key, out var table) ? table.TakeRoot() : new TableRoot();

    /// <summary>Follows a change of one object; null = there was none before, or is none any more.</summary>
    public void Replace(StoredObject? previous, StoredObject? item)
    {
        for (int i = 0; i < keys.IndexCount; i++)
        {
            int kind = IndexKey.FirstIndexKind + i;
            var before = previous is null ? default : keys.Read(previous, kind);
            var after = item is null ? default : keys.Read(item, kind);
            if (!before.IsNone && before != after) Remove(before, previous!);
            if (!after.IsNone) Set(after, item!);
        }
    }

    public void Clear()
    {
        foreach (var table in _tables.Values) table.Clear();
        _tables.Clear();
    }

    private void Set(IndexKey key, StoredObject item)
    {
        if (!_tables.TryGetValue(key, out var table)) _tables.Add(key, table = new ObjectTable());
        item.Retain();
        table.Set(item)?.Release();
    }

    private void Remove(IndexKey key, StoredObject item)
    {
        if (!_tables.TryGetValue(key, out var table)) return;
        table.Remove(item.KeyUtf8)?.Release();
        if (table.Count > 0) return;
        table.Clear();
        _tables.Remove(key);
    }
}
