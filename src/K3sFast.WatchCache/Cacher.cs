using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Text;
using K3sFast.Datastore;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.WatchCache;

/// <summary>
/// All resources' caches over one datastore. It observes the datastore and applies commits in revision order, on the committing
/// thread, so that a write's answer finds every cache already showing it.
/// </summary>
public sealed class Cacher : IDatastoreObserver, IAsyncDisposable
{
    private const string StartPrefix = "/";

    private static readonly TimeSpan s_reloadPause = TimeSpan.FromSeconds(1);

    private readonly IDatastore _store;
    private readonly CacherOptions _options;
    private readonly ILogger _logger;
    private readonly Lock _applyGate = new();
    private readonly Lock _waitGate = new();
    private readonly RingBudget _rings = new();

    // Guarded by _applyGate
    private readonly List<WatchCache> _changed = [];
    private readonly ValueReader _values;
    private ITimer? _trim;
    private IDatastoreWatch? _watch;
    private long _appliedRevision;
    private bool _isLoading;

    // Guarded by _waitGate
    private readonly PriorityQueue<TaskCompletionSource, long> _waiters = new();

    // Written under _applyGate, read by anyone
    private KeyRoutes _routes = KeyRoutes.Empty;
    private long _currentRevision;
    private Exception? _failure;

    /// <summary>Caches over <paramref name="store"/>, which stays the caller's and must outlive this.</summary>
    public Cacher(IDatastore store, CacherOptions options)
    {
        ArgumentNullException.ThrowIfNull(store);
        ArgumentNullException.ThrowIfNull(options);
        _store = store;
        _options = options;
        _values = new ValueReader(options.Transformer);
        _logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("K3sFast.WatchCache");
    }

    /// <summary>The newest revision that every cache shows.</summary>
    public long CurrentRevision => Volatile.Read(ref _currentRevision);

    /// <summary>Bytes of replaced and deleted objects that the rings keep alive for watchers that lag behind.</summary>
    public long RingBytes => _rings.Bytes;

    /// <summary>The datastore has forgotten the states before this revision.</summary>
    public long CompactRevision => _store.CompactRevision;

    /// <summary>Not null = the caches no longer follow the datastore; readiness ends and writes are refused.</summary>
    public Exception? Failure => Volatile.Read(ref _failure);

