using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

public sealed class WatchCursorTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(120);

    [Fact]
    public async Task Read_AfterRevision_ShowsWhatFollowsInOrder()
    {
        await using var host = await CacheHost.StartAsync();
        long first = await host.CreatePod("a");
        using var cursor = host.Pods.OpenCursor(first);
        long second = await host.CreatePod("b");
        long third = await host.UpdatePod("a", first, """{"app":"db"}""");
        long fourth = await host.DeletePod("a", third);
        Assert.Equal([$"Added b@{second}", $"Modified a@{third}", $"Deleted a@{fourth}"], cursor.ReadAll());
        Assert.Equal([], cursor.ReadAll());
    }

    [Fact]
    public async Task Read_EventCarriesBothStates()
    {
        await using var host = await CacheHost.StartAsync();
        long first = await host.CreatePod("a", """{"app":"web"}""");
        using var cursor = host.Pods.OpenCursor(first);
        await host.UpdatePod("a", first, """{"app":"db"}""");
        var events = new WatchEvent[4];
        Assert.Equal(1, cursor.Read(events));
        Assert.Equal("""{"app":"web"}""", events[0].Previous!.LabelsJson.Text());
        Assert.Equal("""{"app":"db"}""", events[0].Object.LabelsJson.Text());
        Assert.Equal(events[0].Object.Frame.Text(), events[0].Frame.Text());
    }

    [Theory]
    [InlineData(WatchEventType.Added, true, false, true, WatchEventType.Added)]
    [InlineData(WatchEventType.Added, false, false, false, WatchEventType.Added)]
    [InlineData(WatchEventType.Modified, true, true, true, WatchEventType.Modified)]
    [InlineData(WatchEventType.Modified, true, false, true, WatchEventType.Added)]
    [InlineData(WatchEventType.Modified, false, true, true, WatchEventType.Deleted)]
    [InlineData(WatchEventType.Modified, false, false, false, WatchEventType.Deleted)]
    [InlineData(WatchEventType.Deleted, true, true, true, WatchEventType.Deleted)]
    [InlineData(WatchEventType.Deleted, false, false, false, WatchEventType.Deleted)]
    public void TryTranslate_SelectorTransitions_BecomeAddedAndDeleted(WatchEventType type, bool matches, bool matchedBefore, bool isSeen, WatchEventType seen)
    {
        Assert.Equal(isSeen, new WatchEvent(type, null!, null).TryTranslate(matches, matchedBefore, out var translated));
        if (isSeen) Assert.Equal(seen, translated);
    }

    [Fact]
    public async Task Read_KeyPrefix_ShowsOneNamespace()
    {
        await using var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision, "/registry/pods/blue/"u8);
        await host.CreatePod("a", ns: "red");
        long seen = await host.CreatePod("b", ns: "blue");
        await host.CreatePod("c", ns: "blueish");
        Assert.Equal([$"Added b@{seen}"], cursor.ReadAll());
    }

    [Fact]
    public async Task Read_FutureRevision_SkipsWhatComesBefore()
    {
        await using var host = await CacheHost.StartAsync();
        long first = await host.CreatePod("a");
        using var cursor = host.Pods.OpenCursor(first + 1);
        await host.CreatePod("b");
        long third = await host.CreatePod("c");
        Assert.Equal([$"Added c@{third}"], cursor.ReadAll());
    }

    [Fact]
    public async Task Revision_CaughtUp_IncludesOtherResources()
    {
        await using var host = await CacheHost.StartAsync(register: cacher => cacher.Register("/registry/nodes/", []));
        long first = await host.CreatePod("a");
        using var cursor = host.Pods.OpenCursor(first);
        Assert.Equal(first, cursor.Revision);
        long elsewhere = await host.Create("/registry/nodes/n1", """{"metadata":{"name":"n1"}}""");
        Assert.Empty(cursor.ReadAll());
        Assert.Equal(elsewhere, cursor.Revision);
    }

    [Fact]
    public async Task Read_RevisionLeftRing_AnswersExpired()
    {
        await using var host = await CacheHost.StartAsync(new CacherOptions { MaxRingEvents = 32, MinRingEvents = 16 });
        long start = host.Cacher.CurrentRevision;
        using var lagging = host.Pods.OpenCursor(start);
        long revision = await host.CreatePod("a");
        for (int i = 0; i < 2000; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        Assert.Equal("EXPIRED", lagging.ReadAll()[^1]);
        using var late = host.Pods.OpenCursor(start);
        Assert.Equal(["EXPIRED"], late.ReadAll());
        Assert.True(host.Pods.OldestRevision > start);
        using var oldest = host.Pods.OpenCursor(host.Pods.OldestRevision);
        Assert.Equal($"Modified a@{revision}", oldest.ReadAll()[^1]);
    }

    [Fact]
    public async Task Wait_EventArrives_Completes()
    {
        await using var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision);
        for (int i = 0; i < 50; i++)
        {
            var wait = cursor.WaitAsync().AsTask();
            long revision = await host.CreatePod($"p{i}");
            await wait.WaitAsync(s_deadline);
            Assert.Equal([$"Added p{i}@{revision}"], cursor.ReadAll());
        }
    }

    [Fact]
    public async Task Wait_SomethingIsThere_CompletesAtOnce()
    {
        await using var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision);
        await host.CreatePod("a");
        Assert.True(cursor.WaitAsync().IsCompletedSuccessfully);
    }

    [Fact]
    public async Task Wait_WokenOrCancelled_EndsAndCanBeRepeated()
    {
        await using var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision);
        var wait = cursor.WaitAsync().AsTask();
        cursor.Wake();
        await wait.WaitAsync(s_deadline);
        // A wake without a wait is kept for the next one, once.
        cursor.Wake();
        cursor.Wake();
        Assert.True(cursor.WaitAsync().IsCompletedSuccessfully);
        using var source = new CancellationTokenSource();
        wait = cursor.WaitAsync(source.Token).AsTask();
        Assert.False(wait.IsCompleted);
        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait.WaitAsync(s_deadline));
        wait = cursor.WaitAsync().AsTask();
        long revision = await host.CreatePod("a");
        await wait.WaitAsync(s_deadline);
        Assert.Equal([$"Added a@{revision}"], cursor.ReadAll());
    }

    [Fact]
    public async Task Unregister_OpenCursor_Expires()
    {
        await using var host = await CacheHost.StartAsync();
        await host.CreatePod("a");
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision);
        var wait = cursor.WaitAsync().AsTask();
        host.Cacher.Unregister(host.Pods);
        await wait.WaitAsync(s_deadline);
        Assert.Equal(["EXPIRED"], cursor.ReadAll());
    }

    /// <summary>
    /// Writers race while watchers come, read, wait and go at random. Every watcher must see exactly the history after its start.
    /// </summary>
    [Fact]
    public async Task Read_WhileWritersRace_EveryWatcherSeesTheWholeHistory()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        await using var host = await CacheHost.StartAsync();
        long start = host.Cacher.CurrentRevision;
        const int Writers = 8;
        const int PerWriter = 150;
        long end = start + (Writers * PerWriter);
        var watchers = Enumerable.Range(0, 12).Select(watcher => Task.Run(() => FollowAsync(host, start, end, new Random(seed + watcher)))).ToArray();
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Run(async () =>
        {
            long revision = await host.CreatePod($"w{writer}");
            for (int i = 1; i < PerWriter; i++)
            {
                if (i % 10 == 9) revision = await host.DeletePod($"w{writer}", revision);
                else if (i % 10 == 0) revision = await host.CreatePod($"w{writer}");
                else revision = await host.UpdatePod($"w{writer}", revision, """{"app":"web"}""");
            }
        })));
        foreach (var seen in await Task.WhenAll(watchers).WaitAsync(s_deadline)) Assert.Equal(Enumerable.Range(1, (int)(end - start)).Select(i => start + i), seen);
    }

    private static async Task<List<long>> FollowAsync(CacheHost host, long start, long end, Random random)
    {
        var seen = new List<long>();
        var events = new WatchEvent[random.Next(1, 40)];
        var cursor = host.Pods.OpenCursor(start);
        while (start < end)
        {
            int count = cursor.Read(events);
            Assert.True(count >= 0, "the cursor expired");
            for (int i = 0; i < count; i++)
            {
                // The bytes are checked as well: they must be those of the event as long as it is lent.
                Assert.Contains($"\"resourceVersion\":\"{events[i].Revision}\"", events[i].Frame.Text());
                seen.Add(start = events[i].Revision);
            }
            if (count == 0 && start < end) await cursor.WaitAsync();
            if (random.Next(10) > 0) continue;
            // Goes, and comes back where it was.
            cursor.Dispose();
            cursor = host.Pods.OpenCursor(start);
        }
        cursor.Dispose();
        return seen;
    }
}
