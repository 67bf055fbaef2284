using Microsoft.Extensions.Time.Testing;

namespace K3sFast.WatchCache.Tests;

/// <summary>How much history is kept.</summary>
public sealed class EventRingTests
{
    [Fact]
    public async Task Rings_TogetherOverTheirBound_TheBusyOneGivesUpItsOldest()
    {
        await using var host = await CacheHost.StartAsync(
            new CacherOptions { MaxTotalRingBytes = 400_000, MinRingBytes = 50_000, MinRingEvents = 16 }, static cacher => cacher.Register("/registry/nodes/", []));
        var nodes = host.Cacher.Find("/registry/nodes/n")!;
        long revision = await host.Create("/registry/nodes/n1", """{"metadata":{"name":"n1"}}""");
        long quiet = revision;
        for (int i = 0; i < 20; i++) revision = (await host.Cacher.WriteAsync(Datastore.AppendRequest.Update("/registry/nodes/n1", revision, "{\"metadata\":{\"name\":\"n1\"}}"u8.ToArray()))).Revision;
        revision = await host.CreatePod("a");
        for (int i = 0; i < 3000; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        // The bound, and the segment that is being filled: 256 events of less than 700 bytes.
        Assert.InRange(host.Cacher.RingBytes, 1, 400_000 + (256 * 700));
        Assert.True(host.Pods.OldestRevision > quiet + 21);
        using var late = nodes.OpenCursor(quiet);
        Assert.Equal(20, late.ReadAll().Count);
    }

    [Fact]
    public async Task Ring_ThatNothingIsWrittenTo_LetsGoOfOldEvents()
    {
        var clock = new FakeTimeProvider();
        await using var host = await CacheHost.StartAsync(new CacherOptions { MinRingEvents = 16, TimeProvider = clock });
        long revision = await host.CreatePod("a");
        for (int i = 0; i < 1000; i++) revision = await host.UpdatePod("a", revision, """{"app":"web"}""");
        long full = host.Cacher.RingBytes;
        clock.Advance(TimeSpan.FromSeconds(200));
        // At most the segment at the end is left: 256 events.
        Assert.InRange(host.Cacher.RingBytes, 0, full / 2);
        using var oldest = host.Pods.OpenCursor(host.Pods.OldestRevision);
        Assert.Equal($"Modified a@{revision}", oldest.ReadAll()[^1]);
    }
}
