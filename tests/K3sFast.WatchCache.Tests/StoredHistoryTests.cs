namespace K3sFast.WatchCache.Tests;

public sealed class StoredHistoryTests
{
    [Fact]
    public async Task List_BehindTheRing_ComesFromTheDatastore()
    {
        await using var host = await CacheHost.StartAsync(new CacherOptions { MaxRingEvents = 32, MinRingEvents = 16 });
        long first = await host.CreatePod("a");
        long then = await host.CreatePod("b");
        await host.CreatePod("c", ns: "other");
        await host.DeletePod("a", first);
        for (int i = 0; i < 120; i++) await host.CreatePod($"late-{i}");
        Assert.False(host.Pods.TryListAt(then, "/registry/pods/default/"u8, out _));
        using var old = await host.Cacher.ListStoredAsync(host.Pods, then, "/registry/pods/default/"u8.ToArray(), TestContext.Current.CancellationToken);
        Assert.NotNull(old);
        Assert.Equal(["a", "b"], old.Names());
        Assert.Equal(then, old.Revision);
        Assert.Equal(1, old.CountFrom("/registry/pods/default/b"u8));
    }

    [Fact]
    public async Task List_BehindTheCompaction_IsGone()
    {
        await using var host = await CacheHost.StartAsync();
        long then = await host.CreatePod("a");
        await host.CreatePod("b");
        await host.Store.CompactAsync(host.Store.CurrentRevision, TestContext.Current.CancellationToken);
        Assert.Null(await host.Cacher.ListStoredAsync(host.Pods, then, "/registry/pods/"u8.ToArray(), TestContext.Current.CancellationToken));
    }
}
