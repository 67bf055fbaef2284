using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>A file goes from k3s to us and back, and each goes on where the other stopped.</summary>
public sealed class KineInteropTests : IDisposable
{
    private readonly string _directory = $"/tmp/store-kine-{Guid.NewGuid():N}";

    public KineInteropTests() => Directory.CreateDirectory(_directory);

    private string DatabasePath => Path.Combine(_directory, "state.db");

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Open_FileOfK3s_ServesItAndGoesOn(bool isOld)
    {
        using (var kine = OpenKine())
        {
            KineReader.LayOut(kine, isOld);
            KineReader.Insert(kine, "compact_rev_key", false, true, 0, 0, [], null);
            KineReader.Insert(kine, "/registry/health", true, false, 0, 0, Bytes("{\"health\":\"true\"}"), null);
            KineReader.Insert(kine, "gap-3", false, true, 0, 0, null, null);
            KineReader.Insert(kine, "/registry/pods/a", true, false, 0, 0, Bytes("k8s\0pod"), null);
            KineReader.Insert(kine, "/registry/pods/b", true, false, 0, 0, Bytes("b1"), null);
            KineReader.Insert(kine, "/registry/pods/a", false, false, 4, 4, Bytes("a2"), Bytes("k8s\0pod"));
            KineReader.Insert(kine, "/registry/pods/b", false, true, 5, 5, Bytes("b1"), Bytes("b1"));
            KineReader.Insert(kine, "/registry/events/e", true, false, 0, 0, Bytes("e1"), null, lease: 3600);
            KineReader.Insert(kine, "/registry/pods/b", true, false, 0, 7, Bytes("b2"), Bytes("b1"));
            KineReader.Compact(kine, 5);
        }
        await using var store = Open();
        Assert.Equal((9, 5), (store.CurrentRevision, store.CompactRevision));
        Assert.Equal(
            ["/registry/events/e 8/8 Create e1", "/registry/health 2/2 Create {\"health\":\"true\"}", "/registry/pods/a 6/4 Update a2", "/registry/pods/b 9/9 Create b2"],
            (await RangeAsync(store)).Select(change => $"{change.Key} {change.Revision}/{change.CreateRevision} {change.Kind} {change.Value}"));
        var history = new RecordingObserver();
        using (var watch = store.Watch(5, history)) await watch.CaughtUp.WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal([AppendKind.Update, AppendKind.Delete, AppendKind.Create, AppendKind.Create], history.Changes.Select(change => change.Kind));
        Assert.Equal(new AppendResult(AppendOutcome.Committed, 10), await store.AppendAsync(AppendRequest.Update("/registry/pods/a", 6, Bytes("a3"))));
        Assert.Equal(new AppendResult(AppendOutcome.Committed, 11), await store.AppendAsync(AppendRequest.Delete("/registry/pods/b", 9)));
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, 2), await store.AppendAsync(AppendRequest.Create("/registry/health", Bytes("x"))));
    }

    /// <summary>k3s of before there was a compaction row; and values stored as text by a tool.</summary>
    [Fact]
    public async Task Open_FileWithoutCompactionRow_GetsOne()
    {
        using (var kine = OpenKine())
        {
            KineReader.LayOut(kine, isOld: true);
            KineReader.Insert(kine, "/registry/a", true, false, 0, 0, Bytes("a1"), null);
            KineReader.Run(kine, "INSERT INTO kine(name, created, deleted, create_revision, prev_revision, lease, value) VALUES('/registry/b', 1, 0, 0, 0, 0, 'text')");
        }
        await using var store = Open();
        Assert.Equal(["/registry/a=a1", "/registry/b=text"], (await RangeAsync(store)).Select(change => $"{change.Key}={change.Value}"));
        Assert.Equal(0, store.CompactRevision);
        await store.CompactAsync(store.CurrentRevision);
        Assert.Equal(store.CurrentRevision, store.CompactRevision);
    }

    [Fact]
    public async Task Open_FileOfK3s_CanShrinkAfterwards()
    {
        using (var kine = OpenKine())
        {
            KineReader.LayOut(kine);
            KineReader.Insert(kine, "/registry/a", true, false, 0, 0, Bytes("a1"), null);
        }
        await Open().DisposeAsync();
        using var reader = SqliteConnection.Open(DatabasePath, 0);
        Assert.Equal(2, reader.QueryInt64("PRAGMA auto_vacuum"u8));
        Assert.Equal("a1", reader.QueryText("SELECT value FROM kine WHERE id = 1"u8));
    }

    [Fact]
    public async Task K3s_OpensOurs_ListsWatchesCountsCompactsAndWrites()
    {
        long a, b, gone;
        await using (var store = Open())
        {
            a = (await store.AppendAsync(AppendRequest.Create("/registry/pods/a", Bytes("a1")))).Revision;
            b = (await store.AppendAsync(AppendRequest.Create("/registry/pods/b", Bytes("b1"), leaseSeconds: 60))).Revision;
            a = (await store.AppendAsync(AppendRequest.Update("/registry/pods/a", a, Bytes("a2")))).Revision;
            gone = (await store.AppendAsync(AppendRequest.Delete("/registry/pods/b", b))).Revision;
            await store.AppendAsync(AppendRequest.Create("/registry/pods/b", Bytes("b2")));
        }
        using (var kine = OpenKine())
        {
            // k3s makes the table and the indexes that are missing whenever it starts, the unique one included.
            KineReader.LayOut(kine);
            Assert.Equal(["a2", "b2"], KineReader.List(kine, "/registry/pods/%").Select(row => row.Value));
            Assert.Equal(["a1", "b1"], KineReader.List(kine, "/registry/pods/%", b).Select(row => row.Value));
            Assert.Equal((6, 2), KineReader.Count(kine, "/registry/pods/%"));
            var after = KineReader.After(kine, "/registry/%", 2);
            // A deletion carries what was deleted: kube-apiserver's watch shows that object, and shows nothing without it.
            Assert.Equal(
                [new(3, "/registry/pods/b", true, false, 0, 0, 60, "b1", ""), new(4, "/registry/pods/a", false, false, 2, 2, 0, "a2", ""), new(5, "/registry/pods/b", false, true, 3, 3, 0, "", "b1"), new(6, "/registry/pods/b", true, false, 0, 5, 0, "b2", "")],
                after);
            KineReader.Compact(kine, gone);
            // The sequence leads k3s to the very next revision.
            Assert.Equal(7, KineReader.Insert(kine, "/registry/pods/a", false, false, 2, a, Bytes("a3"), Bytes("a2")));
            // Its compare-and-swap is the unique index.
            Assert.Throws<SqliteException>(() => KineReader.Insert(kine, "/registry/pods/a", false, false, 2, a, Bytes("late"), Bytes("a2")));
        }
        await using var again = Open();
        Assert.Equal(["/registry/pods/a=a3", "/registry/pods/b=b2"], (await RangeAsync(again)).Select(change => $"{change.Key}={change.Value}"));
        Assert.Equal(gone, again.CompactRevision);
    }

    /// <summary>Whatever we did and compacted, no two rows of a key have the same predecessor: else k3s could not make its index.</summary>
    [Fact]
    public async Task K3s_MakesItsUniqueIndex_AfterAnyHistory()
    {
        var random = new Random(7);
        var known = new Dictionary<string, long>();
        await using (var store = Open())
        {
            for (int i = 0; i < 2000; i++)
            {
                string key = $"/r/{random.Next(12)}";
                long revision = known.GetValueOrDefault(key);
                var request = revision == 0 ? AppendRequest.Create(key, Bytes("x")) : random.Next(3) == 0 ? AppendRequest.Delete(key, revision) : AppendRequest.Update(key, revision, Bytes("y"));
                long now = (await store.AppendAsync(request)).Revision;
                known[key] = request.Kind == AppendKind.Delete ? 0 : now;
                if (i % 150 == 149) await store.CompactAsync(now - random.Next(100));
            }
        }
        using var kine = OpenKine();
        KineReader.LayOut(kine);
        Assert.Equal(known.Where(pair => pair.Value != 0).OrderBy(pair => pair.Key, StringComparer.Ordinal), KineReader.List(kine, "/r/%").Select(row => KeyValuePair.Create(row.Name, row.Id)));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath });

    private SqliteConnection OpenKine()
    {
        var kine = SqliteConnection.Open(DatabasePath, 5000);
        kine.Execute("PRAGMA journal_mode = WAL"u8);
        return kine;
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static async Task<SeenChange[]> RangeAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/"), seen);
        return seen.Changes;
    }
}
