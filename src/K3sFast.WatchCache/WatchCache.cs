namespace K3sFast.WatchCache;

/// <summary>One resource's objects at now and its ring of recent events.</summary>
public sealed class WatchCache
{
    /// <summary>What all keys start with: <c>/registry/pods/</c>.</summary>
    public string KeyPrefix => throw new NotImplementedException();

    /// <summary>The selectable fields, in the order of <see cref="StoredObject.Field"/>.</summary>
    public IReadOnlyList<string> SelectableFields => throw new NotImplementedException();

    /// <summary>How many objects there are.</summary>
    public int Count => throw new NotImplementedException();

    /// <summary>The object of a key, or null. It is retained for the caller, who disposes it.</summary>
    public StoredObject? Get(ReadOnlySpan<byte> key) => throw new NotImplementedException();

    /// <summary>The object of a key, or null. It is retained for the caller, who disposes it.</summary>
    public StoredObject? Get(string key) => throw new NotImplementedException();

    /// <summary>The objects under a prefix (the resource's own, or one namespace's: <c>/registry/pods/default/</c>) now. O(1).</summary>
    public Snapshot List(ReadOnlySpan<byte> keyPrefix = default) => throw new NotImplementedException();

    /// <summary>The objects under a prefix at an older revision. False = the revision left the ring (answer 410 Expired).</summary>
    public bool TryListAt(long revision, ReadOnlySpan<byte> keyPrefix, out Snapshot? snapshot) => throw new NotImplementedException();

    /// <summary>A cursor that reads what happens after a revision, under a prefix (default: everything).</summary>
    /// <remarks>Where <paramref name="afterRevision"/> has left the ring, the first read answers -1.</remarks>
    public WatchCursor OpenCursor(long afterRevision, ReadOnlySpan<byte> keyPrefix = default) => throw new NotImplementedException();
}
