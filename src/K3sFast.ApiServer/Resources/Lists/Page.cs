using K3sFast.Datastore;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>What of a snapshot one answer carries.</summary>
internal readonly record struct Page(long Revision, byte[] StartKey, long Count, string? Continue, long? Remaining)
{
    internal static async ValueTask<Page> OfAsync(Snapshot snapshot, byte[] prefix, ListQuery query, CancellationToken cancel)
    {
        var revision = snapshot.Revision;
        var start = query.StartKey(prefix);
        // As upstream, a list "at any revision" comes whole from the cache.
        if (query.Limit == 0 || query.Revision == 0)
            return new Page(revision, start, long.MaxValue, null, null);
        try
        {
            var objects = snapshot.ReadFrom(start);
            var left = query.Limit;
            var lastKey = "";
            while (left > 0 && await objects.MoveNextAsync(cancel).ConfigureAwait(false))
            {
                if (!query.Filter.Matches(objects.Current))
                    continue;
                if (--left == 0)
                    lastKey = objects.Current.Key;
            }
            if (lastKey.Length == 0 || !await objects.MoveNextAsync(cancel).ConfigureAwait(false))
                return new Page(revision, start, query.Limit, null, null);
            var next = ContinueToken.After(revision, lastKey, prefix.Length);
            long? remaining = query.Filter.IsEmpty ? await snapshot.CountFromAsync(objects.Current.KeyUtf8, cancel).ConfigureAwait(false) : null;
            return new Page(revision, start, query.Limit, next, remaining);
        }
        catch (DatastoreCompactedException)
        {
            throw query.TooOld().ToException();
        }
    }

    /// <summary>Namespace and name of each object on the page.</summary>
    internal async ValueTask<List<(string Namespace, string Name)>> TargetsAsync(Snapshot snapshot, ObjectFilter filter, CancellationToken cancel)
    {
        var targets = new List<(string, string)>();
        var objects = new PageReader(snapshot, filter, this);
        do
        {
            while (objects.MoveNext())
                targets.Add((objects.Current.Namespace(), objects.Current.Name()));
        }
        while (await objects.FillAsync(cancel).ConfigureAwait(false));
        return targets;
    }
}
