namespace K3sFast.WatchCache;

/// <summary>
/// A walk through a snapshot in key order whose objects may have to be fetched on the way. Nearly always everything is at hand, and
/// <see cref="MoveNext"/> steps through it; when it answers false, <see cref="FillAsync"/> tells whether that was all. One thread at a time.
/// </summary>
public sealed class SnapshotReader
{
    private readonly Snapshot _snapshot;
    private byte[]? _next;
    private Snapshot.Enumerator _objects;
    private bool _isOpen;

    internal SnapshotReader(Snapshot snapshot, byte[] startKey)
    {
        _snapshot = snapshot;
        _next = startKey;
        if (snapshot.Covers(startKey)) Open(startKey);
    }

    /// <summary>The object the walk stands at, lent until the next <see cref="FillAsync"/> of any walk through the snapshot, or its end.</summary>
    public StoredObject Current => _objects.Current;

    /// <summary>Steps on to the next object that is at hand. Allocates nothing.</summary>
    public bool MoveNext() => _isOpen && _objects.MoveNext();

    /// <summary>Fetches what comes next; false = the walk is at its end.</summary>
    /// <remarks>Throws <see cref="Datastore.DatastoreCompactedException"/> when the revision was compacted away meanwhile.</remarks>
    public ValueTask<bool> FillAsync(CancellationToken cancellationToken) => _next is { } next ? FetchAsync(next, cancellationToken) : new ValueTask<bool>(false);

    /// <summary>Steps on, and fetches when it must; false = the end.</summary>
    public ValueTask<bool> MoveNextAsync(CancellationToken cancellationToken) => MoveNext() ? new ValueTask<bool>(true) : MoveNextSlowAsync(cancellationToken);

    private async ValueTask<bool> MoveNextSlowAsync(CancellationToken cancellationToken)
    {
        while (await FillAsync(cancellationToken).ConfigureAwait(false))
        {
            if (MoveNext()) return true;
        }
        return false;
    }

    private async ValueTask<bool> FetchAsync(byte[] startKey, CancellationToken cancellationToken)
    {
        // Another walk may have fetched it already, or gone elsewhere.
        if (!_snapshot.Covers(startKey)) await _snapshot.FetchAsync(startKey, cancellationToken).ConfigureAwait(false);
        Open(startKey);
        return true;
    }

    private void Open(byte[] startKey)
    {
        _objects = _snapshot.From(startKey);
        _next = _snapshot.Next;
        _isOpen = true;
    }
}
