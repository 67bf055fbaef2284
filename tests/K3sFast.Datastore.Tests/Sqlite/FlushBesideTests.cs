using System.Collections.Concurrent;
using K3sFast.Datastore.FailPoints;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>Flushes beside the writer: they overlap, and nobody hears of a group before it is flushed and those before it are.</summary>
public sealed class FlushBesideTests : IDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(120);

    private readonly string _directory = $"/dev/shm/store-beside-{Guid.NewGuid():N}";

    private string DatabasePath => $"{_directory}/state.db";

    [Fact]
    public async Task Flush_UnderWay_TheNextGroupsOwnBegins_UpToFour()
    {
        await using var store = Open();
        using var flushes = new HeldFlushes(DatabasePath);
        var appends = new List<Task<AppendResult>>();
        for (int i = 0; i < FlushPace.MaxFlushes; i++)
        {
            appends.Add(AppendAsync(store, $"/b/{i}"));
            flushes.WaitFor(i);
        }
        // The fifth waits for one to end; so do the sixth and the seventh, with it.
        for (int i = 4; i < 7; i++) appends.Add(AppendAsync(store, $"/b/{i}"));
        Assert.DoesNotContain(appends, static append => append.IsCompleted);
        Assert.Equal(FlushPace.MaxFlushes, flushes.Count);
        Assert.Equal(1, store.CurrentRevision);
        flushes.End(0);
        Assert.Equal(2, (await appends[0].WaitAsync(s_deadline)).Revision);
        flushes.WaitFor(4);
        Assert.DoesNotContain(appends[1..], static append => append.IsCompleted);
        flushes.EndAll();
        Assert.Equal(Enumerable.Range(2, 7).Select(static i => (long)i), (await Task.WhenAll(appends).WaitAsync(s_deadline)).Select(static result => result.Revision));
        Assert.Equal(5, flushes.Count);
    }

    [Fact]
    public async Task Flush_EndsBeforeAnEarlierOne_CoversItsGroupToo_InOrder()
    {
        await using var store = Open();
        var seen = new RecordingObserver();
        using var watch = store.Watch(1, seen);
        using var flushes = new HeldFlushes(DatabasePath);
        var (first, second) = BeginTwo(store, flushes);
        var third = AppendAsync(store, "/b/3");
        flushes.WaitFor(2);
        Assert.Empty(seen.Changes);
        flushes.End(1);
        Assert.Equal([2L, 3L], (await Task.WhenAll(first, second).WaitAsync(s_deadline)).Select(static result => result.Revision));
        Assert.Equal(["/b/1", "/b/2"], seen.Changes.Select(static change => change.Key));
        Assert.False(third.IsCompleted);
        Assert.Equal(3, store.CurrentRevision);
        flushes.EndAll();
        await third.WaitAsync(s_deadline);
        Assert.Equal(["/b/1", "/b/2", "/b/3"], seen.Changes.Select(static change => change.Key));
    }

    [Fact]
    public async Task Conflict_DecidedOnAnUnflushedWrite_WaitsForItsFlush()
    {
        await using var store = Open();
        long before = (await AppendAsync(store, "/b/gone")).Revision;
        using var flushes = new HeldFlushes(DatabasePath);
        var create = AppendAsync(store, "/b/new");
        flushes.WaitFor(0);
        var delete = store.AppendAsync(AppendRequest.Delete("/b/gone", before)).AsTask();
        flushes.WaitFor(1);
        var conflict = AppendAsync(store, "/b/new");
        var absent = store.AppendAsync(AppendRequest.Update("/b/gone", before, "x"u8.ToArray())).AsTask();
        // Decided: the writer has taken a later one.
        var later = AppendAsync(store, "/b/later");
        flushes.WaitFor(2);
        Assert.False(conflict.IsCompleted || absent.IsCompleted);
        flushes.End(0);
        await create.WaitAsync(s_deadline);
        Assert.False(absent.IsCompleted);
        flushes.EndAll();
        await delete.WaitAsync(s_deadline);
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, before + 1), await conflict.WaitAsync(s_deadline));
        Assert.Equal(new AppendResult(AppendOutcome.NotFound, 0), await absent.WaitAsync(s_deadline));
        await later.WaitAsync(s_deadline);
    }

    [Fact]
    public async Task Unflushed_NobodyReadsIt()
    {
        await using var store = Open();
        using var flushes = new HeldFlushes(DatabasePath);
        var append = AppendAsync(store, "/b/1");
        flushes.WaitFor(0);
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/b/"), seen);
        using var watch = store.Watch(1, seen);
        await Assert.ThrowsAsync<DatastoreFutureRevisionException>(async () => await store.CompactAsync(2));
        Assert.Empty(seen.Changes);
        flushes.EndAll();
        await append.WaitAsync(s_deadline);
        Assert.Single(seen.Changes);
    }

    /// <summary>An earlier flush fails and a later one ends well: the later one may have flushed nothing of what the earlier one dropped, so both are written again.</summary>
    [Theory]
    [InlineData(FailPointError.Io)]
    [InlineData(FailPointError.NoSpace)]
    public async Task Flush_Fails_BesideOneThatEndsWell_IsMadeGood(FailPointError error)
    {
        await using var store = Open();
        var seen = new RecordingObserver();
        using var watch = store.Watch(1, seen);
        using var flushes = new HeldFlushes(DatabasePath);
        var (first, second) = BeginTwo(store, flushes);
        flushes.End(0, error);
        using var deadline = new CancellationTokenSource(s_deadline);
        while (store.ReadStatus().WriteFailure is null) await Task.Delay(5, deadline.Token);
        // The other one is waited for, and counts no more.
        Assert.False(first.IsCompleted || second.IsCompleted);
        flushes.EndAll();
        Assert.Equal([2L, 3L], (await Task.WhenAll(first, second).WaitAsync(s_deadline)).Select(static result => result.Revision));
        Assert.Equal(["/b/1", "/b/2"], seen.Changes.Select(static change => change.Key));
        // Two that were begun, and the one after writing again.
        Assert.Equal(3, flushes.Count);
        Assert.Null(store.ReadStatus().WriteFailure);
    }

    [Fact]
    public async Task Flush_FailsForGood_NothingIsShownOrLost_AndItIsThereOnceTheMediumWorks()
    {
        await using var store = Open();
        var seen = new RecordingObserver();
        using var watch = store.Watch(1, seen);
        await AppendAsync(store, "/b/0");
        using (FailPoint.Set(FailPointNames.CommitInFlush, "error(EIO)", DatabasePath))
        {
            var failure = await Assert.ThrowsAsync<DatastoreException>(() => AppendAsync(store, "/b/1").WaitAsync(s_deadline));
            Assert.Contains("not known", failure.Message);
            await Assert.ThrowsAsync<DatastoreException>(() => AppendAsync(store, "/b/2").WaitAsync(s_deadline));
            Assert.Equal(2, store.CurrentRevision);
            Assert.NotNull(store.ReadStatus().WriteFailure);
            Assert.Equal(["/b/0"], await KeysAsync(store));
        }
        // /b/1 was in the log and is there, /b/2 was not; revision 3 is /b/1's.
        Assert.Equal(4, (await AppendAsync(store, "/b/3")).Revision);
        Assert.Equal(["/b/0", "/b/1", "/b/3"], await KeysAsync(store));
        Assert.Equal([("/b/0", 2L), ("/b/1", 3L), ("/b/3", 4L)], seen.Changes.Select(static change => (change.Key, change.Revision)));
        Assert.Equal(AppendOutcome.Conflict, (await AppendAsync(store, "/b/1")).Outcome);
    }

    /// <summary>What the kernel no longer has cannot be written again: nothing is built on it.</summary>
    [Fact]
    public async Task Flush_FailsAndTheLogIsNotWhole_WritesAreRefusedAndWhatWasAcknowledgedIsThere()
    {
        await using (var store = Open())
        {
            await AppendAsync(store, "/b/0");
            using var flushes = new HeldFlushes(DatabasePath);
            long whole = new FileInfo($"{DatabasePath}-wal").Length;
            var append = AppendAsync(store, "/b/1");
            flushes.WaitFor(0);
            using (var log = File.OpenHandle($"{DatabasePath}-wal", FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) RandomAccess.Write(log, Enumerable.Repeat((byte)0x5a, 100).ToArray(), whole + 500);
            flushes.End(0, FailPointError.Io);
            flushes.EndAll();
            await Assert.ThrowsAsync<DatastoreException>(() => append.WaitAsync(s_deadline));
            Assert.Contains("lost", (await Assert.ThrowsAsync<DatastoreException>(() => AppendAsync(store, "/b/2").WaitAsync(s_deadline))).Message);
            Assert.Equal(2, store.CurrentRevision);
            Directory.CreateDirectory($"{_directory}/killed");
            // As a kill leaves it. Copied by another process: closing a file here would drop SQLite's locks on it.
            using var copy = System.Diagnostics.Process.Start("cp", [DatabasePath, $"{DatabasePath}-wal", $"{_directory}/killed"]);
            await copy.WaitForExitAsync();
        }
        await using var reopened = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/killed/state.db" });
        Assert.Equal(["/b/0"], await KeysAsync(reopened));
    }

    [Fact]
    public async Task Dispose_WithFlushesUnderWay_AnswersAll()
    {
        var store = Open();
        using var flushes = new HeldFlushes(DatabasePath);
        var (first, second) = BeginTwo(store, flushes);
        var closing = Task.Run(async () => await store.DisposeAsync());
        flushes.EndAll();
        await closing.WaitAsync(s_deadline);
        Assert.Equal([2L, 3L], (await Task.WhenAll(first, second)).Select(static result => result.Revision));
        await using var reopened = Open();
        Assert.Equal(["/b/1", "/b/2"], await KeysAsync(reopened));
    }

    /// <summary>Compaction's steps are covered by the flush of a group or by one of their own, and readers see what they are to.</summary>
    [Fact]
    public async Task Compaction_UnderWrites_EndsAndGivesBack()
    {
        await using var store = Open();
        byte[] value = new byte[8_000];
        await Task.WhenAll(Enumerable.Range(0, 8).Select(writer => Task.Run(async () =>
        {
            long revision = (await store.AppendAsync(AppendRequest.Create($"/b/{writer}", value))).Revision;
            for (int i = 0; i < 400; i++)
            {
                revision = (await store.AppendAsync(AppendRequest.Update($"/b/{writer}", revision, value))).Revision;
                if (writer == 0 && i % 100 == 99) await store.CompactAsync(revision);
            }
        })).ToArray()).WaitAsync(s_deadline);
        await store.CompactAsync(store.CurrentRevision).AsTask().WaitAsync(s_deadline);
        Assert.Equal(store.CurrentRevision, store.CompactRevision);
        Assert.Equal(8, (await KeysAsync(store)).Length);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private static Task<AppendResult> AppendAsync(SqliteDatastore store, string key) => store.AppendAsync(AppendRequest.Create(key, "x"u8.ToArray())).AsTask();

    // Two groups of one write each, whose flushes are under way.
    private static (Task<AppendResult> First, Task<AppendResult> Second) BeginTwo(SqliteDatastore store, HeldFlushes flushes)
    {
        var first = AppendAsync(store, "/b/1");
        flushes.WaitFor(0);
        var second = AppendAsync(store, "/b/2");
        flushes.WaitFor(1);
        return (first, second);
    }

    private static async Task<string[]> KeysAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/b/"), seen);
        return [.. seen.Changes.Select(static change => change.Key)];
    }

    private SqliteDatastore Open() => SqliteDatastore.Open(
        new SqliteDatastoreOptions { Path = DatabasePath, CompactInterval = TimeSpan.Zero, Pace = new FlushPace(TimeSpan.Zero, isAlwaysBeside: true) });

    /// <summary>Holds every flush until it is told how to end.</summary>
    private sealed class HeldFlushes : IDisposable
    {
        private readonly ConcurrentDictionary<int, TaskCompletionSource<FailPointError>> _ends = new();
        private readonly ConcurrentDictionary<int, TaskCompletionSource> _begun = new();
        private readonly IDisposable _hook;
        private volatile bool _isOver;
        private int _count;

        public HeldFlushes(string path) => _hook = FailPoint.On(FailPointNames.CommitInFlush, Hold, path);

        public int Count => Volatile.Read(ref _count);

        public void WaitFor(int flush) => Assert.True(_begun.GetOrAdd(flush, static _ => new()).Task.Wait(s_deadline), $"flush {flush} does not begin");

        public void End(int flush, FailPointError error = FailPointError.None) => EndOf(flush).TrySetResult(error);

        public void EndAll()
        {
            _isOver = true;
            foreach (var end in _ends.Values) end.TrySetResult(FailPointError.None);
        }

        public void Dispose()
        {
            EndAll();
            _hook.Dispose();
        }

        private TaskCompletionSource<FailPointError> EndOf(int flush) => _ends.GetOrAdd(flush, static _ => new());

        private FailPointError Hold()
        {
            int flush = Interlocked.Increment(ref _count) - 1;
            var end = EndOf(flush);
            _begun.GetOrAdd(flush, static _ => new()).TrySetResult();
            if (_isOver) end.TrySetResult(FailPointError.None);
            return end.Task.Wait(s_deadline) ? end.Task.Result : FailPointError.Io;
        }
    }
}