    /// <summary>Loads all registered resources and follows the datastore. Once.</summary>
    /// <remarks>
    /// The state is taken some revisions back and the rest is replayed as events, so that watches from before a restart find their place.
    /// </remarks>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        long startedAt = Stopwatch.GetTimestamp();
        lock (_applyGate) _isLoading = true;
        long current = await _store.ReadCurrentRevisionAsync(cancellationToken).ConfigureAwait(false);
        long from = FirstRevision(_store, current, _options);
        int loaded = await LoadAllAsync(from, cancellationToken).ConfigureAwait(false);
        _watch = _store.Watch(from, this);
        await _watch.CaughtUp.WaitAsync(cancellationToken).ConfigureAwait(false);
        await WaitForAsync(current, cancellationToken).ConfigureAwait(false);
        _trim = _options.TimeProvider.CreateTimer(static cacher => ((Cacher)cacher!).TrimRings(), this, _options.RingAge, _options.RingAge);
        Log.Loaded(_logger, loaded, _routes.All.Length, CurrentRevision, (long)Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds);
    }

    /// <summary>
    /// Makes a resource known, before the start or after it: not while it lasts. After the start its objects are loaded before this returns; the same prefix again
    /// answers the same cache.
    /// </summary>
    /// <param name="keyPrefix">What all keys start with, with a slash at the end: <c>/registry/pods/</c>. No prefix may start with another's.</param>
    /// <param name="selectableFieldPaths">Dotted paths to scalar members that are kept at hand for field selectors: <c>spec.nodeName</c>.</param>
    /// <param name="indexes">By what objects are looked up and watchers are woken; null = by key alone.</param>
    public WatchCache Register(string keyPrefix, IReadOnlyList<string> selectableFieldPaths, ResourceIndexes? indexes = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(keyPrefix);
        if (!keyPrefix.EndsWith('/')) throw new ArgumentException("a key prefix ends with a slash", nameof(keyPrefix));
        lock (_applyGate)
        {
            if (_routes.Exact(keyPrefix) is { } known) return known;
            if (_isLoading && _watch is null) throw new InvalidOperationException($"{keyPrefix} was registered while the caches were being loaded");
            var cache = new WatchCache(this, keyPrefix, selectableFieldPaths, indexes ?? ResourceIndexes.None, _options, _rings);
            var routes = _routes.With(cache);
            if (_watch is null)
            {
                Volatile.Write(ref _routes, routes);
                return cache;
            }
            // Commits wait meanwhile: what they bring comes after what is loaded here.
            var load = new CacheLoader(_store, KeyRoutes.Empty.With(cache), _options, _logger).LoadAsync(keyPrefix, _appliedRevision, CancellationToken.None);
            if (!load.IsCompletedSuccessfully) load.AsTask().GetAwaiter().GetResult();
            cache.BeginAt(_appliedRevision);
            Volatile.Write(ref _routes, routes);
            return cache;
        }
    }

    /// <summary>Forgets a resource (a deleted custom resource definition). Its cursors end with expiry.</summary>
    public void Unregister(WatchCache cache)
    {
        ArgumentNullException.ThrowIfNull(cache);
        lock (_applyGate)
        {
            Volatile.Write(ref _routes, _routes.Without(cache));
            cache.Clear(_appliedRevision);
        }
    }

    /// <summary>The cache that holds a key, or null.</summary>
    public WatchCache? Find(string key) => Volatile.Read(ref _routes).Find(key);

    /// <summary>Writes one key; completes when it is durable and every cache shows it.</summary>
    /// <remarks>Throws <see cref="DatastoreException"/> when the medium fails, or the caches no longer follow it.</remarks>
    public ValueTask<WriteResult> WriteAsync(in AppendRequest request, CancellationToken cancellationToken = default)
    {
        if (Failure is { } failure) throw StoppedError(failure);
        return FinishWrite(_store.AppendAsync(request, cancellationToken), request);
    }

    /// <summary>Completes when the caches show at least <paramref name="revision"/>.</summary>
    public ValueTask WaitForAsync(long revision, CancellationToken cancellationToken = default)
    {
        if (CurrentRevision >= revision) return ValueTask.CompletedTask;
        TaskCompletionSource waiter;
        lock (_waitGate)
        {
            // Looked at again under the lock: whoever raises the revision takes it afterwards.
            if (CurrentRevision >= revision) return ValueTask.CompletedTask;
            if (Failure is { } failure) throw StoppedError(failure);
            waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiters.Enqueue(waiter, revision);
        }
        return new ValueTask(waiter.Task.WaitAsync(cancellationToken));
    }

    /// <summary>
    /// Completes when the caches show everything that anybody was acknowledged before this call, on any server: what a consistent read waits
    /// for. Free where the datastore is this process's alone.
    /// </summary>
    /// <remarks>Throws <see cref="DatastoreException"/> when the datastore does not answer.</remarks>
    public ValueTask FreshenAsync(CancellationToken cancellationToken = default) => _store.IsShared ? FreshenSharedAsync(cancellationToken) : ValueTask.CompletedTask;

    /// <summary>
    /// The objects under a prefix of a cache at a revision that its ring has forgotten, to be walked by <see cref="Snapshot.ReadFrom"/>; null when the
    /// datastore has forgotten it too.
    /// </summary>
    /// <param name="cache">The resource.</param>
    /// <param name="revision">The state at this revision.</param>
    /// <param name="keyPrefix">What keys start with.</param>
    /// <param name="startKey">Where the walk will begin: what is there is fetched at once. Empty = at the start of the prefix.</param>
    /// <param name="cancellationToken">Ends the fetching.</param>
    /// <remarks>Memory of one piece of it at a time. Throws <see cref="DatastoreException"/> when the medium fails.</remarks>
    public async ValueTask<Snapshot?> ListStoredAsync(WatchCache cache, long revision, byte[] keyPrefix, byte[] startKey, CancellationToken cancellationToken = default)
    {
        var history = new StoredHistory(_store, cache, _options.Transformer, revision, keyPrefix, _logger);
        try
        {
            var first = await history.ReadAsync(startKey.Length > 0 ? startKey : keyPrefix, cancellationToken).ConfigureAwait(false);
            return new Snapshot(history, keyPrefix, revision, first);
        }
        catch (DatastoreCompactedException)
        {
            return null;
        }
    }

    /// <inheritdoc/>
    void IDatastoreVisitor.OnEntry(in DatastoreEntry entry)
    {
        lock (_applyGate)
        {
            _appliedRevision = entry.Revision;
            if (_routes.Find(entry.Key) is not { } cache) return;
            ApplyEntry(cache, entry);
            if (!_changed.Contains(cache)) _changed.Add(cache);
        }
    }

    /// <inheritdoc/>
    void IDatastoreObserver.OnRevision(long revision)
    {
        lock (_applyGate)
        {
            _appliedRevision = Math.Max(_appliedRevision, revision);
            Volatile.Write(ref _currentRevision, revision);
            foreach (var cache in _changed) cache.WakeCursors();
            _changed.Clear();
        }
        CompleteWaiters(revision, null);
    }

    /// <inheritdoc/>
    void IDatastoreObserver.OnFailed(Exception error)
    {
        if (error is ObjectDisposedException && _watch is null) return;
        if (_store.IsShared && error is DatastoreCompactedException && _watch is not null)
        {
            // Away from the datastore for longer than its history reaches: what is shown is old, not wrong, until everything was read anew.
            _ = Task.Run(ReloadAsync);
            return;
        }
        Log.Stopped(_logger, CurrentRevision, error);
        Volatile.Write(ref _failure, error);
        CompleteWaiters(long.MaxValue, StoppedError(error));
    }

    /// <summary>Stops following the datastore and empties the caches; cursors end with expiry.</summary>
    public ValueTask DisposeAsync()
    {
        IDatastoreWatch? watch;
        lock (_applyGate) (watch, _watch) = (_watch, null);
        _trim?.Dispose();
        // Not under the lock: a call that is under way needs it.
        watch?.Dispose();
        lock (_applyGate)
        {
            foreach (var cache in _routes.All) cache.Clear(_appliedRevision);
        }
        var closed = new ObjectDisposedException(nameof(Cacher));
        Volatile.Write(ref _failure, closed);
        CompleteWaiters(long.MaxValue, closed);
        return ValueTask.CompletedTask;
    }

    private void TrimRings()
    {
        foreach (var cache in Volatile.Read(ref _routes).All) cache.TrimRing();
    }

    // Revision 1 is an empty store's.
    private static long FirstRevision(IDatastore store, long current, CacherOptions options) => Math.Max(1, Math.Max(store.CompactRevision, current - options.ReplayRevisions));

    private async ValueTask<int> LoadAllAsync(long revision, CancellationToken cancellationToken)
    {
        int loaded = await new CacheLoader(_store, _routes, _options, _logger).LoadAsync(StartPrefix, revision, cancellationToken).ConfigureAwait(false);
        lock (_applyGate)
        {
            _appliedRevision = revision;
            foreach (var cache in _routes.All) cache.BeginAt(revision);
            Volatile.Write(ref _currentRevision, revision);
        }
        return loaded;
    }

    private async ValueTask FreshenSharedAsync(CancellationToken cancellationToken)
    {
        long newest = await _store.ReadCurrentRevisionAsync(cancellationToken).ConfigureAwait(false);
        await WaitForAsync(newest, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Puts the present state in the place of what the caches show, and follows from there. Cursors end with expiry.</summary>
    private async Task ReloadAsync()
    {
        while (Failure is null)
        {
            try
            {
                var loader = new Reloader(this);
                var range = await _store.RangeAsync(new RangeRequest("/"), loader, CancellationToken.None).ConfigureAwait(false);
                lock (_applyGate)
                {
                    if (_watch is null) return;
                    foreach (var cache in _routes.All) cache.Replace(loader.TakeOf(cache), range.Revision);
                    _appliedRevision = range.Revision;
                    _changed.Clear();
                    Volatile.Write(ref _currentRevision, range.Revision);
                }
                CompleteWaiters(range.Revision, null);
                var watch = _store.Watch(range.Revision, this);
                lock (_applyGate)
                {
                    if (_watch is not null)
                    {
                        _watch = watch;
                        return;
                    }
                }
                watch.Dispose();
                return;
            }
            // Tried until the datastore answers: nothing else can be done, and nothing wrong is shown meanwhile.
            catch (Exception error)
            {
                Log.ReloadFailed(_logger, CurrentRevision, error);
                await Task.Delay(s_reloadPause, _options.TimeProvider).ConfigureAwait(false);
            }
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<WriteResult> FinishWrite(ValueTask<AppendResult> append, AppendRequest request)
    {
        var result = await append.ConfigureAwait(false);
        if (result.Outcome != AppendOutcome.Committed)
        {
            // Who tries again must find what he lost to, on whichever server that was written.
            if (_store.IsShared && result.Outcome != AppendOutcome.Full) await FreshenSharedAsync(CancellationToken.None).ConfigureAwait(false);
            return new WriteResult(result.Outcome, result.Revision, null);
        }
        // With an engine that shows commits before it completes them, this is already so.
        if (CurrentRevision < result.Revision) await WaitForAsync(result.Revision).ConfigureAwait(false);
        var cache = Find(request.Key);
        var written = cache?.TakeWritten(result.Revision);
        if (written is null && cache is not null) written = RebuildWritten(cache, request, result.Revision);
        return new WriteResult(AppendOutcome.Committed, result.Revision, written);
    }

    /// <summary>The write's event has already left the ring (thousands of commits since): the object is made anew from the request.</summary>
    private static StoredObject? RebuildWritten(WatchCache cache, in AppendRequest request, long revision)
    {
        if (request.Kind == AppendKind.Delete) return null;
        bool isCreate = request.Kind == AppendKind.Create;
        return cache.Rebuild(
            Encoding.UTF8.GetBytes(request.Key), request.Value.Span, revision, isCreate ? revision : 0, isCreate ? WatchEventType.Added : WatchEventType.Modified);
    }

    private void ApplyEntry(WatchCache cache, in DatastoreEntry entry)
    {
        try
        {
            Span<byte> buffer = stackalloc byte[512];
            var key = ValueReader.KeyOf(entry, buffer);
            cache.Apply(entry, key, entry.Kind == AppendKind.Delete ? default : _values.AsJson(entry));
        }
        catch (FormatException error)
        {
            Log.UnreadableValue(_logger, entry.Key, entry.Revision, error);
        }
    }

    private void CompleteWaiters(long revision, Exception? error)
    {
        lock (_waitGate)
        {
            while (_waiters.TryPeek(out var waiter, out long wanted) && wanted <= revision)
            {
                _waiters.Dequeue();
                if (error is null) waiter.TrySetResult();
                else waiter.TrySetException(error);
            }
        }
    }

    private static DatastoreException StoppedError(Exception failure) =>
        new($"the caches no longer follow the datastore: restart the server ({failure.Message})", failure);

    /// <summary>Reads all objects anew, aside.</summary>
    private sealed class Reloader(Cacher owner) : IDatastoreVisitor
    {
        private readonly Dictionary<WatchCache, List<StoredObject>> _objects = [];
        private readonly ValueReader _values = new(owner._options.Transformer);

        public void OnEntry(in DatastoreEntry entry)
        {
            if (owner.Find(entry.Key) is not { } cache) return;
            if (!_objects.TryGetValue(cache, out var list)) _objects.Add(cache, list = []);
            try
            {
                Span<byte> buffer = stackalloc byte[512];
                list.Add(cache.Read(entry, ValueReader.KeyOf(entry, buffer), _values.AsJson(entry)));
            }
            catch (FormatException error)
            {
                Log.UnreadableValue(owner._logger, entry.Key, entry.Revision, error);
            }
        }

        public List<StoredObject> TakeOf(WatchCache cache) => _objects.GetValueOrDefault(cache, []);
    }
}
