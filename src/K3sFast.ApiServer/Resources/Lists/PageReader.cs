using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// Walks the objects of one page of a snapshot that a filter lets through. What is at hand is stepped through; between that, an old state may have to be
/// fetched from the datastore. One thread at a time.
/// </summary>
internal sealed class PageReader(Snapshot snapshot, ObjectFilter filter, Page page)
{
    private readonly SnapshotReader _objects = snapshot.ReadFrom(page.StartKey);
    private long _left = page.Count;

    /// <summary>The object the walk stands at, lent until <see cref="FillAsync"/>.</summary>
    internal StoredObject Current => _objects.Current;

    /// <summary>Steps on to the next object that is at hand; false = none is.</summary>
    internal bool MoveNext()
    {
        while (_left > 0 && _objects.MoveNext())
        {
            if (!filter.Matches(_objects.Current))
                continue;
            _left--;
            return true;
        }
        return false;
    }

    /// <summary>Fetches what comes next; false = the page is at its end.</summary>
    internal ValueTask<bool> FillAsync(CancellationToken cancel) => _left > 0 ? _objects.FillAsync(cancel) : new(false);
}
