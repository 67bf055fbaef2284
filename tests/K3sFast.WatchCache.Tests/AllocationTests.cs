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
    public async Task Cursor_ThatIsNotReadOn_KeepsNothingAliveOnceItsEventsAreReturned()
    {
        await using var host = await CacheHost.StartAsync(new CacherOptions { MaxRingEvents = 32, MinRingEvents = 16 });
        long revision = await host.CreatePod("a");
        for (int i = 0; i < 1000; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        long settled = SlabAllocator.Shared.LiveBlocks;
        var cursors = new List<WatchCursor>();
        for (int i = 0; i < 20; i++)
        {
            var cursor = host.Pods.OpenCursor(host.Pods.OldestRevision);
            Assert.True(cursor.Read(new WatchEvent[4]) > 0);
            cursor.ReturnEvents();
            cursors.Add(cursor);
            for (int j = 0; j < 300; j++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        }
        // A segment of the ring more or less; 20 cursors that held theirs would be thousands of blocks.
        Assert.InRange(SlabAllocator.Shared.LiveBlocks, 1, settled + 600);
        foreach (var cursor in cursors)
        {
            Assert.Equal(-1, cursor.Read(new WatchEvent[4]));
            cursor.Dispose();
        }
    }

    [Fact]
    public async Task Wait_KeyedWatcher_ParkAndWakeAllocateNothing()
    {
        await using var host = await CacheHost.StartAsync();
        using var cursor = host.Pods.OpenCursor(host.Cacher.CurrentRevision, "/registry/pods/blue/"u8);
        using var woken = new SemaphoreSlim(0);
        Action signal = () => woken.Release();
        var events = new WatchEvent[4];
        for (int round = 0; round < 2; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                WakeOften(cursor, 1, woken, signal);
                if (cursor.Read(events) != 0) Assert.Fail("nothing happened");
            }
            if (round > 0) Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
    }

    [Theory]
    [InlineData(300)]
    [InlineData(700)]
    [InlineData(1000)]
    [InlineData(3000)]
    [InlineData(9000)]
    public async Task Object_InTheCache_TakesAQuarterMoreThanItsBytesAnd128(int pad)
    {
        const int Count = 4000;
        await using var host = await CacheHost.StartAsync();
        string text = new('x', pad);
        var items = new List<StoredObject>();
        for (int i = 0; i < Count; i++)
        {
            string json = CacheHost.PodJson($"p{i:D5}").Replace("\"Running\"", $"\"Running\",\"message\":\"{text}\"", StringComparison.Ordinal);
            items.Add(host.Pods.Rebuild(System.Text.Encoding.UTF8.GetBytes(CacheHost.PodKey($"p{i:D5}")), System.Text.Encoding.UTF8.GetBytes(json), i + 10, i + 10, WatchEventType.Added));
        }
        long encoded = items.Sum(static item => (long)item.Json.Length);
        long native = items.Sum(static item => (long)item.SizeBytes);
        long before = GC.GetAllocatedBytesForCurrentThread();
        var table = new ObjectTable();
        foreach (var item in items) table.Set(item);
        // What the table allocates on the way to its size is the most that it can hold.
        long managed = GC.GetAllocatedBytesForCurrentThread() - before + (Count * ManagedObjectBytes);
        table.Clear();
        Assert.True(native + managed <= (encoded * 1.25) + (Count * 128), $"{(native + managed) / Count} bytes for {encoded / Count}");
    }

    // StoredObject: header and method table (16), block, references, decoded.
    private const int ManagedObjectBytes = 16 + 8 + 8 + 8;

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
