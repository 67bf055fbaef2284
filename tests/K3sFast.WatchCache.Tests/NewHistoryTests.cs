using System.Text;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

/// <summary>A cache whose history begins anew (everything is read again, or the resource is forgotten) while watchers wait in it and come to it.</summary>
public sealed class NewHistoryTests
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Replace_WatchersUnderTheirKeys_AreWokenAndFindTheirPlacesGone()
    {
        await using var host = await CacheHost.StartAsync();
        var cursors = new List<WatchCursor>();
        var waits = new List<Task>();
        // Chains of several under one key, too.
        for (int i = 0; i < 300; i++)
        {
            var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision, default, Node(host, i / 3));
            Assert.Equal(0, cursor.Read(new WatchEvent[1]));
            cursors.Add(cursor);
            waits.Add(cursor.WaitAsync().AsTask());
        }
        Assert.Equal(300, host.Pods.ParkedCursors);

        host.Pods.Replace([], host.Cacher.CurrentRevision + 10);

        await Task.WhenAll(waits).WaitAsync(s_deadline);
        Assert.Equal(0, host.Pods.ParkedCursors);
        foreach (var cursor in cursors)
        {
            Assert.Equal(["EXPIRED"], cursor.ReadAll());
            cursor.Dispose();
        }
    }

    [Fact]
    public async Task OpenCursor_AsSoonAsTheNewHistoryIsThere_NeverExpiresForTheOldOne()
    {
        await using var host = await CacheHost.StartAsync();
        long revision = host.Cacher.CurrentRevision;
        var key = Node(host, 1);
        for (int round = 0; round < 300; round++)
        {
            revision++;
            long next = revision;
            var replaced = Task.Run(() => host.Pods.Replace([], next));
            SpinWait.SpinUntil(() => host.Pods.OldestRevision >= next, s_deadline);
            using var cursor = host.Pods.OpenCursor(next, default, key);
            Assert.Equal(0, cursor.Read(new WatchEvent[1]));
            var wait = cursor.WaitAsync().AsTask();
            await replaced;
            cursor.Wake();
            await wait.WaitAsync(s_deadline);
            Assert.Equal(0, cursor.Read(new WatchEvent[1]));
        }
    }

    [Fact]
    public async Task OpenCursorAtEnd_CacheIsAheadOfTheOthers_ReadsWhatFollows()
    {
        await using var host = await CacheHost.StartAsync();
        long known = host.Cacher.CurrentRevision, now = known + 10;
        // A reload has come to this cache, and not yet to all.
        host.Pods.Replace([], now);
        using var late = host.Pods.OpenCursor(known);
        Assert.Equal(-1, late.Read(new WatchEvent[1]));

        using var cursor = host.Pods.OpenCursorAtEnd();
        Assert.Equal(0, cursor.Read(new WatchEvent[1]));
        byte[] json = Encoding.UTF8.GetBytes(CacheHost.PodJson("a"));
        string path = CacheHost.PodKey("a");
        host.Pods.Apply(new DatastoreEntry { Key = path, Value = json, Revision = now + 1, CreateRevision = now + 1, Kind = AppendKind.Create }, Encoding.UTF8.GetBytes(path), json);
        Assert.Equal([$"Added a@{now + 1}"], cursor.ReadAll());
    }

    private static IndexKey Node(CacheHost host, int number) => host.Pods.KeyOfField("spec.nodeName", Encoding.UTF8.GetBytes($"n{number}"));
}
