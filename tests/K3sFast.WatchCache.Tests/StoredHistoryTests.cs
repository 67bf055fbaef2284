using System.Text;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Tests;

/// <summary>Lists at revisions that the ring has forgotten and the datastore has not.</summary>
public sealed class StoredHistoryTests
{
    private static readonly CacherOptions s_shortRing = new() { MaxRingEvents = 32, MinRingEvents = 16 };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task List_BehindTheRing_ComesFromTheDatastore()
    {
        await using var host = await CacheHost.StartAsync(s_shortRing);
        long first = await host.CreatePod("a");
        long then = await host.CreatePod("b");
        await host.CreatePod("c", ns: "other");
        await host.DeletePod("a", first);
        for (int i = 0; i < 120; i++) await host.CreatePod($"late-{i}");
        Assert.False(host.Pods.TryListAt(then, "/registry/pods/default/"u8, out _));
        using var old = await host.Cacher.ListStoredAsync(host.Pods, then, "/registry/pods/default/"u8.ToArray(), [], Cancel);
        Assert.NotNull(old);
        Assert.Equal(["a", "b"], await NamesAsync(old));
        Assert.Equal(then, old.Revision);
        Assert.Equal(1, await old.CountFromAsync("/registry/pods/default/b"u8, Cancel));
    }

    /// <summary>Many small objects end a piece by their number, few long ones by their bytes; either way each is shown once, from any key on.</summary>
    [Theory]
    [InlineData(1_300, 10)]
    [InlineData(60, 50_000)]
    public async Task List_OfManyPieces_ShowsEachObjectOnce_AndKeepsOnePieceAtATime(int objects, int labelBytes)
    {
        await using var host = await CacheHost.StartAsync(s_shortRing);
        string label = new('x', labelBytes);
        await Task.WhenAll(Enumerable.Range(0, objects).Select(i => host.CreatePod($"p-{i:d4}", $$"""{"long":"{{label}}"}""")));
        long then = host.Cacher.CurrentRevision;
        for (int i = 0; i < 120; i++) await host.CreatePod($"late-{i}");
        string[] expected = [.. Enumerable.Range(0, objects).Select(i => $"p-{i:d4}")];
        using var old = await host.Cacher.ListStoredAsync(host.Pods, then, "/registry/pods/"u8.ToArray(), [], Cancel);
        Assert.NotNull(old);
        Assert.Equal(expected, await NamesAsync(old, AtHand));
        // Back to the beginning, as a list that is sent after it was measured; and from the middle.
        Assert.Equal(expected, await NamesAsync(old, AtHand));
        string middle = $"/registry/pods/default/p-{objects / 2:d4}";
        Assert.Equal(expected[(objects / 2)..], await NamesAsync(old, AtHand, middle));
        Assert.Equal(objects - (objects / 2), await old.CountFromAsync(Encoding.UTF8.GetBytes(middle), Cancel));

        void AtHand()
        {
            int count = 0;
            long bytes = 0;
            foreach (var item in old)
            {
                count++;
                bytes += item.SizeBytes;
            }
            Assert.InRange(count, 1, 512);
            Assert.InRange(bytes, 1, (512 + 64) * 1024);
        }
    }

    [Fact]
    public async Task List_BehindTheCompaction_IsGone()
    {
        await using var host = await CacheHost.StartAsync();
        long then = await host.CreatePod("a");
        await host.CreatePod("b");
        await host.Store.CompactAsync(host.Store.CurrentRevision, Cancel);
        Assert.Null(await host.Cacher.ListStoredAsync(host.Pods, then, "/registry/pods/"u8.ToArray(), [], Cancel));
    }

    [Fact]
    public async Task List_CompactedAwayOnItsWay_EndsWithThat_AndNotAsIfItWereWhole()
    {
        await using var host = await CacheHost.StartAsync();
        await Task.WhenAll(Enumerable.Range(0, 600).Select(i => host.CreatePod($"p-{i:d4}")));
        long then = host.Cacher.CurrentRevision;
        await host.CreatePod("late");
        using var old = await host.Cacher.ListStoredAsync(host.Pods, then, "/registry/pods/"u8.ToArray(), [], Cancel);
        await host.Store.CompactAsync(host.Store.CurrentRevision, Cancel);
        await Assert.ThrowsAsync<DatastoreCompactedException>(() => NamesAsync(old!));
    }

    private static async Task<string[]> NamesAsync(Snapshot snapshot, Action? look = null, string startKey = "")
    {
        var names = new List<string>();
        var reader = snapshot.ReadFrom(Encoding.UTF8.GetBytes(startKey));
        while (await reader.MoveNextAsync(Cancel))
        {
            if (names.Count % 50 == 0) look?.Invoke();
            names.Add(reader.Current.NameUtf8.Text());
        }
        return [.. names];
    }
}
