using K3sFast.Datastore;
using K3sFast.WatchCache.Memory;
using Microsoft.Extensions.Logging;

namespace K3sFast.WatchCache;

/// <summary>
/// Reads a datastore's whole state at a revision into caches: where the engine can, by several threads and in the order in which it lies on disk,
/// since a start waits for it; else in one go.
/// </summary>
internal sealed class CacheLoader(IDatastore store, KeyRoutes routes, CacherOptions options, ILogger logger)
{
    private readonly KeyRoutes _routes = routes;
    private readonly CacherOptions _options = options;
    private readonly ILogger _logger = logger;

    // By the ranks of their keys. The parts set places of their own, without a lock.
    private (WatchCache Cache, StoredObject? Item)[] _found = [];

    /// <summary>Loads everything that a cache wants; returns the number of objects. Once.</summary>
    public async ValueTask<int> LoadAsync(string keyPrefix, long revision, CancellationToken cancellationToken)
    {
        SlabAllocator.Shared.BeginLoad();
        try
        {
            if (store.StateReader is { } reader) await reader.ReadStateAsync(keyPrefix, revision, OpenPart, cancellationToken).ConfigureAwait(false);
            else await store.RangeAsync(new RangeRequest(keyPrefix, revision), new Part(this, isRanked: false), cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            foreach (var (_, item) in _found) item?.Release();
            throw;
        }
        finally
        {
            SlabAllocator.Shared.EndLoad();
        }
        return HandOver();
    }

    private Part OpenPart(int ranks)
    {
        if (_found.Length < ranks) _found = new (WatchCache, StoredObject?)[ranks];
        return new Part(this, isRanked: true);
    }

    /// <summary>Gives the caches what was read, in key order: a resource's objects are together. No object's bytes are looked at, as they lie anywhere.</summary>
    private int HandOver()
    {
        var some = new List<StoredObject>();
        WatchCache? cache = null;
        int count = 0;
        foreach (var (owner, item) in _found)
        {
            if (item is null) continue;
            count++;
            if (owner != cache)
            {
                cache?.Load(some);
                some.Clear();
                cache = owner;
            }
            some.Add(item);
        }
        cache?.Load(some);
        _found = [];
        return count;
    }

    /// <summary>What one thread reads.</summary>
    private sealed class Part(CacheLoader owner, bool isRanked) : IDatastoreVisitor
    {
        private readonly ValueReader _values = new(owner._options.Transformer);
        private WatchCache? _cache;
        private int _shown;

        public void OnEntry(in DatastoreEntry entry)
        {
            Span<byte> buffer = stackalloc byte[512];
            var key = ValueReader.KeyOf(entry, buffer);
            if (_cache is null || !key.StartsWith(_cache.KeyPrefixUtf8))
            {
                _cache = owner._routes.Find(key);
                if (_cache is null) return;
            }
            try
            {
                var item = _cache.Read(entry, key, _values.AsJson(entry));
                int place = isRanked ? entry.Rank : _shown++;
                if (place == owner._found.Length) Array.Resize(ref owner._found, Math.Max(1024, place * 2));
                owner._found[place] = (_cache, item);
            }
            catch (FormatException error)
            {
                Log.UnreadableValue(owner._logger, entry.Key, entry.Revision, error);
            }
        }
    }
}
