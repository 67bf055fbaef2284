using System.Text;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

public sealed class SnapshotTests
{
    [Fact]
    public async Task List_WhileWritesGoOn_StaysAsItWas()
    {
        await using var host = await CacheHost.StartAsync();
        long a = await host.CreatePod("a");
        long b = await host.CreatePod("b");
        using var snapshot = host.Pods.List();
        await host.UpdatePod("a", a, """{"app":"db"}""");
        await host.DeletePod("b", b);
        await host.CreatePod("c");
        Assert.Equal(["a", "b"], snapshot.Names());
        Assert.Equal(b, snapshot.Revision);
        foreach (var item in snapshot) Assert.Equal("""{"app":"web"}""", item.LabelsJson.Text());
        using var now = host.Pods.List();
        Assert.Equal(["a", "c"], now.Names());
    }

    [Fact]
    public async Task List_NamespaceAndStartKey_ShowTheRest()
    {
        await using var host = await CacheHost.StartAsync();
        foreach (string ns in (string[])["blue", "green", "red"])
        {
            for (int i = 0; i < 300; i++) await host.CreatePod($"p{i:D3}", ns: ns);
        }
        using var green = host.Pods.List("/registry/pods/green/"u8);
        Assert.Equal(300, green.CountFrom());
        Assert.Equal(Enumerable.Range(0, 300).Select(i => $"p{i:D3}"), green.Names());
        byte[] after = [.. "/registry/pods/green/p249"u8, 0];
        Assert.Equal(50, green.CountFrom(after));
        var rest = new List<string>();
        foreach (var item in green.From(after)) rest.Add(item.NameUtf8.Text());
        Assert.Equal(Enumerable.Range(250, 50).Select(i => $"p{i:D3}"), rest);
        using var all = host.Pods.List();
        Assert.Equal(900, all.CountFrom());
        Assert.Equal(900, all.Names().Length);
        using var none = host.Pods.List("/registry/pods/yellow/"u8);
        Assert.Equal(0, none.CountFrom());
        Assert.Empty(none.Names());
    }

    [Fact]
    public async Task TryListAt_RevisionLeftRing_Refuses()
    {
        await using var host = await CacheHost.StartAsync(new CacherOptions { MaxRingEvents = 32, MinRingEvents = 16 });
        long start = host.Cacher.CurrentRevision;
        long revision = await host.CreatePod("a");
        for (int i = 0; i < 1000; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        Assert.False(host.Pods.TryListAt(start, default, out _));
        Assert.False(host.Pods.TryListAt(revision + 1, default, out _));
        Assert.True(host.Pods.TryListAt(revision, default, out var snapshot));
        snapshot!.Dispose();
    }

    /// <summary>A random history on few keys; then every revision of it is listed and compared with a plain model.</summary>
    [Fact]
    public async Task TryListAt_EveryRevisionOfARandomHistory_ShowsTheStateThen()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        await using var host = await CacheHost.StartAsync();
        var model = new SortedDictionary<string, long>(StringComparer.Ordinal);
        var states = new Dictionary<long, string[]> { [host.Cacher.CurrentRevision] = [] };
        for (int i = 0; i < 400; i++)
        {
            string ns = random.Next(2) == 0 ? "blue" : "red";
            string name = $"p{random.Next(20)}";
            string id = $"{ns}/{name}";
            if (!model.TryGetValue(id, out long known)) model[id] = await host.CreatePod(name, ns: ns);
            else if (random.Next(3) > 0) model[id] = await host.UpdatePod(name, known, """{"app":"web"}""", ns);
            else
            {
                await host.DeletePod(name, known, ns);
                model.Remove(id);
            }
            states[host.Cacher.CurrentRevision] = [.. model.Select(pair => $"{pair.Key}@{pair.Value}")];
        }
        foreach (var (revision, expected) in states)
        {
            foreach (string prefix in (string[])["/registry/pods/", "/registry/pods/red/"])
            {
                Assert.True(host.Pods.TryListAt(revision, Encoding.UTF8.GetBytes(prefix), out var snapshot));
                using (snapshot)
                {
                    var seen = new List<string>();
                    foreach (var item in snapshot!) seen.Add($"{item.NamespaceUtf8.Text()}/{item.NameUtf8.Text()}@{item.Revision}");
                    var wanted = expected.Where(line => $"/registry/pods/{line}".StartsWith(prefix, StringComparison.Ordinal)).ToArray();
                    Assert.Equal(wanted, seen);
                    Assert.Equal(wanted.Length, snapshot.CountFrom());
                    Assert.Equal(revision, snapshot.Revision);
                }
            }
        }
    }

    [Fact]
    public async Task List_ThenWatchFromItsRevision_MissesAndRepeatsNothing()
    {
        await using var host = await CacheHost.StartAsync();
        using var stop = new CancellationTokenSource();
        var writing = Task.WhenAll(Enumerable.Range(0, 4).Select(writer => Task.Run(async () =>
        {
            for (int i = 0; !stop.IsCancellationRequested; i++) await host.CreatePod($"w{writer}-{i}");
        })));
        for (int round = 0; round < 50; round++)
        {
            using var snapshot = host.Pods.List();
            using var cursor = host.Pods.OpenCursor(snapshot.Revision);
            long newestListed = 0;
            foreach (var item in snapshot) newestListed = Math.Max(newestListed, item.Revision);
            Assert.True(newestListed <= snapshot.Revision);
            var events = new WatchEvent[1];
            int count;
            while ((count = cursor.Read(events)) == 0) await cursor.WaitAsync();
            Assert.Equal(1, count);
            Assert.Equal(snapshot.Revision + 1, events[0].Revision);
        }
        await stop.CancelAsync();
        await writing;
    }
}
