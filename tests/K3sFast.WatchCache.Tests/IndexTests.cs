using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

/// <summary>Lists and watches by the value of an indexed field or label.</summary>
public sealed class IndexTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task List_ByField_FollowsEveryChange()
    {
        await using var host = await CacheHost.StartAsync();
        long a = await host.CreatePodOn("n1", "a");
        long b = await host.CreatePodOn("n2", "b");
        await host.CreatePodOn("n1", "c");
        Assert.Equal(["a", "c"], On(host, "n1"));
        a = await host.UpdatePod("a", a, """{"app":"web"}""", node: "n2");
        Assert.Equal(["c"], On(host, "n1"));
        Assert.Equal(["a", "b"], On(host, "n2"));
        await host.UpdatePod("a", a, """{"app":"web"}""", node: "n2");
        await host.DeletePod("b", b);
        Assert.Equal(["a"], On(host, "n2"));
        Assert.Empty(On(host, "n3"));
        await host.RestartAsync();
        Assert.Equal(["c"], On(host, "n1"));
        Assert.Equal(["a"], On(host, "n2"));
    }

    [Fact]
    public async Task List_ByIndex_IsASnapshot()
    {
        await using var host = await CacheHost.StartAsync();
        long revision = await host.CreatePodOn("n1", "a");
        await host.CreatePod("b", ns: "other");
        using var all = host.Pods.List(default, host.Pods.KeyOfField("spec.nodeName", "n1"u8));
        using var inNamespace = host.Pods.List("/registry/pods/other/"u8, host.Pods.KeyOfField("spec.nodeName", "n1"u8));
        await host.DeletePod("a", revision);
        Assert.Equal(["a", "b"], all.Names());
        Assert.Equal(["b"], inNamespace.Names());
        Assert.Equal(revision + 1, all.Revision);
    }

    [Fact]
    public async Task List_ByLabel_ShowsItsObjects()
    {
        await using var host = await CacheHost.StartAsync();
        long a = await host.CreatePod("a", """{"tier":"x","app":"web"}""");
        await host.CreatePod("b", """{"app":"db"}""");
        using (var web = host.Pods.List(default, host.Pods.KeyOfLabel("app"u8, "web"u8))) Assert.Equal(["a"], web.Names());
        await host.UpdatePod("a", a, """{"app":"db"}""");
        using var db = host.Pods.List(default, host.Pods.KeyOfLabel("app"u8, "db"u8));
        Assert.Equal(["a", "b"], db.Names());
    }

    [Fact]
    public async Task KeyOf_WhatIsNotIndexed_IsNone()
    {
        await using var host = await CacheHost.StartAsync();
        Assert.True(host.Pods.KeyOfField("status.phase", "Running"u8).IsNone);
        Assert.True(host.Pods.KeyOfLabel("tier"u8, "web"u8).IsNone);
        Assert.True(host.Pods.KeyOfField("spec.nodeName", ""u8).IsNone);
        Assert.Throws<ArgumentException>(() => host.Cacher.Register("/registry/other/", ["a.b"], new ResourceIndexes(["spec.nodeName"], [])));
    }

    [Fact]
    public async Task Wait_TenThousandKeyedWatchers_OnlyTheKeysOwnAreWoken()
    {
        await using var host = await CacheHost.StartAsync(new CacherOptions { MaxRingEvents = 32, MinRingEvents = 16 });
        var cursors = new List<WatchCursor>();
        var waits = new List<Task>();
        for (int i = 0; i < 10_000; i++)
        {
            var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision, default, host.Pods.KeyOfField("spec.nodeName", System.Text.Encoding.UTF8.GetBytes($"n{i}")));
            Assert.Equal(0, cursor.Read(new WatchEvent[1]));
            cursors.Add(cursor);
            waits.Add(cursor.WaitAsync().AsTask());
        }
        Assert.Equal(10_000, host.Pods.ParkedCursors);

        // Far more events than the ring holds, all of one node: the others stay where they are and lose nothing.
        long revision = await host.CreatePodOn("busy", "p");
        for (int i = 0; i < 500; i++) revision = await host.UpdatePod("p", revision, """{"app":"web"}""", node: "busy");
        Assert.Equal(10_000, host.Pods.ParkedCursors);
        Assert.DoesNotContain(waits, static wait => wait.IsCompleted);

        revision = await host.UpdatePod("p", revision, """{"app":"web"}""", node: "n77");
        await waits[77].WaitAsync(s_deadline);
        Assert.Equal(9_999, host.Pods.ParkedCursors);
        Assert.Equal([$"Modified p@{revision}"], cursors[77].ReadAll());
        // Leaving a node is its watchers' matter too.
        waits[77] = cursors[77].WaitAsync().AsTask();
        revision = await host.UpdatePod("p", revision, """{"app":"web"}""", node: "n78");
        await waits[77].WaitAsync(s_deadline);
        await waits[78].WaitAsync(s_deadline);
        Assert.Equal([$"Modified p@{revision}"], cursors[77].ReadAll());
        Assert.Equal([$"Modified p@{revision}"], cursors[78].ReadAll());
        // A bookmark for one that saw nothing tells of now.
        cursors[5].Wake();
        await waits[5].WaitAsync(s_deadline);
        Assert.Empty(cursors[5].ReadAll());
        Assert.Equal(revision, cursors[5].Revision);
        foreach (var cursor in cursors)
        {
            cursor.Wake();
        }
        await Task.WhenAll(waits).WaitAsync(s_deadline);
        foreach (var cursor in cursors) cursor.Dispose();
        Assert.Equal(0, host.Pods.ParkedCursors);
    }

    [Fact]
    public async Task Wait_NamespaceAndObjectWatchers_AreWokenForTheirOwn()
    {
        await using var host = await CacheHost.StartAsync();
        using var blue = host.Pods.OpenCursor(host.Cacher.CurrentRevision, "/registry/pods/blue/"u8);
        using var one = host.Pods.OpenCursor(host.Cacher.CurrentRevision, default, WatchCache.KeyOfObject("/registry/pods/red/x"u8));
        var (blueWait, oneWait) = (blue.WaitAsync().AsTask(), one.WaitAsync().AsTask());
        await host.CreatePod("a", ns: "red");
        Assert.Equal(2, host.Pods.ParkedCursors);
        long x = await host.CreatePod("x", ns: "red");
        await oneWait.WaitAsync(s_deadline);
        Assert.Equal([$"Added x@{x}"], one.ReadAll());
        Assert.False(blueWait.IsCompleted);
        long b = await host.CreatePod("b", ns: "blue");
        await blueWait.WaitAsync(s_deadline);
        Assert.Equal([$"Added b@{b}"], blue.ReadAll());
    }

    [Fact]
    public async Task Close_ParkedWatchers_FindTheirPlaceGone()
    {
        var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision, "/registry/pods/blue/"u8);
        var wait = cursor.WaitAsync().AsTask();
        await host.DisposeAsync();
        await wait.WaitAsync(s_deadline);
        Assert.Equal(["EXPIRED"], cursor.ReadAll());
    }

    [Fact]
    public async Task Follow_ManyKeyedWatchersBesideWriters_NobodyMissesOrRepeats()
    {
        const int Nodes = 8;
        const int Writes = 4000;
        await using var host = await CacheHost.StartAsync();
        var written = Enumerable.Range(0, Nodes).Select(static _ => new List<long>()).ToArray();
        using var stop = new CancellationTokenSource();
        long start = host.Cacher.CurrentRevision;
        var watchers = Enumerable.Range(0, Nodes * 4).Select(i => Task.Run(() => FollowAsync(host, start, $"n{i % Nodes}", stop.Token))).ToArray();
        await Task.WhenAll(Enumerable.Range(0, 16).Select(writer => Task.Run(async () =>
        {
            var random = new Random(writer);
            for (int i = 0; i < Writes / 16; i++)
            {
                int node = random.Next(Nodes);
                long revision = await host.CreatePodOn($"n{node}", $"p{writer}-{i}");
                lock (written[node]) written[node].Add(revision);
                if (random.Next(8) == 0) await Task.Yield();
            }
        })));
        stop.Cancel();
        for (int i = 0; i < watchers.Length; i++)
        {
            var seen = await watchers[i].WaitAsync(s_deadline);
            written[i % Nodes].Sort();
            Assert.Equal(written[i % Nodes], seen);
        }
    }

    /// <summary>
    /// A watcher that reads an event while it is being published, and waits under its key at once, is not shown it again: for that it must get in between
    /// the publishing and the waking of the watchers, so all of them do nothing but read and wait.
    /// </summary>
    [Fact]
    public async Task Wait_WhileAnEventIsBeingPublished_IsNotPutBackBeforeIt()
    {
        const int Events = 20_000;
        await using var host = await CacheHost.StartAsync(new CacherOptions { MaxRingEvents = 2 * Events, MaxRingBytes = long.MaxValue, MaxTotalRingBytes = long.MaxValue });
        IDatastoreObserver commits = host.Cacher;
        byte[] pod = System.Text.Encoding.UTF8.GetBytes(CacheHost.PodJson("a", ns: "blue"));
        long start = host.Cacher.CurrentRevision;
        var watchers = Enumerable.Range(0, 3).Select(_ => Task.Factory.StartNew(Follow, TaskCreationOptions.LongRunning)).ToArray();
        for (long revision = start + 1; revision <= start + Events; revision++)
        {
            commits.OnEntry(new DatastoreEntry { Key = CacheHost.PodKey("a", "blue"), Value = pod, Revision = revision, CreateRevision = start + 1, Kind = AppendKind.Update });
            commits.OnRevision(revision);
        }
        await Task.WhenAll(watchers).WaitAsync(s_deadline);

        void Follow()
        {
            using var cursor = host.Pods.OpenCursor(start, "/registry/pods/blue/"u8);
            var events = new WatchEvent[64];
            for (long seen = start; seen < start + Events;)
            {
                int count = cursor.Read(events);
                Assert.True(count >= 0, "the place left the ring");
                for (int i = 0; i < count; i++) Assert.Equal(++seen, events[i].Revision);
                cursor.ReturnEvents();
                // The next read takes it out again.
                if (count == 0) host.Pods.TryEnlist(cursor);
            }
        }
    }

    // Everything of one node until told to stop, in the order it came.
    private static async Task<List<long>> FollowAsync(CacheHost host, long start, string node, CancellationToken stop)
    {
        byte[] name = System.Text.Encoding.UTF8.GetBytes(node);
        using var cursor = host.Pods.OpenCursor(start, default, host.Pods.KeyOfField("spec.nodeName", name));
        using var wake = stop.Register(cursor.Wake);
        var seen = new List<long>();
        var events = new WatchEvent[5];
        while (true)
        {
            bool isLast = stop.IsCancellationRequested;
            int count = cursor.Read(events);
            Assert.True(count >= 0, "the place left the ring");
            for (int i = 0; i < count; i++)
            {
                if (events[i].Object.Field(1).SequenceEqual(name)) seen.Add(events[i].Revision);
            }
            cursor.ReturnEvents();
            if (count > 0) continue;
            if (isLast) return seen;
            await cursor.WaitAsync();
        }
    }

    private static string[] On(CacheHost host, string node)
    {
        using var list = host.Pods.List(default, host.Pods.KeyOfField("spec.nodeName", System.Text.Encoding.UTF8.GetBytes(node)));
        return list.Names();
    }
}
