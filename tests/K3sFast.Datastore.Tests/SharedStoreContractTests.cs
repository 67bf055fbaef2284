using System.Globalization;

namespace K3sFast.Datastore.Tests;

/// <summary>What every engine must do that several servers use at once, on top of the contract.</summary>
public abstract class SharedStoreContractTests : DatastoreContractTests
{
    protected override void CleanUp()
    {
    }

    /// <summary>The tests of an engine share one server; each begins with an empty store.</summary>
    protected override async Task EmptyAsync()
    {
        foreach (var left in await Range("/")) await Delete(left.Key, left.Revision);
    }

    [Fact]
    public void IsShared_IsTold() => Assert.True(Store.IsShared);

    [Fact]
    public async Task ReadCurrentRevision_AfterAWriteOfAnotherServer_IsNotBehindIt()
    {
        await using var other = await OpenAsync();
        long revision = 0;
        for (int i = 0; i < 50; i++)
        {
            var written = revision == 0 ? await Create("/c/1", "v") : await Update("/c/1", revision, $"v{i}");
            revision = written.Revision;
            long told = await other.ReadCurrentRevisionAsync(TestContext.Current.CancellationToken);
            Assert.True(told >= revision, $"{told} was told after {revision} was acknowledged");
        }
    }

    [Fact]
    public async Task Range_AfterAWriteOfAnotherServer_ShowsIt()
    {
        await using var other = await OpenAsync();
        var written = await other.AppendAsync(AppendRequest.Create("/c/1", "there"u8.ToArray()));
        var seen = Assert.Single(await Range("/c/"));
        Assert.Equal(("there", written.Revision), (seen.Value, seen.Revision));
    }

    /// <summary>More keys than one page, and than one session reads: all of them, each once, as they were at the revision.</summary>
    [Fact]
    public async Task State_OfManyKeys_IsReadWholeInAnyWay()
    {
        const int Keys = 4_500;
        var created = await Task.WhenAll(Enumerable.Range(0, Keys).Select(async i => (Key: $"/s/{i * 7919 % Keys:d4}", (await Create($"/s/{i * 7919 % Keys:d4}", $"v{i}")).Revision)));
        await Task.WhenAll(created.Where((_, i) => i % 10 == 0).Select(key => Update(key.Key, key.Revision, "changed").AsTask()));
        await Task.WhenAll(created.Where((_, i) => i % 10 == 1).Select(key => Delete(key.Key, key.Revision).AsTask()));
        long revision = await Store.ReadCurrentRevisionAsync(TestContext.Current.CancellationToken);
        // What comes later is not of this state.
        await Task.WhenAll(created.Where((_, i) => i % 10 == 2).Select(key => Update(key.Key, key.Revision, "later").AsTask()));
        var range = new RecordingObserver();
        Assert.Equal(Keys * 9 / 10, (await Store.RangeAsync(new RangeRequest("/s/", revision), range, TestContext.Current.CancellationToken)).Count);
        Assert.Equal(Keys * 9 / 10, range.Changes.Length);
        Assert.Equal(range.Changes.Select(change => change.Key).Order(StringComparer.Ordinal), range.Changes.Select(change => change.Key));
        Assert.Equal(Keys / 10, range.Changes.Count(change => change.Value == "changed"));
        Assert.DoesNotContain(range.Changes, change => change.Value == "later");
        var state = await RecordingState.ReadAsync(Store, "/s/", revision);
        Assert.Equal(range.Changes, state.Shown);
        Assert.Equal(Math.Min(2, Environment.ProcessorCount), state.Parts);
    }

    [Fact]
    public async Task Range_VisitorFails_EndsWithItsError()
    {
        for (int i = 0; i < 3; i++) await Create($"/c/{i}", "v");
        await Assert.ThrowsAsync<InvalidOperationException>(async () => await Store.RangeAsync(new RangeRequest("/c/"), new FailingVisitor(), TestContext.Current.CancellationToken));
        Assert.Equal(3, (await Range("/c/")).Length);
    }

    [Fact]
    public async Task Watch_WritesOfAnotherServer_AreShownInOrder()
    {
        await using var other = await OpenAsync();
        var seen = new RecordingObserver();
        using var watch = Store.Watch(Store.CurrentRevision, seen);
        var created = await other.AppendAsync(AppendRequest.Create("/c/1", "a"u8.ToArray()));
        var mine = await Create("/c/2", "b");
        var deleted = await other.AppendAsync(AppendRequest.Delete("/c/1", created.Revision));
        await seen.WaitForAsync(deleted.Revision);
        Assert.Equal(
            [(created.Revision, AppendKind.Create, "/c/1"), (mine.Revision, AppendKind.Create, "/c/2"), (deleted.Revision, AppendKind.Delete, "/c/1")],
            seen.Changes.Select(change => (change.Revision, change.Kind, change.Key)));
    }

