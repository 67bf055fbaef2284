using System.Diagnostics;
using K3sFast.Datastore.FailPoints;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>How the log begins anew: nobody who writes waits for its head's flush, and at no moment is anything in it but in the database alone, or in both.</summary>
public sealed class LogSealTests : IDisposable
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(120);

    private readonly string _directory = $"/dev/shm/store-seal-{Guid.NewGuid():N}";
    private readonly List<string> _acknowledged = [];
    private int _written;

    private string DatabasePath => $"{_directory}/state.db";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Write_WhileTheSealIsFlushed_IsAnsweredWithoutIt_AndIsInTheLog(bool isBeside)
    {
        await using var store = Open(isBeside);
        using var seal = new Gate(FailPointNames.LogInSeal, DatabasePath);
        await WriteUntilAsync(store, () => seal.IsReached);
        // The seal's flush hangs.
        await WriteAsync(store).WaitAsync(s_deadline);
        Assert.False(LogSeal.IsSeal(Head()));
        await AssertKilledStoreHasAllAsync();
        seal.Open();
        await WriteAsync(store).WaitAsync(s_deadline);
        await AssertKilledStoreHasAllAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task FirstWrite_IntoASealedLog_BeginsItAnew_WithItsOwnFlushAlone(bool isBeside)
    {
        await using var store = Open(isBeside);
        int seals = 0, flushes = 0;
        using var sealing = FailPoint.On(FailPointNames.LogAfterSeal, () => Count(ref seals), DatabasePath);
        using var flushing = FailPoint.On(FailPointNames.CommitInFlush, () => Count(ref flushes), DatabasePath);
        for (byte[] before = [], now = []; before.AsSpan().SequenceEqual(now);)
        {
            // A write that comes before the writer has heard of the seal adds to the old log.
            int seen = Volatile.Read(ref seals);
            before = now = await WriteUntilAsync(store, () => Volatile.Read(ref seals) > seen);
            flushes = 0;
            await WriteAsync(store).WaitAsync(s_deadline);
            now = Head();
        }
        Assert.Equal(1, flushes);
        await AssertKilledStoreHasAllAsync();
    }

    /// <summary>SQLite adds to a log that somebody still reads, whatever it was asked for.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task FirstWrite_IntoASealedLogThatIsStillRead_PutsItsHeadBack(bool isBeside)
    {
        await using var store = Open(isBeside);
        using var reader = SqliteConnection.Open(DatabasePath, busyTimeoutMs: 5_000);
        int seals = 0;
        using var reading = FailPoint.On(FailPointNames.CheckpointBefore, ReadAnew, DatabasePath);
        using var sealing = FailPoint.On(FailPointNames.LogAfterSeal, () => Count(ref seals), DatabasePath);
        byte[] before = await WriteUntilAsync(store, () => Volatile.Read(ref seals) > 0);
        for (int i = 0; i < 5; i++) await WriteAsync(store).WaitAsync(s_deadline);
        Assert.Equal(before, Head());
        await AssertKilledStoreHasAllAsync();

        FailPointError ReadAnew()
        {
            if (reader.IsInTransaction) reader.Execute("ROLLBACK"u8);
            reader.Execute("BEGIN"u8);
            reader.Execute("SELECT count(*) FROM kine"u8);
            return FailPointError.None;
        }
    }

    [Theory]
    [InlineData(FailPointNames.LogBeforeSeal)]
    [InlineData(FailPointNames.LogInSeal)]
    public async Task Seal_Fails_TheLogGoesOn_AndIsSealedAnotherTime(string point)
    {
        await using var store = Open(isBeside: false);
        int failures = 0, seals = 0;
        using var failing = FailPoint.On(point, () => Interlocked.Increment(ref failures) == 1 ? FailPointError.Io : FailPointError.None, DatabasePath);
        using var sealing = FailPoint.On(FailPointNames.LogAfterSeal, () => Count(ref seals), DatabasePath);
        await WriteUntilAsync(store, () => Volatile.Read(ref failures) > 0);
        await WriteAsync(store).WaitAsync(s_deadline);
        await AssertKilledStoreHasAllAsync();
        await WriteUntilAsync(store, () => Volatile.Read(ref seals) > 0);
    }

    /// <summary>A power cut leaves any part of what the first transaction wrote, and an older note of what was flushed.</summary>
    [Fact]
    public async Task SealedLog_WithFramesTorn_IsOpened_AndNothingIsMissing()
    {
        await using (var store = Open(isBeside: false))
        {
            int seals = 0;
            using var sealing = FailPoint.On(FailPointNames.LogAfterSeal, () => Count(ref seals), DatabasePath);
            await WriteAsync(store);
            File.Copy(FlushMark.PathOf(DatabasePath), $"{_directory}/old-note");
            // A write that came meanwhile has lifted it.
            await WriteUntilAsync(store, () => Volatile.Read(ref seals) > 0 && LogSeal.IsSeal(Head()));
            await CopyAsync("torn");
        }
        using (var log = File.OpenHandle($"{_directory}/torn/state.db-wal", FileMode.Open, FileAccess.Write))
        {
            // A sector in the middle of the 201st frame.
            RandomAccess.Write(log, Enumerable.Repeat((byte)0x5a, 512).ToArray(), 32 + (200 * 4120) + 1024);
        }
        File.Copy($"{_directory}/old-note", FlushMark.PathOf($"{_directory}/torn/state.db"), overwrite: true);
        await using var torn = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/torn/state.db" });
        Assert.Equal(_acknowledged, await KeysAsync(torn));
    }

    /// <summary>Writers that never pause: the log ends all the same.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Log_UnderWritesThatNeverPause_BeginsAnew(bool isBeside)
    {
        const int MaxLogPages = 1500, Holds = 3;
        await using var store = Open(isBeside, MaxLogPages);
        long longest = 0;
        using var deadline = new CancellationTokenSource(s_deadline);
        await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(async () =>
        {
            while (store.ReadStatus().LogWaitSeconds.Counts.Sum() < Holds)
            {
                deadline.Token.ThrowIfCancellationRequested();
                await WriteAsync(store);
                longest = Math.Max(longest, new FileInfo($"{DatabasePath}-wal").Length);
            }
        })));
        // Holding back begins at the end of a checkpoint: until then it grows by what eight writers bring.
        Assert.InRange(longest, 1, 32L * MaxLogPages * 4120);
        await AssertKilledStoreHasAllAsync();
    }

    /// <summary>A write waits for a step's work, never for a flush of maintenance: the writer's thread does none.</summary>
    [Fact]
    public async Task Compaction_FlushesNothingOnTheWritersThread()
    {
        await using var store = Open(isBeside: false);
        for (int i = 0; i < 10; i++) await Task.WhenAll(Enumerable.Range(0, 400).Select(_ => WriteAsync(store, 200)));
        int seals = 0, flushes = 0, byWriter = 0;
        using var sealing = FailPoint.On(FailPointNames.LogAfterSeal, () => Count(ref seals), DatabasePath);
        using var flushing = FailPoint.On(FailPointNames.CommitInFlush, Note, DatabasePath);
        await DeleteAllAsync(store);
        byWriter = flushes = 0;
        await store.CompactAsync(store.CurrentRevision).AsTask().WaitAsync(s_deadline);
        Assert.True(flushes > 0 && seals > 0, $"{flushes} flushes, {seals} new beginnings of the log: too little is written for this to mean anything");
        Assert.Equal(0, byWriter);

        FailPointError Note()
        {
            Interlocked.Increment(ref flushes);
            if (Thread.CurrentThread.Name == "datastore-writer") Interlocked.Increment(ref byWriter);
            return FailPointError.None;
        }
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    // Flushes of the writer's own, or all beside it, whatever this machine's take.
    private SqliteDatastore Open(bool isBeside, int maxLogPages = 16 * 1024) => SqliteDatastore.Open(new SqliteDatastoreOptions
    {
        Path = DatabasePath,
        CompactInterval = TimeSpan.Zero,
        MaxLogPages = maxLogPages,
        Pace = new FlushPace(isBeside ? TimeSpan.Zero : TimeSpan.FromHours(1), isAlwaysBeside: isBeside),
    });

    private async Task WriteAsync(SqliteDatastore store, int bytes = 200_000)
    {
        string key = $"/s/{Interlocked.Increment(ref _written):d6}";
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Create(key, new byte[bytes]))).Outcome);
        lock (_acknowledged) _acknowledged.Add(key);
    }

    /// <summary>Writes with pauses until something has happened; returns the log's head before the last write.</summary>
    private async Task<byte[]> WriteUntilAsync(SqliteDatastore store, Func<bool> hasHappened)
    {
        using var deadline = new CancellationTokenSource(s_deadline);
        var head = Array.Empty<byte>();
        while (!hasHappened())
        {
            if (Head() is var now && !LogSeal.IsSeal(now)) head = now;
            await WriteAsync(store);
            for (int i = 0; i < 10 && !hasHappened(); i++) await Task.Delay(1, deadline.Token);
        }
        return head;
    }

    private async Task DeleteAllAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/s/"), seen);
        await Task.WhenAll(seen.Changes.Select(async change => await store.AppendAsync(AppendRequest.Delete(change.Key, change.Revision))));
    }

    private byte[] Head()
    {
        byte[] head = new byte[32];
        using var log = File.OpenHandle($"{DatabasePath}-wal", FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        RandomAccess.Read(log, head, 0);
        return head;
    }

    /// <summary>By another process: closing the database here would drop SQLite's locks on it.</summary>
    private async Task CopyAsync(string to)
    {
        Directory.CreateDirectory($"{_directory}/{to}");
        using var copy = Process.Start("cp", [DatabasePath, $"{DatabasePath}-wal", FlushMark.PathOf(DatabasePath), $"{_directory}/{to}"]);
        await copy.WaitForExitAsync();
    }

    /// <summary>What a kill would leave now is opened, and has what was acknowledged.</summary>
    private async Task AssertKilledStoreHasAllAsync()
    {
        string name = $"killed-{Guid.NewGuid():N}";
        await CopyAsync(name);
        await using var killed = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/{name}/state.db" });
        Assert.Equal(_acknowledged.Order(StringComparer.Ordinal), await KeysAsync(killed));
    }

    private static async Task<string[]> KeysAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/s/"), seen);
        return [.. seen.Changes.Select(static change => change.Key)];
    }

    private static FailPointError Count(ref int counter)
    {
        Interlocked.Increment(ref counter);
        return FailPointError.None;
    }

    /// <summary>Holds whoever reaches a point until it is opened.</summary>
    private sealed class Gate : IDisposable
    {
        private readonly ManualResetEventSlim _open = new();
        private readonly IDisposable _hook;
        private volatile bool _isReached;

        public Gate(string point, string path) => _hook = FailPoint.On(
            point,
            () =>
            {
                _isReached = true;
                return _open.Wait(s_deadline) ? FailPointError.None : FailPointError.Io;
            },
            path);

        public bool IsReached => _isReached;

        public void Open() => _open.Set();

        public void Dispose()
        {
            _hook.Dispose();
            _open.Set();
        }
    }
}
