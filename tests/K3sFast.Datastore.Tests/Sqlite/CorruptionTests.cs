using System.Text;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>A turned bit is found or does no harm; it is never served.</summary>
public sealed class CorruptionTests : IDisposable
{
    private const int PageBytes = 4096;
    private readonly string _directory = $"/dev/shm/store-rot-{Guid.NewGuid():N}";

    public CorruptionTests() => Directory.CreateDirectory(_directory);

    private string DatabasePath => Path.Combine(_directory, "state.db");

    /// <summary>
    /// Every page of a file that holds every kind of page, at its head, in its cell pointers, its cells, and by chance: the bits of the
    /// file's head, of tables and indexes, inner pages and leaves, long values, the pointer map, free pages.
    /// </summary>
    [Fact]
    public async Task Bit_TurnedAnywhereInTheFile_IsFoundOrHarmless()
    {
        var (truth, history, compacted) = await FillAsync();
        byte[] good = await File.ReadAllBytesAsync(DatabasePath);
        int seed = Environment.TickCount;
        var random = new Random(seed);
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        int found = 0, harmless = 0;
        for (int page = 0; page < good.Length / PageBytes; page++)
        {
            int start = page * PageBytes;
            foreach (int at in (int[])[random.Next(8), 8 + random.Next(24), 100 + random.Next(200), random.Next(PageBytes), PageBytes - 1 - random.Next(64), PageBytes - 1 - random.Next(1024)])
            {
                byte[] bad = [.. good];
                bad[start + at] ^= (byte)(1 << random.Next(8));
                foreach (string file in Directory.GetFiles(_directory)) File.Delete(file);
                await File.WriteAllBytesAsync(DatabasePath, bad);
                if (await FindsAsync(truth, history, compacted, $"page {page + 1}, byte {at}, seed {seed}")) found++;
                else harmless++;
            }
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{found} found, {harmless} harmless");
        Assert.True(found > 100, $"only {found} of {found + harmless} turned bits were found");
    }

    /// <summary>The structure is whole, only what is stored is not: SQLite itself would serve it.</summary>
    [Theory]
    [InlineData("UPDATE kine SET value = replace(value, 'v', 'w') WHERE id = 5")]
    [InlineData("UPDATE kine SET lease = 1 WHERE id = 5")]
    [InlineData("UPDATE kine SET create_revision = create_revision + 1 WHERE id = 5")]
    [InlineData("UPDATE kine SET deleted = 1 WHERE id = 5")]
    [InlineData("UPDATE kine SET name = '/k/zz' WHERE id = 5")]
    [InlineData("UPDATE kine SET k3sfast_crc32c = 0 WHERE id = 5")]
    public async Task Row_Changed_IsRefusedByReadWatchAndWrite(string change)
    {
        await using (var store = Open())
        {
            for (int i = 0; i < 10; i++) await store.AppendAsync(AppendRequest.Create($"/k/{i}", "value"u8.ToArray()));
        }
        using (var hand = SqliteConnection.Open(DatabasePath, 0)) hand.Execute(Encoding.UTF8.GetBytes(change));
        await using var reopened = Open();
        var error = await Assert.ThrowsAsync<DatastoreCorruptException>(async () => await reopened.RangeAsync(new RangeRequest("/k/"), new RecordingObserver()));
        Assert.Contains("revision 5", error.Message);
        Assert.Contains("restore", error.Message);
        var history = new RecordingObserver();
        using var watch = reopened.Watch(1, history);
        await history.WaitForAsync(11);
        Assert.IsType<DatastoreCorruptException>(history.Error);
        Assert.Equal([2, 3, 4], history.Changes.Select(seen => seen.Revision));
        string key = change.Contains("zz", StringComparison.Ordinal) ? "/k/zz" : "/k/3";
        await Assert.ThrowsAsync<DatastoreCorruptException>(async () => await reopened.AppendAsync(AppendRequest.Update(key, 5, "new"u8.ToArray())));
        // The others are as good as before.
        Assert.Equal(AppendOutcome.Committed, (await reopened.AppendAsync(AppendRequest.Update("/k/7", 9, "new"u8.ToArray()))).Outcome);
        Assert.True(reopened.ReadStatus().DamagedReads >= 2);
    }

    [Fact]
    public async Task CompactRevision_SetBack_IsRefusedAtTheDoor()
    {
        await using (var store = Open())
        {
            for (int i = 0; i < 10; i++) await store.AppendAsync(AppendRequest.Create($"/k/{i}", "value"u8.ToArray()));
            await store.CompactAsync(8);
        }
        using (var hand = SqliteConnection.Open(DatabasePath, 0)) hand.Execute("UPDATE kine SET prev_revision = 4 WHERE name = 'compact_rev_key'"u8);
        Assert.Equal(DatastoreOpenFailure.Corrupt, Assert.Throws<DatastoreOpenException>(Open).Failure);
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private SqliteDatastore Open() => SqliteDatastore.Open(new SqliteDatastoreOptions { Path = DatabasePath });

    private async Task<(SeenChange[] Now, SeenChange[] History, long Compacted)> FillAsync()
    {
        await using var store = Open();
        var revisions = new Dictionary<string, long>();
        for (int i = 0; i < 240; i++)
        {
            string key = $"/registry/things/namespace-{i % 7}/name-{i}";
            // One in ten is long: it continues on pages of its own.
            revisions[key] = (await store.AppendAsync(AppendRequest.Create(key, Encoding.UTF8.GetBytes(new string((char)('a' + (i % 26)), i % 10 == 0 ? 9000 : 200))))).Revision;
        }
        foreach (string key in revisions.Keys.Where((_, i) => i % 3 == 0).ToArray())
        {
            revisions[key] = (await store.AppendAsync(AppendRequest.Update(key, revisions[key], Encoding.UTF8.GetBytes($"new {key}")))).Revision;
        }
        await store.CompactAsync(store.CurrentRevision - 30);
        foreach (string key in revisions.Keys.Where((_, i) => i % 9 == 1).ToArray()) await store.AppendAsync(AppendRequest.Delete(key, revisions[key]));
        return (await RangeAsync(store), await HistoryAsync(store), store.CompactRevision);
    }

    private async Task<bool> FindsAsync(SeenChange[] truth, SeenChange[] history, long compacted, string where)
    {
        SqliteDatastore store;
        try
        {
            store = Open();
        }
        catch (DatastoreOpenException)
        {
            return true;
        }
        await using (store)
        {
            try
            {
                var now = await RangeAsync(store);
                Assert.True(truth.SequenceEqual(now), $"served something else than was written: {where}");
                var state = (await RecordingState.ReadAsync(store, "/", store.CurrentRevision)).Shown;
                Assert.True(truth.SequenceEqual(state), $"read another state than was written: {where}");
                // A revision that is claimed to be compacted is refused, which loses nothing; less history than claimed would be a gap.
                if (store.CompactRevision > compacted) return true;
                var shown = await HistoryAsync(store);
                Assert.True(history.SequenceEqual(shown), $"showed another history than was written: {where}");
                Assert.True(store.CurrentRevision >= history[^1].Revision, where);
                return false;
            }
            catch (DatastoreException)
            {
                return true;
            }
        }
    }

    private static async Task<SeenChange[]> RangeAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/"), seen);
        return seen.Changes;
    }

    private static async Task<SeenChange[]> HistoryAsync(SqliteDatastore store)
    {
        var seen = new RecordingObserver();
        using var watch = store.Watch(store.CompactRevision, seen);
        await watch.CaughtUp.WaitAsync(TimeSpan.FromSeconds(60));
        return seen.Error is { } error ? throw error : seen.Changes;
    }
}
