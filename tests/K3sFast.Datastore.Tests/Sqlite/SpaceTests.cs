using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>Writes end before the disk does, deletions and compaction go on, and everything goes on by itself when there is room.</summary>
public sealed class SpaceTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-space-{Guid.NewGuid():N}";
    private long _free = 1L << 30;

    [Fact]
    public async Task Space_OnlyTheReserveIsLeft_DeletionsGoOn_CreatesAndUpdatesDoNot()
    {
        await using var store = Open();
        long a = (await store.AppendAsync(AppendRequest.Create("/a", "x"u8.ToArray()))).Revision;
        long b = (await store.AppendAsync(AppendRequest.Create("/b", "x"u8.ToArray()))).Revision;
        Assert.False(store.ReadStatus().IsFull);
        _free = 32L << 20;
        await UntilFullAsync(store);
        Assert.Equal(AppendOutcome.Full, (await store.AppendAsync(AppendRequest.Update("/a", a, "y"u8.ToArray()))).Outcome);
        // Who would have lost anyway is told so.
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, b), await store.AppendAsync(AppendRequest.Create("/b", "x"u8.ToArray())));
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Delete("/b", b))).Outcome);
        await store.CompactAsync(store.CurrentRevision);
        var status = store.ReadStatus();
        Assert.True(status is { IsFull: true, FreeDiskBytes: 32 << 20, ReservedDiskBytes: 32 << 20 } && status.RefusedFull >= 2, $"{status}");
        _free = 1L << 30;
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Update("/a", a, "y"u8.ToArray()))).Outcome);
        Assert.False(store.ReadStatus().IsFull);
    }

    [Fact]
    public async Task Space_OfALogThatIsStillToBeCopied_IsCounted()
    {
        await using var store = Open();
        _free = (32L << 20) + (1L << 20);
        // 2 MiB go into the log, and will be needed once more in the file.
        var results = await Task.WhenAll(Enumerable.Range(0, 64).Select(async i => await store.AppendAsync(AppendRequest.Create($"/log/{i}", new byte[32 << 10]))));
        Assert.Contains(AppendOutcome.Committed, results.Select(result => result.Outcome));
        await UntilFullAsync(store);
    }

    /// <summary>A real file system, filled until it refuses: what is deleted makes room, with nobody's help.</summary>
    [Fact]
    public async Task Space_OfASmallFileSystem_ComesBackByDeleting()
    {
        Directory.CreateDirectory(_directory);
        using var mount = TmpfsMount.TryMake(_directory, "size=24m");
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db", CompactInterval = TimeSpan.Zero });
        var revisions = new List<long>();
        for (int i = 0; i < 4000; i++)
        {
            var result = await store.AppendAsync(AppendRequest.Create($"/f/{i}", new byte[16 << 10]));
            if (result.Outcome == AppendOutcome.Full) break;
            Assert.Equal(AppendOutcome.Committed, result.Outcome);
            revisions.Add(result.Revision);
        }
        Assert.InRange(revisions.Count, 100, 3999);
        for (int i = 0; i < revisions.Count; i++) Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Delete($"/f/{i}", revisions[i]))).Outcome);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (store.ReadStatus().IsFull) await Task.Delay(20, deadline.Token);
        Assert.Equal(AppendOutcome.Committed, (await store.AppendAsync(AppendRequest.Create("/f/after", new byte[16 << 10]))).Outcome);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(
        new SqliteDatastoreOptions { Path = $"{_directory}/state.db", ReservedDiskBytes = 32L << 20, FreeDiskBytes = _ => Volatile.Read(ref _free) });

    // The file system is asked every quarter of a second.
    private static async Task UntilFullAsync(SqliteDatastore store)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        for (int i = 0; (await store.AppendAsync(AppendRequest.Create($"/until/{i}", "x"u8.ToArray()))).Outcome != AppendOutcome.Full; i++) await Task.Delay(10, deadline.Token);
    }
}
