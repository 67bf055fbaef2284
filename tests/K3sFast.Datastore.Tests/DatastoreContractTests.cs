using System.Globalization;
using System.Text;

namespace K3sFast.Datastore.Tests;

/// <summary>What every engine must do. An engine's test class derives from this and opens its store.</summary>
public abstract class DatastoreContractTests : IAsyncLifetime
{
    protected IDatastore Store { get; private set; } = null!;

    /// <summary>Opens the engine; a second call after the first store was disposed finds what it left.</summary>
    protected abstract Task<IDatastore> OpenAsync();

    /// <summary>Removes what the engine left.</summary>
    protected abstract void CleanUp();

    /// <summary>Why the engine cannot be tested here; null = it can.</summary>
    protected virtual string? SkipReason => null;

    /// <summary>A value that the engine must take.</summary>
    protected virtual int LargeValueBytes => 2 * 1024 * 1024;

    /// <summary>Removes what an earlier test left in a store that outlives tests.</summary>
    protected virtual Task EmptyAsync() => Task.CompletedTask;

    public async ValueTask InitializeAsync()
    {
        if (SkipReason is { } reason) Assert.Skip(reason);
        Store = await OpenAsync();
        await EmptyAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (Store is not null) await Store.DisposeAsync();
        CleanUp();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task ReadSize_OfAStoreThatHoldsSomething_TellsItsBytes()
    {
        await Create("/c/1", "v");
        Assert.True(await Store.ReadSizeAsync(TestContext.Current.CancellationToken) > 0);
    }

    [Fact]
    public async Task Create_NewKey_CommitsAtTheNextRevision()
    {
        long before = Store.CurrentRevision;
        var first = await Create("/a/1", "x");
        var second = await Create("/a/2", "y");
        Assert.Equal(new AppendResult(AppendOutcome.Committed, before + 1), first);
        Assert.Equal(new AppendResult(AppendOutcome.Committed, before + 2), second);
        Assert.Equal(before + 2, Store.CurrentRevision);
    }

    [Fact]
    public async Task Create_ExistingKey_ConflictsWithItsRevision()
    {
        var first = await Create("/a/1", "x");
        var again = await Create("/a/1", "y");
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, first.Revision), again);
        Assert.Equal(["/a/1=x"], await Keys("/a/"));
        Assert.Equal(first.Revision, Store.CurrentRevision);
    }

    [Fact]
    public async Task Update_AtExpectedRevision_ReplacesTheValue()
    {
        var first = await Create("/a/1", "x");
        var second = await Update("/a/1", first.Revision, "y");
        Assert.Equal(AppendOutcome.Committed, second.Outcome);
        Assert.Equal(["/a/1=y"], await Keys("/a/"));
    }

    [Fact]
    public async Task Update_AtOldRevision_ConflictsWithThePresentOne()
    {
        var first = await Create("/a/1", "x");
        var second = await Update("/a/1", first.Revision, "y");
        Assert.Equal(new AppendResult(AppendOutcome.Conflict, second.Revision), await Update("/a/1", first.Revision, "z"));
        Assert.Equal(["/a/1=y"], await Keys("/a/"));
    }

    [Fact]
    public async Task Update_MissingOrDeletedKey_IsNotFound()
    {
        Assert.Equal(AppendOutcome.NotFound, (await Update("/a/1", 5, "x")).Outcome);
        var first = await Create("/a/1", "x");
        var gone = await Delete("/a/1", first.Revision);
        Assert.Equal(AppendOutcome.NotFound, (await Update("/a/1", gone.Revision, "y")).Outcome);
    }

    [Fact]
    public async Task Delete_AtExpectedRevision_RemovesTheKey()
    {
        var first = await Create("/a/1", "x");
        Assert.Equal(AppendOutcome.Conflict, (await Delete("/a/1", first.Revision - 1)).Outcome);
        var gone = await Delete("/a/1", first.Revision);
        Assert.Equal(new AppendResult(AppendOutcome.Committed, first.Revision + 1), gone);
        Assert.Empty(await Keys("/a/"));
        Assert.Equal(AppendOutcome.NotFound, (await Delete("/a/1", first.Revision)).Outcome);
    }

    [Fact]
    public async Task Create_AfterDelete_BeginsANewLife()
    {
        var first = await Create("/a/1", "x");
        await Delete("/a/1", first.Revision);
        var second = await Create("/a/1", "y");
        Assert.Equal(AppendOutcome.Committed, second.Outcome);
        var seen = await Range("/a/");
        Assert.Equal(new SeenChange("/a/1", AppendKind.Create, second.Revision, second.Revision, "y"), Assert.Single(seen));
        await Delete("/a/1", second.Revision);
        Assert.Equal(AppendOutcome.Committed, (await Create("/a/1", "z")).Outcome);
    }

    [Fact]
    public async Task Range_Prefix_ShowsItsKeysInByteOrder()
    {
        foreach (string key in (string[])["/b/é", "/b/z", "/b/a", "/bb/x", "/a/x", "/b/a/1", "/b/-"]) await Create(key, "v");
        Assert.Equal(["/b/-=v", "/b/a=v", "/b/a/1=v", "/b/z=v", "/b/é=v"], await Keys("/b/"));
    }

    [Fact]
    public async Task Range_OldRevision_ShowsTheStateThen()
    {
        var first = await Create("/a/1", "x");
        var second = await Create("/a/2", "y");
        var third = await Update("/a/1", first.Revision, "x2");
        var fourth = await Delete("/a/2", second.Revision);
        Assert.Equal(["/a/1=x"], await Keys("/a/", first.Revision));
        Assert.Equal(["/a/1=x", "/a/2=y"], await Keys("/a/", second.Revision));
        Assert.Equal(["/a/1=x2", "/a/2=y"], await Keys("/a/", third.Revision));
        Assert.Equal(["/a/1=x2"], await Keys("/a/", fourth.Revision));
    }

    [Fact]
    public async Task Range_Pages_TogetherShowEverythingOnce()
    {
        for (int i = 0; i < 25; i++) await Create($"/p/{i:D2}", "v");
        var all = new List<string>();
        string? start = null;
        long revision = 0;
        while (true)
        {
            var page = new RecordingObserver();
            var result = await Store.RangeAsync(new RangeRequest("/p/", revision, start, 10), page);
            revision = result.Revision;
            all.AddRange(page.Changes.Select(change => change.Key));
            Assert.Equal(page.Changes.Length, result.Count);
            // Later writes do not show: the pages are of one revision.
            await Create($"/p/{all.Count:D2}.5", "late");
            if (!result.HasMore) break;
            start = all[^1] + "\0";
        }
        Assert.Equal(Enumerable.Range(0, 25).Select(i => $"/p/{i:D2}"), all);
    }

    [Fact]
    public async Task Range_LimitEqualsCount_HasNoMore()
    {
        for (int i = 0; i < 3; i++) await Create($"/p/{i}", "v");
        var result = await Store.RangeAsync(new RangeRequest("/p/", Limit: 3), new RecordingObserver());
        Assert.Equal((3, false), (result.Count, result.HasMore));
    }

    [Fact]
    public async Task Range_FutureRevision_Throws() =>
        await Assert.ThrowsAsync<DatastoreFutureRevisionException>(async () =>
            await Store.RangeAsync(new RangeRequest("/", Store.CurrentRevision + 1), new RecordingObserver()));

    [Fact]
    public async Task Watch_FromNow_ShowsChangesBeforeTheirAppendsComplete()
    {
        var seen = new RecordingObserver();
        using var watch = Store.Watch(Store.CurrentRevision, seen);
        Assert.True(watch.CaughtUp.IsCompletedSuccessfully);
        var first = await Create("/a/1", "x");
        Assert.Equal(new SeenChange("/a/1", AppendKind.Create, first.Revision, first.Revision, "x"), Assert.Single(seen.Changes));
        var second = await Update("/a/1", first.Revision, "y");
        Assert.Equal(new SeenChange("/a/1", AppendKind.Update, second.Revision, first.Revision, "y"), seen.Changes[^1]);
        var third = await Delete("/a/1", second.Revision);
        Assert.Equal(new SeenChange("/a/1", AppendKind.Delete, third.Revision, first.Revision, ""), seen.Changes[^1]);
    }

    [Fact]
    public async Task Watch_FromThePast_ShowsHistoryThenLive()
    {
        long start = Store.CurrentRevision;
        for (int i = 0; i < 1200; i++) await Create($"/h/{i}", "v");
        var seen = new RecordingObserver();
        using var watch = Store.Watch(start, seen);
        var last = await Create("/h/last", "v");
        await seen.WaitForAsync(last.Revision);
        Assert.Equal(Enumerable.Range(1, 1201).Select(i => start + i), seen.Changes.Select(change => change.Revision));
    }

    [Fact]
    public async Task Watch_Disposed_ShowsNothingMore()
    {
        var seen = new RecordingObserver();
        var watch = Store.Watch(Store.CurrentRevision, seen);
        await Create("/a/1", "x");
        watch.Dispose();
        await Create("/a/2", "x");
        Assert.Single(seen.Changes);
    }

    [Fact]
    public async Task Watch_ObserverThrows_WritesGoOn()
    {
        using var watch = Store.Watch(Store.CurrentRevision, new ThrowingObserver());
        Assert.Equal(AppendOutcome.Committed, (await Create("/a/1", "x")).Outcome);
        Assert.Equal(AppendOutcome.Committed, (await Create("/a/2", "x")).Outcome);
    }

    [Fact]
    public async Task Compact_Past_KeepsThePresentAndRefusesWhatWasBefore()
    {
        long start = Store.CurrentRevision;
        var first = await Create("/a/1", "v0");
        var doomed = await Create("/a/2", "x");
        await Delete("/a/2", doomed.Revision);
        long revision = first.Revision;
        for (int i = 1; i <= 900; i++) revision = (await Update("/a/1", revision, $"v{i}")).Revision;
        await Store.CompactAsync(revision);
        Assert.Equal(revision, Store.CompactRevision);
        Assert.Equal(["/a/1=v900"], await Keys("/a/"));
        var now = Assert.Single(await Range("/a/"));
        Assert.Equal(first.Revision, now.CreateRevision);
        var refused = await Assert.ThrowsAsync<DatastoreCompactedException>(async () => await Keys("/a/", revision - 1));
        Assert.Equal(revision, refused.CompactRevision);
        Assert.Throws<DatastoreCompactedException>(() => Store.Watch(start, new RecordingObserver()));
        using var watch = Store.Watch(revision, new RecordingObserver());
        Assert.Equal(AppendOutcome.Committed, (await Update("/a/1", revision, "after")).Outcome);
        Assert.Equal(AppendOutcome.Committed, (await Create("/a/2", "again")).Outcome);
    }

    [Fact]
    public async Task Compact_LowerOrSameRevision_DoesNothing()
    {
        for (int i = 0; i < 5; i++) await Create($"/a/{i}", "v");
        await Store.CompactAsync(Store.CurrentRevision - 1);
        long compacted = Store.CompactRevision;
        await Store.CompactAsync(compacted);
        await Store.CompactAsync(compacted - 2);
        Assert.Equal(compacted, Store.CompactRevision);
        await Assert.ThrowsAsync<DatastoreFutureRevisionException>(async () => await Store.CompactAsync(Store.CurrentRevision + 1));
    }

    [Fact]
    public async Task Reopen_AfterClose_FindsEverythingAndReusesNoRevision()
    {
        var first = await Create("/a/1", "x");
        var second = await Create("/a/2", "y");
        var last = await Delete("/a/2", second.Revision);
        // The newest row is a deletion and is compacted away: the revision must still not come again.
        await Store.CompactAsync(last.Revision);
        await Store.DisposeAsync();
        var reopened = await OpenAsync();
        Assert.Equal(last.Revision, reopened.CurrentRevision);
        Assert.Equal(last.Revision, reopened.CompactRevision);
        var result = await reopened.AppendAsync(AppendRequest.Update("/a/1", first.Revision, "z"u8.ToArray()));
        Assert.Equal(new AppendResult(AppendOutcome.Committed, last.Revision + 1), result);
        await reopened.DisposeAsync();
    }

    [Fact]
    public async Task Create_WithALease_IsDeletedWhenItEnds_AndARenewedKeyStays()
    {
        var seen = new RecordingObserver();
        using var watch = Store.Watch(Store.CurrentRevision, seen);
        var doomed = await Store.AppendAsync(AppendRequest.Create("/l/doomed", "v"u8.ToArray(), leaseSeconds: 2));
        var kept = await Store.AppendAsync(AppendRequest.Create("/l/kept", "v"u8.ToArray(), leaseSeconds: 2));
        kept = await Store.AppendAsync(AppendRequest.Update("/l/kept", kept.Revision, "w"u8.ToArray(), leaseSeconds: 3600));
        await seen.WaitForAsync(kept.Revision + 1);
        Assert.Equal(new SeenChange("/l/doomed", AppendKind.Delete, kept.Revision + 1, doomed.Revision, ""), seen.Changes[^1]);
        Assert.Equal(["/l/kept=w"], await Keys("/l/"));
    }

    [Fact]
    public async Task Append_AfterDispose_Throws()
    {
        await Store.DisposeAsync();
        await Assert.ThrowsAsync<ObjectDisposedException>(async () => await Create("/a/1", "x"));
    }

    [Theory]
    [InlineData("compact_rev_key")]
    [InlineData("gap-7")]
    [InlineData("")]
    public async Task Append_KeyOfTheStoresOwn_Throws(string key) =>
        await Assert.ThrowsAnyAsync<ArgumentException>(async () => await Create(key, "x"));

    [Fact]
    public async Task Append_EmptyAndLargeValues_ComeBackWhole()
    {
        string large = new('x', LargeValueBytes);
        await Create("/v/empty", "");
        await Create("/v/large", large);
        Assert.Equal(["/v/empty=", $"/v/large={large}"], await Keys("/v/"));
    }

    /// <summary>
    /// Many writers race on few keys while a watch records. The recorded history must be gap-free, and replaying it on a plain
    /// dictionary must explain every answer that a writer got.
    /// </summary>
    [Fact]
    public async Task Append_ManyWritersRacing_HistoryExplainsEveryAnswer()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        long start = Store.CurrentRevision;
        var seen = new RecordingObserver();
        using var watch = Store.Watch(start, seen);
        var answers = await Task.WhenAll(Enumerable.Range(0, 16).Select(writer => Task.Run(() => RaceAsync(new Random(seed + writer), 100))));
        await seen.WaitForAsync(Store.CurrentRevision);

        var history = seen.Changes;
        Assert.Equal(Enumerable.Range(1, history.Length).Select(i => start + i), history.Select(change => change.Revision));
        var committed = answers.SelectMany(list => list).Where(answer => answer.Result.Outcome == AppendOutcome.Committed)
            .OrderBy(answer => answer.Result.Revision).ToArray();
        Assert.Equal(history.Length, committed.Length);
        var state = new Dictionary<string, long>();
        foreach (var (change, answer) in history.Zip(committed))
        {
            Assert.Equal((answer.Request.Key, answer.Request.Kind, answer.Result.Revision), (change.Key, change.Kind, change.Revision));
            Assert.Equal(answer.Request.Kind == AppendKind.Create ? 0 : answer.Request.ExpectedRevision, state.GetValueOrDefault(change.Key));
            if (change.Kind == AppendKind.Delete) state.Remove(change.Key);
            else state[change.Key] = change.Revision;
        }
        var now = await Range("/r/");
        Assert.Equal(state.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key, pair.Value)), now.Select(change => (change.Key, change.Revision)));
    }

    private async Task<List<(AppendRequest Request, AppendResult Result)>> RaceAsync(Random random, int rounds)
    {
        var answers = new List<(AppendRequest, AppendResult)>();
        var known = new Dictionary<string, long>();
        for (int i = 0; i < rounds; i++)
        {
            string key = string.Create(CultureInfo.InvariantCulture, $"/r/{random.Next(8)}");
            long revision = known.GetValueOrDefault(key);
            byte[] value = Encoding.UTF8.GetBytes($"{random.Next()}");
            var request = revision == 0 ? AppendRequest.Create(key, value)
                : random.Next(4) == 0 ? AppendRequest.Delete(key, revision)
                : AppendRequest.Update(key, revision, value);
            var result = await Store.AppendAsync(request);
            answers.Add((request, result));
            bool isGone = result.Outcome == AppendOutcome.NotFound || (result.Outcome == AppendOutcome.Committed && request.Kind == AppendKind.Delete);
            known[key] = isGone ? 0 : result.Revision;
        }
        return answers;
    }

    protected ValueTask<AppendResult> Create(string key, string value) => Store.AppendAsync(AppendRequest.Create(key, Encoding.UTF8.GetBytes(value)));

    protected ValueTask<AppendResult> Update(string key, long revision, string value) =>
        Store.AppendAsync(AppendRequest.Update(key, revision, Encoding.UTF8.GetBytes(value)));

    protected ValueTask<AppendResult> Delete(string key, long revision) => Store.AppendAsync(AppendRequest.Delete(key, revision));

    protected async Task<SeenChange[]> Range(string prefix, long revision = 0)
    {
        var seen = new RecordingObserver();
        await Store.RangeAsync(new RangeRequest(prefix, revision), seen);
        return seen.Changes;
    }

    private async Task<IEnumerable<string>> Keys(string prefix, long revision = 0) =>
        (await Range(prefix, revision)).Select(change => $"{change.Key}={change.Value}");

    private sealed class ThrowingObserver : IDatastoreObserver
    {
        public void OnEntry(in DatastoreEntry entry) => throw new InvalidOperationException("the observer is broken");

        public void OnRevision(long revision)
        {
        }

        public void OnFailed(Exception error)
        {
        }
    }
}