    [Fact]
    public async Task Append_TwoServersOneKey_ConflictsWithTheOthersRevision()
    {
        await using var other = await OpenAsync();
        var created = await Create("/c/1", "a");
        var updated = await other.AppendAsync(AppendRequest.Update("/c/1", created.Revision, "b"u8.ToArray()));
        Assert.Equal(AppendOutcome.Committed, updated.Outcome);
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, updated.Revision), await Update("/c/1", created.Revision, "c"));
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, updated.Revision), await Create("/c/1", "d"));
        Assert.Equal(AppendOutcome.Committed, (await Delete("/c/1", updated.Revision)).Outcome);
        Assert.Equal(AppendOutcome.NotFound, (await other.AppendAsync(AppendRequest.Update("/c/1", updated.Revision, "e"u8.ToArray()))).Outcome);
    }

    /// <summary>Three servers count on the same keys. Every acknowledged step counts once, and each server's watch tells the same story.</summary>
    [Fact]
    public async Task Append_ThreeServersCounting_LoseNothingAndSeeTheSame()
    {
        const int Rounds = 40;
        await using var second = await OpenAsync();
        await using var third = await OpenAsync();
        IDatastore[] stores = [Store, second, third];
        long start = await Store.ReadCurrentRevisionAsync(TestContext.Current.CancellationToken);
        var observers = stores.Select(_ => new RecordingObserver()).ToArray();
        var watches = stores.Select((store, i) => store.Watch(start, observers[i])).ToArray();
        var counts = await Task.WhenAll(Enumerable.Range(0, 12).Select(writer => Task.Run(() => CountAsync(stores[writer % 3], $"/n/{writer % 4}", Rounds))));

        Assert.All(counts, count => Assert.Equal(Rounds, count));
        var now = await Range("/n/");
        Assert.Equal(12 * Rounds, now.Sum(change => int.Parse(change.Value, CultureInfo.InvariantCulture)));
        long last = now.Max(change => change.Revision);
        foreach (var observer in observers) await observer.WaitForAsync(last);
        Assert.Equal(12 * Rounds, observers[0].Changes.Length);
        Assert.Equal(observers[0].Changes, observers[1].Changes);
        Assert.Equal(observers[0].Changes, observers[2].Changes);
        foreach (var watch in watches) watch.Dispose();
    }

    [Fact]
    public async Task Watch_CompactedByAnotherServer_IsToldSo()
    {
        await using var other = await OpenAsync();
        long start = Store.CurrentRevision;
        long revision = (await Create("/c/1", "a")).Revision;
        for (int i = 0; i < 10; i++) revision = (await Update("/c/1", revision, $"{i}")).Revision;
        await other.CompactAsync(await other.ReadCurrentRevisionAsync(TestContext.Current.CancellationToken));
        var seen = new RecordingObserver();
        try
        {
            using var watch = Store.Watch(start, seen);
            await seen.WaitForAsync(long.MaxValue);
            Assert.IsType<DatastoreCompactedException>(seen.Error);
        }
        catch (DatastoreCompactedException)
        {
            // Known here already.
        }
    }

    private static async Task<int> CountAsync(IDatastore store, string key, int rounds)
    {
        int done = 0;
        long revision = 0;
        int value = 0;
        while (done < rounds)
        {
            byte[] next = System.Text.Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{value + 1}"));
            var request = revision == 0 ? AppendRequest.Create(key, next) : AppendRequest.Update(key, revision, next);
            var result = await store.AppendAsync(request);
            if (result.Outcome == AppendOutcome.Committed)
            {
                done++;
                (revision, value) = (result.Revision, value + 1);
                continue;
            }
            var present = new RecordingObserver();
            await store.RangeAsync(new RangeRequest(key), present);
            var seen = Assert.Single(present.Changes);
            (revision, value) = (seen.Revision, int.Parse(seen.Value, CultureInfo.InvariantCulture));
        }
        return done;
    }

    private sealed class FailingVisitor : IDatastoreVisitor
    {
        public void OnEntry(in DatastoreEntry entry) => throw new InvalidOperationException("no more");
    }
}
