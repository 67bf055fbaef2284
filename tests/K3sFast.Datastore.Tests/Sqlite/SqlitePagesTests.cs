using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>What a change costs on disk, in pages written: counts, not times.</summary>
public sealed class SqlitePagesTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-pages-{Guid.NewGuid():N}";

    [Fact]
    public async Task Append_Renewal_WritesTwoPages()
    {
        await using var store = Open();
        byte[] lease = new byte[450];
        long revision = (await store.AppendAsync(AppendRequest.Create("/registry/leases/kube-node-lease/a", lease))).Revision;
        long before = await PagesAsync(store);
        const int Renewals = 640;
        for (int i = 0; i < Renewals; i++) revision = (await store.AppendAsync(AppendRequest.Update("/registry/leases/kube-node-lease/a", revision, lease))).Revision;
        double pages = (double)(await PagesAsync(store) - before) / Renewals;
        // The table's leaf and the index's. Every 8th renewal begins a new leaf, every 64th moves the sequence on.
        Assert.InRange(pages, 2, 2.6);
    }

    /// <summary>kine's own layout and statements, for comparison: what the test above would be without the choices made here.</summary>
    [Fact]
    public void Append_RenewalInKinesLayout_WritesEight()
    {
        Directory.CreateDirectory(_directory);
        using var kine = SqliteConnection.Open($"{_directory}/kine.db", 0);
        kine.Execute("PRAGMA journal_mode = WAL"u8);
        KineReader.LayOut(kine);
        for (int i = 2; i < 100; i++) KineReader.Insert(kine, "/registry/leases/kube-node-lease/a", created: i == 2, deleted: false, 2, i - 1, new byte[450], new byte[450]);
        kine.TakeWrittenPages();
        for (int i = 100; i < 200; i++) KineReader.Insert(kine, "/registry/leases/kube-node-lease/a", created: false, deleted: false, 2, i - 1, new byte[450], new byte[450]);
        Assert.InRange(kine.TakeWrittenPages() / 100.0, 8, 10);
    }

    [Fact]
    public async Task Append_RefusedByConflict_WritesNothing()
    {
        await using var store = Open();
        await store.AppendAsync(AppendRequest.Create("/a", new byte[10]));
        long before = await PagesAsync(store);
        for (int i = 0; i < 50; i++) Assert.Equal(AppendOutcome.Conflict, (await store.AppendAsync(AppendRequest.Create("/a", new byte[10]))).Outcome);
        Assert.Equal(before, await PagesAsync(store));
    }

    [Fact]
    public async Task Open_AFileOfOurs_WritesNothing()
    {
        await using (var store = Open()) await store.AppendAsync(AppendRequest.Create("/a", new byte[10]));
        byte[] before = await File.ReadAllBytesAsync($"{_directory}/state.db");
        await Open().DisposeAsync();
        Assert.Equal(before, await File.ReadAllBytesAsync($"{_directory}/state.db"));
    }

    [Fact]
    public async Task Sequence_AfterAnOrderlyEnd_IsTheNewestRevision()
    {
        long revision;
        await using (var store = Open()) revision = (await store.AppendAsync(AppendRequest.Create("/a", new byte[10]))).Revision;
        using var reader = SqliteConnection.Open($"{_directory}/state.db", 0);
        Assert.Equal(revision, reader.QueryInt64("SELECT seq FROM sqlite_sequence WHERE name = 'kine'"u8));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });

    // A group's pages are counted after its appends are answered: the next group comes after that.
    private static async Task<long> PagesAsync(SqliteDatastore store)
    {
        await store.AppendAsync(AppendRequest.Delete("/nothing", 1));
        await store.AppendAsync(AppendRequest.Delete("/nothing", 1));
        return store.ReadStatus().WrittenPages;
    }
}
