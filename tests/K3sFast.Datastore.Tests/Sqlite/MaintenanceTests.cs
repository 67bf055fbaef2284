using K3sFast.Datastore.FailPoints;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>Compaction and vacuum: small steps, no flush of their own, a file that stays small.</summary>
public sealed class MaintenanceTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-maintenance-{Guid.NewGuid():N}";

    public MaintenanceTests() => Directory.CreateDirectory(_directory);

    private string DatabasePath => $"{_directory}/state.db";

    [Theory]
    [InlineData(200)]
    [InlineData(30_000)]
    public async Task Compaction_OfMuch_GoesInStepsOfBoundedPages(int valueBytes)
    {
        await using var store = Open();
        const int Revisions = 3000;
        await FillAsync(store, Revisions, valueBytes);
        int steps = 0;
        long most = 0, before = store.CompactRevision;
        using (FailPoint.On(FailPointNames.CompactAfterCommit, Note, DatabasePath)) await store.CompactAsync(store.CurrentRevision);
        Assert.Equal(store.CurrentRevision, store.CompactRevision);
        // A row costs its two leaves and a page for each 4 KiB of its value, and a step ends with the row that reaches the bound.
        long pagesPerRow = 3 + (valueBytes / 4096);
        Assert.InRange(most * pagesPerRow, 1, Maintenance.MaxStepPages + (2 * pagesPerRow));
        Assert.InRange(steps, Revisions * pagesPerRow / (Maintenance.MaxStepPages + pagesPerRow), Revisions);

        FailPointError Note()
        {
            steps++;
            most = Math.Max(most, store.CompactRevision - before);
            before = store.CompactRevision;
            return FailPointError.None;
        }
    }

    [Theory]
    [InlineData(FailPointNames.CompactBeforeBegin)]
    [InlineData(FailPointNames.CompactBeforeCommit)]
    public async Task Compaction_ThatFailed_IsDoneByTheNext_AndNoDeletedKeyComesBack(string point)
    {
        await using (var store = Open())
        {
            long created = (await store.AppendAsync(AppendRequest.Create("/k/a", "old"u8.ToArray()))).Revision;
            long deleted = (await store.AppendAsync(AppendRequest.Delete("/k/a", created))).Revision;
            using (FailPoint.Set(point, "error(ENOSPC)*1", DatabasePath))
                await Assert.ThrowsAsync<DatastoreException>(async () => await store.CompactAsync(deleted));
            long again = (await store.AppendAsync(AppendRequest.Create("/k/a", "new"u8.ToArray()))).Revision;
            await store.AppendAsync(AppendRequest.Delete("/k/a", again));
            await store.CompactAsync((await store.AppendAsync(AppendRequest.Create("/k/b", "x"u8.ToArray()))).Revision);
            Assert.Equal(["/k/b"], await KeysAsync(store));
        }
        await using var reopened = Open();
        Assert.Equal(["/k/b"], await KeysAsync(reopened));
    }

    private static async Task<string[]> KeysAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/k/"), seen);
        return [.. seen.Changes.Select(change => change.Key)];
    }

    [Fact]
    public async Task Compaction_Steps_AreNotFlushed_AndLetWritesPass()
    {
        await using var store = Open();
        await FillAsync(store, 2000, 200);
        int flushes = 0, steps = 0;
        using var firstStep = new ManualResetEventSlim();
        using var asked = new ManualResetEventSlim();
        using var count = FailPoint.On(FailPointNames.CommitInFlush, () => Count(ref flushes), DatabasePath);
        using var held = FailPoint.On(FailPointNames.CompactAfterCommit, Step, DatabasePath);
        // The writer itself shows a watch what it has committed, before it goes on.
        var shown = new Moment(() => Volatile.Read(ref steps));
        using var watch = store.Watch(store.CurrentRevision, shown);
        var compaction = store.CompactAsync(store.CurrentRevision).AsTask();
        Assert.True(firstStep.Wait(TimeSpan.FromSeconds(60)));
        // Asked for in the middle of it; answered before it has ended.
        var meanwhile = store.AppendAsync(AppendRequest.Create("/meanwhile", "x"u8.ToArray())).AsTask();
        asked.Set();
        Assert.Equal(AppendOutcome.Committed, (await meanwhile).Outcome);
        await compaction;
        Assert.True(steps > shown.Value, $"the write waited for all {steps} steps");
        // Its own, and one whenever the log starts anew, which it does after many steps.
        Assert.InRange(flushes, 1, 2 + (steps / 4));

        FailPointError Step()
        {
            Interlocked.Increment(ref steps);
            firstStep.Set();
            // No further step before the write is there.
            return asked.Wait(TimeSpan.FromSeconds(60)) ? FailPointError.None : FailPointError.Io;
        }
    }

    [Fact]
    public void StepBound_FollowsTheTimeThatStepsTake()
    {
        Assert.Equal(32, Maintenance.NextStepPages(64, Maintenance.MinStepPages, TimeSpan.FromMilliseconds(1.5), isFull: true));
        Assert.Equal(64, Maintenance.NextStepPages(64, Maintenance.MinStepPages, TimeSpan.FromMilliseconds(0.7), isFull: true));
        Assert.Equal(80, Maintenance.NextStepPages(64, Maintenance.MinStepPages, TimeSpan.FromMilliseconds(0.1), isFull: true));
        Assert.Equal(Maintenance.MinStepPages, Maintenance.NextStepPages(Maintenance.MinStepPages, Maintenance.MinStepPages, TimeSpan.FromSeconds(1), isFull: true));
        // A step that had little to do.
        Assert.Equal(64, Maintenance.NextStepPages(64, Maintenance.MinStepPages, TimeSpan.FromMilliseconds(0.1), isFull: false));
        Assert.Equal(Maintenance.MaxStepPages, Maintenance.NextStepPages(Maintenance.MaxStepPages, Maintenance.MinStepPages, TimeSpan.Zero, isFull: true));
    }

    [Fact]
    public void UnflushedBound_FollowsTheTimeThatFlushesTake()
    {
        Assert.Equal(128, Maintenance.NextUnflushedPages(256, TimeSpan.FromMilliseconds(5)));
        Assert.Equal(256, Maintenance.NextUnflushedPages(256, TimeSpan.FromMilliseconds(3)));
        Assert.Equal(320, Maintenance.NextUnflushedPages(256, TimeSpan.FromMilliseconds(1)));
        Assert.Equal(Maintenance.MinUnflushedPages, Maintenance.NextUnflushedPages(Maintenance.MinUnflushedPages, TimeSpan.FromSeconds(1)));
        Assert.Equal(Maintenance.MaxUnflushedPages, Maintenance.NextUnflushedPages(Maintenance.MaxUnflushedPages, TimeSpan.Zero));
    }

    /// <summary>Else the next write's flush would have to carry all of it.</summary>
    [Fact]
    public async Task Compaction_OfMuchWithoutWrites_IsFlushedBeforeMuchIsWritten()
    {
        await using var store = Open();
        await FillAsync(store, 12_000, 200);
        long before = store.ReadStatus().WrittenPages, first = 0;
        using (FailPoint.On(FailPointNames.CommitInFlush, Flushed, DatabasePath)) await store.CompactAsync(store.CurrentRevision);
        // A step's pages are noted after it: what was written before the first flush, and one step at most.
        Assert.InRange(first, 1, Maintenance.FirstUnflushedPages + Maintenance.MaxStepPages);
        Assert.True(store.ReadStatus().WrittenPages - before > 2 * (Maintenance.FirstUnflushedPages + Maintenance.MaxStepPages), "too little is written for the bound to mean anything");

        FailPointError Flushed()
        {
            if (first == 0) first = store.ReadStatus().WrittenPages - before;
            return FailPointError.None;
        }
    }

    /// <summary>Four times what lives in it is written; the file must not keep it.</summary>
    [Fact]
    public async Task File_UnderChurn_StaysBelowTwiceWhatLivesInItAnd64MiB()
    {
        await using var store = Open();
        var random = new Random(11);
        const int Keys = 16_000;
        var revisions = new long[Keys];
        var sizes = new int[Keys];
        for (int round = 0; round < 5; round++)
        {
            // Values between 0.1 and 6 KB, three keys in four, in an order by chance.
            int[] order = [.. Enumerable.Range(0, Keys)];
            random.Shuffle(order);
            foreach (int[] some in order.Take(Keys * 3 / 4).Chunk(500))
            {
                await Task.WhenAll(some.Select(async i =>
                {
                    sizes[i] = 100 + random.Next(5900);
                    byte[] value = new byte[sizes[i]];
                    var request = revisions[i] == 0 ? AppendRequest.Create($"/churn/{i}", value) : AppendRequest.Update($"/churn/{i}", revisions[i], value);
                    revisions[i] = (await store.AppendAsync(request)).Revision;
                }));
            }
            await store.CompactAsync(store.CurrentRevision);
        }
        long live = sizes.Sum(size => (long)size);
        long bound = (2 * live) + (64L << 20);
        Assert.True(live * 4 > bound, "too little is written for the bound to mean anything");
        await WaitAsync(() => store.ReadStatus() is { } status && status.FileBytes <= bound && status.UnusedBytes <= status.FileBytes / 4);
        // From 64 MiB on the writer waits for the copying; that it has come so far is seen when a checkpoint ends, and meanwhile writes go on.
        Assert.InRange(store.ReadStatus().LogBytes, 0, 128L << 20);
        Assert.True(store.ReadStatus().VacuumedPages > 0);
    }

    [Fact]
    public async Task Vacuum_AfterAGreatDeletion_GivesTheFileBack()
    {
        await using var store = Open();
        var revisions = await Task.WhenAll(Enumerable.Range(0, 2000).Select(async i => (await store.AppendAsync(AppendRequest.Create($"/big/{i}", new byte[20_000]))).Revision));
        await Task.WhenAll(Enumerable.Range(0, 2000).Select(async i => await store.AppendAsync(AppendRequest.Delete($"/big/{i}", revisions[i]))));
        await store.CompactAsync(store.CurrentRevision);
        await WaitAsync(() => store.ReadStatus().VacuumedPages > 5000);
        // The file ends where the log that says so is copied: writes go on, and so does that.
        long revision = (await store.AppendAsync(AppendRequest.Create("/small", new byte[100]))).Revision;
        await WaitAsync(() =>
        {
            for (int i = 0; i < 200; i++) revision = store.AppendAsync(AppendRequest.Update("/small", revision, new byte[100])).AsTask().GetAwaiter().GetResult().Revision;
            return store.ReadStatus().FileBytes < 16L << 20;
        });
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath, CompactInterval = TimeSpan.Zero });

    private static async Task FillAsync(SqliteDatastore store, int revisions, int valueBytes)
    {
        byte[] value = new byte[valueBytes];
        var keys = await Task.WhenAll(Enumerable.Range(0, 50).Select(async i => (await store.AppendAsync(AppendRequest.Create($"/c/{i}", value))).Revision));
        for (int round = 1; round < revisions / 50; round++)
        {
            keys = await Task.WhenAll(keys.Select(async (revision, i) => (await store.AppendAsync(AppendRequest.Update($"/c/{i}", revision, value))).Revision));
        }
    }

    /// <summary>Notes a figure at the moment when an entry is shown.</summary>
    private sealed class Moment(Func<int> read) : IDatastoreObserver
    {
        public int Value { get; private set; } = int.MaxValue;

        public void OnEntry(in DatastoreEntry entry) => Value = read();

        public void OnRevision(long revision)
        {
        }

        public void OnFailed(Exception error)
        {
        }
    }

    private static FailPointError Count(ref int counter)
    {
        Interlocked.Increment(ref counter);
        return FailPointError.None;
    }

    private static async Task WaitAsync(Func<bool> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!condition()) await Task.Delay(20, deadline.Token);
    }
}
