using System.Text;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.WatchCache.Tests;

/// <summary>Caches over a datastore that other servers write to: what they show may lag, but never for whom it matters.</summary>
public sealed class SharedStoreTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("cache-shared-").FullName;
    private LaggingStore _store = null!;
    private Cacher _cacher = null!;
    private WatchCache _pods = null!;

    public async ValueTask InitializeAsync()
    {
        _store = new LaggingStore(SqliteDatastore.Open(new() { Path = Path.Combine(_folder, "state.db") }));
        await _store.WriteElsewhereAsync("/registry/pods/blue/first", 0);
        _cacher = new Cacher(_store, new CacherOptions());
        _pods = _cacher.Register("/registry/pods/", []);
        await _cacher.StartAsync(TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await _cacher.DisposeAsync();
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Freshen_WritesOfAnotherServerOnTheirWay_WaitsForThem()
    {
        _store.Hold();
        await _store.WriteElsewhereAsync("/registry/pods/blue/second", 0);
        Assert.Null(_pods.Get("/registry/pods/blue/second"));
        var fresh = _cacher.FreshenAsync(TestContext.Current.CancellationToken).AsTask();
        Assert.False(fresh.IsCompleted);
        _store.Release();
        await fresh;
        using var seen = _pods.Get("/registry/pods/blue/second");
        Assert.NotNull(seen);
    }

    [Fact]
    public async Task Write_LostToAnotherServer_CompletesWhenTheWinnerIsSeen()
    {
        using var before = _pods.Get("/registry/pods/blue/first")!;
        _store.Hold();
        var winner = await _store.WriteElsewhereAsync("/registry/pods/blue/first", before.Revision);
        var write = _cacher.WriteAsync(AppendRequest.Update("/registry/pods/blue/first", before.Revision, Pod("loser"))).AsTask();
        Assert.False(write.IsCompleted);
        _store.Release();
        Assert.Equal(AppendOutcome.Conflict, (await write).Outcome);
        using var after = _pods.Get("/registry/pods/blue/first")!;
        Assert.Equal(winner, after.Revision);
    }

    [Fact]
    public async Task History_CompactedWhileAway_EverythingIsReadAnewAndCursorsExpire()
    {
        using var cursor = _pods.OpenCursor(_cacher.CurrentRevision);
        _store.Hold();
        using (var first = _pods.Get("/registry/pods/blue/first")!) await _store.DeleteElsewhereAsync("/registry/pods/blue/first", first.Revision);
        await _store.WriteElsewhereAsync("/registry/pods/blue/second", 0);
        _store.LoseHistory();
        await _cacher.FreshenAsync(TestContext.Current.CancellationToken);
        Assert.Null(_pods.Get("/registry/pods/blue/first"));
        using (var second = _pods.Get("/registry/pods/blue/second")) Assert.NotNull(second);
        Assert.Equal(-1, cursor.Read(new WatchEvent[1]));
        Assert.Null(_cacher.Failure);
        // And it is followed again.
        var written = await _cacher.WriteAsync(AppendRequest.Create("/registry/pods/blue/third", Pod("third")));
        using var third = written.Object;
        Assert.Equal(AppendOutcome.Committed, written.Outcome);
        Assert.Equal(2, _pods.Count);
    }

    private static byte[] Pod(string name) => Encoding.UTF8.GetBytes($$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"blue"}}""");

    /// <summary>A store whose changes reach its watch late, as over a network.</summary>
    private sealed class LaggingStore(SqliteDatastore inner) : IDatastore
    {
        private readonly Lock _gate = new();
        private readonly List<Relay> _watches = [];
        private bool _isHeld;

        public bool IsShared => true;

        public long CurrentRevision => inner.CurrentRevision;

        public long CompactRevision => inner.CompactRevision;

        public async Task<long> WriteElsewhereAsync(string key, long expected)
        {
            byte[] value = Pod(key[(key.LastIndexOf('/') + 1)..]);
            var result = await inner.AppendAsync(expected == 0 ? AppendRequest.Create(key, value) : AppendRequest.Update(key, expected, value));
            Assert.Equal(AppendOutcome.Committed, result.Outcome);
            return result.Revision;
        }

        public async Task DeleteElsewhereAsync(string key, long expected) =>
            Assert.Equal(AppendOutcome.Committed, (await inner.AppendAsync(AppendRequest.Delete(key, expected))).Outcome);

        public void Hold()
        {
            lock (_gate) _isHeld = true;
        }

        public void Release()
        {
            Relay[] watches;
            lock (_gate)
            {
                _isHeld = false;
                watches = [.. _watches];
            }
            foreach (var watch in watches) watch.Flush();
        }

        /// <summary>What is held back is never shown: it was compacted.</summary>
        public void LoseHistory()
        {
            Relay[] watches;
            lock (_gate)
            {
                _isHeld = false;
                watches = [.. _watches];
                _watches.Clear();
            }
            foreach (var watch in watches) watch.Lose();
        }

        public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default) => inner.AppendAsync(request, cancellationToken);

        public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default) =>
            inner.RangeAsync(request, visitor, cancellationToken);

        public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer)
        {
            var relay = new Relay(this, observer);
            lock (_gate) _watches.Add(relay);
            return relay.Over(inner.Watch(afterRevision, relay));
        }

        public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) => inner.CompactAsync(revision, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();

        private sealed class Relay(LaggingStore owner, IDatastoreObserver observer) : IDatastoreObserver, IDatastoreWatch
        {
            private readonly Queue<Action> _late = new();
            private IDatastoreWatch? _watch;
            private bool _isLost;

            public Task CaughtUp => _watch!.CaughtUp;

            public IDatastoreWatch Over(IDatastoreWatch watch)
            {
                _watch = watch;
                return this;
            }

            public void OnEntry(in DatastoreEntry entry)
            {
                byte[] value = entry.Value.ToArray();
                var (key, revision, created, kind) = (entry.Key, entry.Revision, entry.CreateRevision, entry.Kind);
                Pass(() => observer.OnEntry(new DatastoreEntry { Key = key, Value = value, Revision = revision, CreateRevision = created, Kind = kind }));
            }

            public void OnRevision(long revision) => Pass(() => observer.OnRevision(revision));

            public void OnFailed(Exception error) => observer.OnFailed(error);

            public void Flush()
            {
                lock (_late)
                {
                    while (_late.TryDequeue(out var late)) late();
                }
            }

            public void Lose()
            {
                lock (_late)
                {
                    _isLost = true;
                    _late.Clear();
                }
                observer.OnFailed(new DatastoreCompactedException(1, 2));
            }

            public void Dispose() => _watch?.Dispose();

            private void Pass(Action action)
            {
                lock (_late)
                {
                    if (_isLost) return;
                    bool isHeld;
                    lock (owner._gate) isHeld = owner._isHeld;
                    if (isHeld) _late.Enqueue(action);
                    else action();
                }
            }
        }
    }
}
