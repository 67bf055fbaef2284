using System.Text;
using K3sFast.Datastore;
using Microsoft.Extensions.Logging;

namespace K3sFast.WatchCache;

/// <summary>
/// Reads a datastore's whole state at a revision into caches, several ranges of keys at once: a start is as long as its slowest range. Engines that
/// cannot tell where to split are read in one go.
/// </summary>
internal sealed class CacheLoader(IDatastore store, KeyRoutes routes, CacherOptions options, ILogger logger)
{
    // More readers than this only wait for the disk.
    private const int MaxParts = 4;

    private readonly IDatastore _store = store;
    private readonly KeyRoutes _routes = routes;
    private readonly CacherOptions _options = options;
    private readonly ILogger _logger = logger;

    /// <summary>Loads everything that a cache wants; returns the number of objects.</summary>
    public async ValueTask<int> LoadAsync(string keyPrefix, long revision, CancellationToken cancellationToken)
    {
        var splits = _store is IRangeSplitter splitter ? splitter.SplitKeys(keyPrefix, Math.Min(MaxParts, Environment.ProcessorCount)) : [];
        var parts = new Part[splits.Count + 1];
        for (int i = 0; i < parts.Length; i++)
        {
            var request = new RangeRequest(keyPrefix, revision, i == 0 ? null : splits[i - 1]);
            parts[i] = new Part(this, request, i < splits.Count ? Encoding.UTF8.GetBytes(splits[i]) : null, cancellationToken);
        }
        try
        {
            if (parts.Length == 1) await parts[0].ReadAsync().ConfigureAwait(false);
            else await Task.WhenAll(Array.ConvertAll(parts, static part => Task.Run(() => part.ReadAsync().AsTask()))).ConfigureAwait(false);
            return parts.Sum(static part => part.HandOver());
        }
        finally
        {
            foreach (var part in parts) part.Dispose();
        }
    }

    /// <summary>One range, read by one thread at a time.</summary>
    private sealed class Part(CacheLoader owner, RangeRequest request, byte[]? end, CancellationToken cancellationToken) : IDatastoreVisitor, IDisposable
    {
        private readonly CancellationTokenSource _atEnd = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        private readonly List<(WatchCache Cache, List<StoredObject> Items)> _found = [];
        private readonly ValueReader _values = new(owner._options.Transformer);
        private WatchCache? _cache;

        public async ValueTask ReadAsync()
        {
            try
            {
                await owner._store.RangeAsync(request, this, _atEnd.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The next part begins here.
            }
        }

        public void OnEntry(in DatastoreEntry entry)
        {
            Span<byte> buffer = stackalloc byte[512];
            var key = ValueReader.KeyOf(entry, buffer);
            if (_atEnd.IsCancellationRequested) return;
            if (end is not null && key.SequenceCompareTo(end) >= 0)
            {
                _atEnd.Cancel();
                return;
            }
            if (_cache is null || !key.StartsWith(_cache.KeyPrefixUtf8))
            {
                // Keys come in order: a resource's are together.
                _cache = owner._routes.Find(entry.Key);
                if (_cache is null) return;
                _found.Add((_cache, []));
            }
            try
            {
                _found[^1].Items.Add(_cache.Read(entry, key, _values.AsJson(entry)));
            }
            catch (FormatException error)
            {
                Log.UnreadableValue(owner._logger, entry.Key, entry.Revision, error);
            }
        }

        /// <summary>Gives the caches what was read.</summary>
        public int HandOver()
        {
            int count = 0;
            foreach (var (cache, items) in _found)
            {
                cache.Load(items);
                count += items.Count;
            }
            _found.Clear();
            return count;
        }

        public void Dispose()
        {
            // What was read and not handed over: the start failed.
            foreach (var (_, items) in _found)
            {
                foreach (var item in items) item.Release();
            }
            _found.Clear();
            _atEnd.Dispose();
        }
    }
}
