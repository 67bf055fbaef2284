using System.Collections.Concurrent;

namespace K3sFast.ApiServer.Tests.Requests;

public sealed class UniqueIdsTests
{
    [Fact]
    public void Next_ManyOnManyThreads_AreAllDifferentAndOfVersion4()
    {
        const int Threads = 8, Each = 1_000;
        var drawn = new ConcurrentBag<string>();
        var threads = Enumerable.Range(0, Threads).Select(_ => new Thread(() =>
        {
            for (var i = 0; i < Each; i++)
                drawn.Add(UniqueIds.Next());
        })).ToArray();
        foreach (var thread in threads)
            thread.Start();
        foreach (var thread in threads)
            thread.Join();
        Assert.Equal(Threads * Each, drawn.Distinct().Count());
        Assert.All(drawn, static id => Assert.Matches("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", id));
        // No bit but those of version and variant is the same in all of them.
        var ids = drawn.Select(static id => UInt128.Parse(id.Replace("-", ""), System.Globalization.NumberStyles.HexNumber)).ToArray();
        var always = ids.Aggregate(UInt128.MaxValue, static (all, id) => all & id);
        var ever = ids.Aggregate(UInt128.Zero, static (all, id) => all | id);
        Assert.Equal((UInt128)0x4 << 76 | (UInt128)0x8 << 60, always);
        Assert.Equal(UInt128.MaxValue ^ ((UInt128)0xb << 76 | (UInt128)0x4 << 60), ever);
    }

    [Fact]
    public void Next_Again_AllocatesItsTextAlone()
    {
        const int Count = 1_000;
        UniqueIds.Next();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Count; i++)
            GC.KeepAlive(new string('x', 36));
        var texts = GC.GetAllocatedBytesForCurrentThread() - before;
        before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Count; i++)
            GC.KeepAlive(UniqueIds.Next());
        Assert.Equal(texts, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
