using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache.Tests;

/// <summary>The budgets in bytes: reading, delivering, fetching and listing allocate nothing; nothing native is left behind.</summary>
[Collection(nameof(AloneCollection))]
public sealed class AllocationTests
{
    [Fact]
    public async Task Cursor_DeliverOneEventToOneMoreWatcher_AllocatesNothing()
    {
        await using var host = await CacheHost.StartAsync();
        long start = host.Cacher.CurrentRevision;
        long revision = await host.CreatePod("a");
        for (int i = 0; i < 1500; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        using var warm = host.Pods.OpenCursor(start);
        using var cursor = host.Pods.OpenCursor(start);
        var events = new WatchEvent[16];
        Drain(warm, events);
        long before = GC.GetAllocatedBytesForCurrentThread();
        var (count, bytes) = Drain(cursor, events);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(1501, count);
        Assert.True(bytes > 0);
    }

    [Fact]
    public async Task GetAndList_AllocateNothingPerObject()
    {
        await using var host = await CacheHost.StartAsync();
        for (int i = 0; i < 1000; i++) await host.CreatePod($"p{i:D4}");
        Fetch(host.Pods);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Fetch(host.Pods);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        List(host.Pods);
        before = GC.GetAllocatedBytesForCurrentThread();
        int listed = List(host.Pods);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.Equal(1000, listed);
        // The snapshot itself, whatever the number of objects.
        Assert.InRange(allocated, 1, 100);
    }

    [Fact]
    public async Task Wait_RepeatedWakeUps_AllocateNothing()
    {
        await using var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision);
        using var woken = new SemaphoreSlim(0);
        Action signal = () => woken.Release();
        WakeOften(cursor, 100, woken, signal);
        long before = GC.GetAllocatedBytesForCurrentThread();
        WakeOften(cursor, 1000, woken, signal);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public async Task Host_WhenClosed_LeavesNoNativeBytes()
    {
        long before = SlabAllocator.Shared.LiveBlocks;
        await using (var host = await CacheHost.StartAsync())
        {
            long revision = await host.CreatePod("a");
            for (int i = 0; i < 500; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
            await host.DeletePod("a", revision);
            await host.CreatePod("b");
            using var list = host.Pods.List();
            using var cursor = host.Pods.OpenCursor(list.Revision);
            Assert.True(host.Pods.TryListAt(list.Revision - 5, default, out var older));
            older!.Dispose();
            Assert.True(SlabAllocator.Shared.LiveBlocks > before);
        }
        Assert.Equal(before, SlabAllocator.Shared.LiveBlocks);
    }

    private static (int Count, long Bytes) Drain(WatchCursor cursor, WatchEvent[] events)
    {
        int total = 0;
        long bytes = 0;
        while (cursor.Read(events) is > 0 and var count)
        {
            for (int i = 0; i < count; i++) bytes += events[i].Frame.Length;
            total += count;
        }
        return (total, bytes);
    }

    private static void Fetch(WatchCache pods)
    {
        for (int i = 0; i < 1000; i++)
        {
            using var item = pods.Get("/registry/pods/default/p0500");
            Assert.NotNull(item);
        }
    }

    private static int List(WatchCache pods)
    {
        using var snapshot = pods.List();
        int count = 0;
        foreach (var item in snapshot) count += item.Json.Length > 0 ? 1 : 0;
        return count;
    }

    private static void WakeOften(WatchCursor cursor, int times, SemaphoreSlim woken, Action signal)
    {
        for (int i = 0; i < times; i++)
        {
            var awaiter = cursor.WaitAsync().GetAwaiter();
            awaiter.UnsafeOnCompleted(signal);
            cursor.Wake();
            Assert.True(woken.Wait(30_000));
            awaiter.GetResult();
        }
    }
}
