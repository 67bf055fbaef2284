using System.Text;
using K3sFast.Datastore.Sqlite;
using K3sFast.Datastore.Tests.Transformers;
using K3sFast.Datastore.Transformers;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>A state that is read in the order of the file is the one that a range shows in the order of keys.</summary>
public sealed class StateScanTests : IDisposable
{
    private readonly string _directory = $"/dev/shm/store-state-{Guid.NewGuid():N}";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task State_OfManyKeys_IsTheRangeInItsOrder(bool isEncoded)
    {
        await using var store = Open(isEncoded);
        long then = await FillAsync(store, 9_000);
        foreach (long revision in (long[])[then, store.CurrentRevision])
        {
            var range = new RecordingObserver();
            await store.RangeAsync(new RangeRequest("/k/", revision), range);
            var state = await RecordingState.ReadAsync(store, "/k/", revision);
            Assert.Equal(range.Changes, state.Shown);
            Assert.InRange(state.Parts, Math.Min(2, Environment.ProcessorCount), 4);
        }
        Assert.Equal(["/other=x"], (await RecordingState.ReadAsync(store, "/other", store.CurrentRevision)).Shown.Select(seen => $"{seen.Key}={seen.Value}"));
        Assert.Empty((await RecordingState.ReadAsync(store, "/none/", store.CurrentRevision)).Shown);
    }

    [Fact]
    public async Task Compaction_BetweenIndexAndTable_TakesNothingThatIsShown()
    {
        await using var store = Open(isEncoded: false);
        await FillAsync(store, 3_000);
        long now = store.CurrentRevision;
        var range = new RecordingObserver();
        await store.RangeAsync(new RangeRequest("/k/"), range);
        // Deletions are in the index, and no more in the table when it is read.
        var state = await RecordingState.ReadAsync(store, "/k/", now, () => store.CompactAsync(now).AsTask().Wait());
        Assert.Equal(range.Changes, state.Shown);
    }

    [Fact]
    public async Task Compaction_BetweenIndexAndTable_OfTheRevisionItself_IsSaid()
    {
        await using var store = Open(isEncoded: false);
        long then = await FillAsync(store, 3_000);
        await Assert.ThrowsAsync<DatastoreCompactedException>(() => RecordingState.ReadAsync(store, "/k/", then, () => store.CompactAsync(store.CurrentRevision).AsTask().Wait()));
        await Assert.ThrowsAsync<DatastoreCompactedException>(() => RecordingState.ReadAsync(store, "/k/", then));
        await Assert.ThrowsAsync<DatastoreFutureRevisionException>(() => RecordingState.ReadAsync(store, "/k/", store.CurrentRevision + 1));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private IDatastore Open(bool isEncoded) => new TransformingDatastore(
        SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db", CompactInterval = TimeSpan.Zero }),
        isEncoded ? new PrefixTransformer([("k8s:enc:toy:v1:one:", new ToyTransformer(1))], static _ => true) : null);

    /// <summary>Keys in an order by chance, a third of them changed, some deleted, some deleted and made again; returns a revision on the way.</summary>
    private static async Task<long> FillAsync(IDatastore store, int keys)
    {
        var random = new Random(5);
        string[] names = [.. Enumerable.Range(0, keys).Select(i => $"/k/{i % 7}/{i}")];
        random.Shuffle(names);
        long[] revisions = await Task.WhenAll(names.Select(async name => await Append(AppendRequest.Create(name, Encoding.UTF8.GetBytes(name)))));
        await Append(AppendRequest.Create("/other", "x"u8.ToArray()));
        await Task.WhenAll(Enumerable.Range(0, keys / 3).Select(async i => revisions[i * 3] = await Append(AppendRequest.Update(names[i * 3], revisions[i * 3], "changed"u8.ToArray()))));
        await Task.WhenAll(Enumerable.Range(0, keys / 10).Select(i => Append(AppendRequest.Delete(names[i * 10], revisions[i * 10]))));
        long then = store.CurrentRevision;
        await Task.WhenAll(Enumerable.Range(0, keys / 20).Select(i => Append(AppendRequest.Create(names[i * 20], "again"u8.ToArray()))));
        await Task.WhenAll(Enumerable.Range(0, keys / 10).Select(i => Append(AppendRequest.Delete(names[(i * 10) + 1], revisions[(i * 10) + 1]))));
        return then;

        async Task<long> Append(AppendRequest request)
        {
            var result = await store.AppendAsync(request);
            Assert.Equal(AppendOutcome.Committed, result.Outcome);
            return result.Revision;
        }
    }
}
