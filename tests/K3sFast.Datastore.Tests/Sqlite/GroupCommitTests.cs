using System.Diagnostics;
using K3sFast.Datastore.FailPoints;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>Flushed by the writer (<see cref="FlushBesideTests"/> else): one flush for all that wait, no answer before it, no wait without need, no revision twice.</summary>
public sealed class GroupCommitTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-group-{Guid.NewGuid():N}";

    private string DatabasePath => $"{_directory}/state.db";

    [Fact]
    public async Task Flush_UnderWay_TheNextGroupGathers_AndIsOneFlush()
    {
        await using var store = Open();
        using var flush = new HeldFlush(DatabasePath);
        var first = store.AppendAsync(AppendRequest.Create("/g/first", "x"u8.ToArray())).AsTask();
        flush.WaitUntilReached();
        var queued = Enumerable.Range(0, 200).Select(i => store.AppendAsync(AppendRequest.Create($"/g/{i}", "x"u8.ToArray())).AsTask()).ToArray();
        // Written into the log, and not answered: the flush is not over.
        Assert.False(first.IsCompleted);
        Assert.Equal(1, store.CurrentRevision);
        flush.Release();
        var results = await Task.WhenAll(queued);
        Assert.Equal(Enumerable.Range(3, 200).Select(i => (long)i), results.Select(result => result.Revision));
        Assert.Equal(2, flush.Reached);
    }

    [Fact]
    public async Task Flush_UnderWay_NobodyReadsWhatItIsToMakeDurable()
    {
        await using var store = Open();
        using var flush = new HeldFlush(DatabasePath);
        var append = store.AppendAsync(AppendRequest.Create("/g/a", "x"u8.ToArray())).AsTask();
        flush.WaitUntilReached();
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/"), seen);
        using var watch = store.Watch(1, seen);
        Assert.Empty(seen.Changes);
        flush.Release();
        await append;
        Assert.Single(seen.Changes);
    }

    /// <summary>The clock stands still: nothing that a write waits for is a timer.</summary>
    [Fact]
    public async Task Append_ClockStandsStill_IsAnswered()
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath, TimeProvider = new FakeTimeProvider() });
        for (int i = 0; i < 20; i++) Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Create($"/g/{i}", "x"u8.ToArray()))).Outcome);
    }

    [Fact]
    public async Task Queue_AtItsBound_RefusesTheNextAndForgetsNone()
    {
        await using var store = Open(new SqliteDatastoreOptions { Path = DatabasePath, FlushBesideFrom = TimeSpan.MaxValue, MaxQueuedAppends = 10 });
        using var flush = new HeldFlush(DatabasePath);
        var first = store.AppendAsync(AppendRequest.Create("/q/first", "x"u8.ToArray())).AsTask();
        flush.WaitUntilReached();
        var queued = Enumerable.Range(0, 10).Select(i => store.AppendAsync(AppendRequest.Create($"/q/{i}", "x"u8.ToArray())).AsTask()).ToArray();
        var refusal = await Assert.ThrowsAsync<DatastoreBusyException>(async () => await store.AppendAsync(AppendRequest.Create("/q/more", "x"u8.ToArray())));
        Assert.Contains("10 writes are waiting", refusal.Message);
        Assert.Equal((10, 1), (store.ReadStatus().QueuedAppends, store.ReadStatus().RefusedBusy));
        flush.Release();
        await first;
        Assert.All(await Task.WhenAll(queued), result => Assert.Equal(AppendOutcome.Committed, result.Outcome));
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Create("/q/more", "x"u8.ToArray()))).Outcome);
    }

    [Fact]
    public async Task Group_ConflictsInside_AreDecidedInTheOrderOfArrival()
    {
        await using var store = Open();
        long start = (await store.AppendAsync(AppendRequest.Create("/c/a", "0"u8.ToArray()))).Revision;
        using var flush = new HeldFlush(DatabasePath);
        var gate = store.AppendAsync(AppendRequest.Create("/c/gate", "x"u8.ToArray())).AsTask();
        flush.WaitUntilReached();
        Task<AppendResult>[] group =
        [
            store.AppendAsync(AppendRequest.Update("/c/a", start, "1"u8.ToArray())).AsTask(),
            store.AppendAsync(AppendRequest.Update("/c/a", start, "late"u8.ToArray())).AsTask(),
            store.AppendAsync(AppendRequest.Update("/c/a", start + 2, "2"u8.ToArray())).AsTask(),
            store.AppendAsync(AppendRequest.Delete("/c/a", start + 3)).AsTask(),
            store.AppendAsync(AppendRequest.Update("/c/a", start + 3, "gone"u8.ToArray())).AsTask(),
            store.AppendAsync(AppendRequest.Create("/c/a", "3"u8.ToArray())).AsTask(),
        ];
        flush.Release();
        await gate;
        Assert.Equal(
            [
                new(AppendOutcome.Committed, start + 2), new(AppendOutcome.Conflict, start + 2), new(AppendOutcome.Committed, start + 3),
                new(AppendOutcome.Committed, start + 4), new(AppendOutcome.NotFound, 0), new(AppendOutcome.Committed, start + 5),
            ],
            await Task.WhenAll(group));
    }

    /// <summary>The newest rows are deletions, compaction takes them, the process dies: what they were numbered must not come again.</summary>
    [Fact]
    public async Task Revisions_NewestCompactedAwayAndReopenedWithoutAnEnd_AreNotUsedAgain()
    {
        long newest;
        await using (var store = Open())
        {
            var created = await store.AppendAsync(AppendRequest.Create("/r/a", "x"u8.ToArray()));
            newest = (await store.AppendAsync(AppendRequest.Delete("/r/a", created.Revision))).Revision;
            await store.CompactAsync(newest);
            // What a kill leaves: the files as they are now, with a log and a sequence that runs ahead.
            Directory.CreateDirectory($"{_directory}/killed");
            // Copied by another process: closing a file here would drop SQLite's locks on it.
            using var copy = Process.Start("cp", [DatabasePath, $"{DatabasePath}-wal", $"{_directory}/killed"]);
            await copy.WaitForExitAsync();
            Assert.Equal(0, copy.ExitCode);
        }
        await using var reopened = Open(new SqliteDatastoreOptions { Path = $"{_directory}/killed/state.db" });
        Assert.Equal(newest, reopened.CurrentRevision);
        Assert.Equal(new AppendResult(AppendOutcome.Committed, newest + 1), await reopened.AppendAsync(AppendRequest.Create("/r/b", "x"u8.ToArray())));
    }

    /// <summary>A step of compaction is not flushed by itself. When the next flush fails, its bytes may be lost without a word: they are written again.</summary>
    [Fact]
    public async Task Flush_FailedAfterAStepOfCompaction_NextGroupMakesTheLogSure()
    {
        await using var store = Open();
        long revision = (await store.AppendAsync(AppendRequest.Create("/f/a", "x"u8.ToArray()))).Revision;
        for (int i = 0; i < 20; i++) revision = (await store.AppendAsync(AppendRequest.Update("/f/a", revision, "x"u8.ToArray()))).Revision;
        await store.CompactAsync(revision);
        using (FailPoint.Set(FailPointNames.CommitInFlush, "error(EIO)*1", DatabasePath))
        {
            await Assert.ThrowsAsync<DatastoreException>(async () => await store.AppendAsync(AppendRequest.Update("/f/a", revision, "y"u8.ToArray())));
        }
        Assert.Equal(new AppendResult(AppendOutcome.Committed, revision + 1), await store.AppendAsync(AppendRequest.Update("/f/a", revision, "z"u8.ToArray())));
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/f/"), seen);
        Assert.Equal("z", seen.Changes.Single().Value);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open(SqliteDatastoreOptions? options = null) => SqliteDatastore.Open(options ?? new SqliteDatastoreOptions { Path = DatabasePath, FlushBesideFrom = TimeSpan.MaxValue });

    /// <summary>Holds the first flush until it is released, and counts them.</summary>
    private sealed class HeldFlush : IDisposable
    {
        private readonly ManualResetEventSlim _reached = new();
        private readonly ManualResetEventSlim _released = new();
        private readonly IDisposable _hook;
        private int _count;

        public HeldFlush(string path) => _hook = FailPoint.On(FailPointNames.CommitInFlush, Hold, path);

        public int Reached => Volatile.Read(ref _count);

        public void WaitUntilReached() => Assert.True(_reached.Wait(TimeSpan.FromSeconds(60)));

        public void Release() => _released.Set();

        public void Dispose()
        {
            _released.Set();
            _hook.Dispose();
        }

        private FailPointError Hold()
        {
            Interlocked.Increment(ref _count);
            _reached.Set();
            return _released.Wait(TimeSpan.FromSeconds(60)) ? FailPointError.None : FailPointError.Io;
        }
    }
}
