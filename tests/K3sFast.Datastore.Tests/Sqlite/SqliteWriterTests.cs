using K3sFast.Datastore.FailPoints;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>Group commit, leases and compaction by itself.</summary>
public sealed class SqliteWriterTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-writer-{Guid.NewGuid():N}";
    private readonly FakeTimeProvider _clock = new();

    [Fact]
    public async Task Append_QueuedDuringACommit_AreCommittedTogether()
    {
        await using var store = Open();
        using var gate = new ManualResetEventSlim();
        var observer = new GatedObserver(gate);
        using var watch = store.Watch(store.CurrentRevision, observer);
        var first = store.AppendAsync(AppendRequest.Create("/g/first", "x"u8.ToArray()));
        // The writer now stands in the observer: what comes meanwhile queues up.
        Assert.True(observer.Entered.Wait(TimeSpan.FromSeconds(120)));
        var queued = Enumerable.Range(0, 50).Select(i => store.AppendAsync(AppendRequest.Create($"/g/{i}", "x"u8.ToArray())).AsTask()).ToArray();
        gate.Set();
        var results = await Task.WhenAll(queued);
        long start = (await first).Revision;
        Assert.Equal(Enumerable.Range(1, 50).Select(i => start + i), results.Select(result => result.Revision));
        Assert.Equal([start, start + 50], observer.Batches);
    }

    /// <summary>On disk, and told to nobody: who catches up from the file must not see more than who lists.</summary>
    [Fact]
    public async Task Watch_CatchingUpBeforeAGroupIsPublished_ShowsNothingBehindThePresent()
    {
        await using var store = Open();
        long before = (await store.AppendAsync(AppendRequest.Create("/g/1", "x"u8.ToArray()))).Revision;
        using var reached = new ManualResetEventSlim();
        using var released = new ManualResetEventSlim();
        var seen = new RecordingObserver();
        using (FailPoint.On(FailPointNames.CommitBeforePublish, Hold, Path.Combine(_directory, "state.db")))
        {
            var append = store.AppendAsync(AppendRequest.Create("/g/2", "x"u8.ToArray()));
            Assert.True(reached.Wait(TimeSpan.FromSeconds(120)));
            using var watch = store.Watch(1, seen);
            await watch.CaughtUp.WaitAsync(TimeSpan.FromSeconds(120));
            Assert.Equal(before, store.CurrentRevision);
            Assert.Equal([before], seen.Changes.Select(change => change.Revision));
            released.Set();
            long after = (await append).Revision;
            await seen.WaitForAsync(after);
            Assert.Equal([before, after], seen.Changes.Select(change => change.Revision));
        }

        FailPointError Hold()
        {
            reached.Set();
            return released.Wait(TimeSpan.FromSeconds(120)) ? FailPointError.None : FailPointError.Io;
        }
    }

    [Fact]
    public async Task Append_SameKeyTwiceInOneGroup_SecondSeesTheFirst()
    {
        await using var store = Open();
        using var gate = new ManualResetEventSlim();
        var observer = new GatedObserver(gate);
        using var watch = store.Watch(store.CurrentRevision, observer);
        var first = store.AppendAsync(AppendRequest.Create("/g/first", "x"u8.ToArray()));
        Assert.True(observer.Entered.Wait(TimeSpan.FromSeconds(120)));
        var create = store.AppendAsync(AppendRequest.Create("/g/a", "x"u8.ToArray())).AsTask();
        var again = store.AppendAsync(AppendRequest.Create("/g/a", "y"u8.ToArray())).AsTask();
        gate.Set();
        await first;
        Assert.Equal(AppendOutcome.Committed, (await create).Outcome);
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, (await create).Revision), await again);
    }

    [Fact]
    public async Task Lease_Ended_DeletesTheKeyAsAChange()
    {
        await using var store = Open();
        var seen = new RecordingObserver();
        using var watch = store.Watch(store.CurrentRevision, seen);
        var kept = await store.AppendAsync(AppendRequest.Create("/l/kept", "x"u8.ToArray()));
        var leased = await store.AppendAsync(AppendRequest.Create("/l/leased", "x"u8.ToArray(), leaseSeconds: 60));
        var renewed = await store.AppendAsync(AppendRequest.Create("/l/renewed", "x"u8.ToArray(), leaseSeconds: 60));
        renewed = await store.AppendAsync(AppendRequest.Update("/l/renewed", renewed.Revision, "y"u8.ToArray(), leaseSeconds: 600));
        _clock.Advance(TimeSpan.FromSeconds(59));
        Assert.Equal(renewed.Revision, store.CurrentRevision);
        _clock.Advance(TimeSpan.FromSeconds(2));
        await seen.WaitForAsync(renewed.Revision + 1);
        Assert.Equal(new SeenChange("/l/leased", AppendKind.Delete, renewed.Revision + 1, leased.Revision, ""), seen.Changes[^1]);
        _clock.Advance(TimeSpan.FromSeconds(600));
        await seen.WaitForAsync(renewed.Revision + 2);
        Assert.Equal("/l/renewed", seen.Changes[^1].Key);
        _clock.Advance(TimeSpan.FromDays(1));
        Assert.Equal(kept.Revision, (await RangeAsync(store)).Single().Revision);
    }

    /// <summary>Each leased write looks when the next lease ends; none puts off an earlier look.</summary>
    [Fact]
    public async Task Lease_UnderAStreamOfLeasedWrites_StillEnds()
    {
        await using var store = Open();
        var seen = new RecordingObserver();
        using var watch = store.Watch(store.CurrentRevision, seen);
        await store.AppendAsync(AppendRequest.Create("/l/first", "x"u8.ToArray(), leaseSeconds: 2));
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(120));
        bool IsGone() => seen.Changes.Any(change => change is { Key: "/l/first", Kind: AppendKind.Delete });
        for (int i = 0; i < 20 && !IsGone(); i++)
        {
            _clock.Advance(TimeSpan.FromSeconds(0.5));
            await store.AppendAsync(AppendRequest.Create($"/l/{i}", "x"u8.ToArray(), leaseSeconds: 3600), deadline.Token);
        }
        // Ten seconds have passed and no write comes: whatever is due is at work by now.
        while (!IsGone() && !deadline.IsCancellationRequested) await Task.Delay(10);
        Assert.True(IsGone(), "a lease of 2 s outlived a stream of writes");
    }

    [Fact]
    public async Task Lease_AcrossARestart_StillEnds()
    {
        await using (var store = Open()) await store.AppendAsync(AppendRequest.Create("/l/leased", "x"u8.ToArray(), leaseSeconds: 60));
        await using var reopened = Open();
        var seen = new RecordingObserver();
        using var watch = reopened.Watch(reopened.CurrentRevision, seen);
        // The leases are read beside the start; time moves until they are there.
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(120));
        while (seen.Changes.Length == 0)
        {
            _clock.Advance(TimeSpan.FromSeconds(30));
            await Task.Delay(5, deadline.Token);
        }
        Assert.Equal(AppendKind.Delete, seen.Changes.Single().Kind);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    public async Task Compaction_ByItself_TakesWhatIsOlderThanAnInterval(long keep)
    {
        await using var store = Open(keep);
        long revision = (await store.AppendAsync(AppendRequest.Create("/c", "x"u8.ToArray()))).Revision;
        for (int i = 0; i < 500; i++) revision = (await store.AppendAsync(AppendRequest.Update("/c", revision, "x"u8.ToArray()))).Revision;
        _clock.Advance(TimeSpan.FromMinutes(5));
        // The first interval knows only what was there at the start: revision 1 of an empty store.
        Assert.InRange(store.CompactRevision, 0, 1);
        _clock.Advance(TimeSpan.FromMinutes(5));
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(120));
        while (store.CompactRevision < revision - keep) await Task.Delay(5, deadline.Token);
        Assert.Equal(revision - keep, store.CompactRevision);
    }

    [Fact]
    public async Task Log_UnderWritesThatNeverPause_StaysBounded()
    {
        await using var store = Open();
        byte[] value = new byte[16 * 1024];
        // 128 MiB in all, by writers that keep the next group always filled.
        await Task.WhenAll(Enumerable.Range(0, 16).Select(writer => Task.Run(async () =>
        {
            long revision = (await store.AppendAsync(AppendRequest.Create($"/w/{writer}", value))).Revision;
            for (int i = 1; i < 512; i++) revision = (await store.AppendAsync(AppendRequest.Update($"/w/{writer}", revision, value))).Revision;
        })));
        long logBytes = new FileInfo($"{_directory}/state.db-wal").Length;
        // The log's own bound of 64 MiB, and what comes in while the copying that finds it too long still runs.
        Assert.InRange(logBytes, 1, 96L << 20);
        Assert.True(new FileInfo($"{_directory}/state.db").Length > 32L << 20, "the log was never copied into the database");
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open(long keep = 0) => SqliteDatastore.Open(
        new SqliteDatastoreOptions { Path = $"{_directory}/state.db", TimeProvider = _clock, KeepRevisions = keep });

    private static async Task<SeenChange[]> RangeAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/l/"), seen);
        return seen.Changes;
    }

    /// <summary>Holds the writer at the first entry until the gate opens; notes where batches end.</summary>
    private sealed class GatedObserver(ManualResetEventSlim gate) : IDatastoreObserver
    {
        public ManualResetEventSlim Entered { get; } = new();

        public List<long> Batches { get; } = [];

        public void OnEntry(in DatastoreEntry entry)
        {
            Entered.Set();
            Assert.True(gate.Wait(TimeSpan.FromSeconds(120)));
        }

        public void OnRevision(long revision) => Batches.Add(revision);

        public void OnFailed(Exception error)
        {
        }
    }
}
