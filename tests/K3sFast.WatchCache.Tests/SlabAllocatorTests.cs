using System.Runtime.InteropServices;
using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache.Tests;

/// <summary>Blocks while many objects are loaded: out of chunks, which come and go as a whole.</summary>
public sealed unsafe class SlabAllocatorTests
{
    private const int Size = 1000;
    private const int Run = 256 * 1024;

    [Fact]
    public void Load_OfAFewBlocks_TakesNoChunk()
    {
        var slabs = new SlabAllocator();
        slabs.BeginLoad();
        var blocks = Take(slabs, 1000, Size);
        slabs.EndLoad();
        Assert.Equal(0, slabs.Chunks);
        Free(slabs, blocks);
    }

    [Fact]
    public void Load_OfManyBlocks_HoldsThemApart_AndGivesAllBack()
    {
        var slabs = new SlabAllocator();
        slabs.BeginLoad();
        // Two classes in turn, so that a chunk holds runs of both.
        var blocks = new List<(nint Block, int Size)>();
        for (int i = 0; i < 20; i++)
        {
            blocks.AddRange(Take(slabs, 1000, Size, blocks.Count));
            blocks.AddRange(Take(slabs, 300, 3 * Size, blocks.Count));
        }
        slabs.EndLoad();
        AssertWhole(blocks);
        Assert.InRange(slabs.Chunks, 15, 20);
        // Runs of chunks go and are taken again, beside blocks that stay.
        var half = blocks.Where(static (_, i) => i % 2000 < 1000).ToList();
        var rest = blocks.Where(static (_, i) => i % 2000 >= 1000).ToList();
        Free(slabs, half);
        int chunks = slabs.Chunks;
        slabs.BeginLoad();
        var again = Take(slabs, 10_000, Size, 500_000);
        slabs.EndLoad();
        AssertWhole(again);
        Assert.Equal(rest.Count + again.Count, slabs.LiveBlocks);
        Assert.InRange(slabs.Chunks, chunks, chunks + 3);
        Free(slabs, rest);
        Free(slabs, again);
        Assert.Equal((0, 0), (slabs.LiveBlocks, slabs.UsedBytes));
        // A class keeps its last run.
        Assert.InRange(slabs.ReservedBytes, 0, 2 * Run);
        Assert.InRange(slabs.Chunks, 0, 2);
    }

    [Fact]
    public void EndLoad_WithRunsToSpare_GivesTheirPagesBack()
    {
        var slabs = new SlabAllocator();
        slabs.BeginLoad();
        // Four runs and the first of a chunk.
        var blocks = Take(slabs, (4 * Run / SlabAllocator.RoundUp(Size)) + 10, Size);
        Assert.Equal(1, slabs.Chunks);
        nint chunk = blocks[^1].Block & ~(nint)((2 << 20) - 1);
        Assert.Equal(0, chunk & (Run - 1));
        slabs.EndLoad();
        AssertWhole(blocks);
        // What is not there reads as zero and is in no page.
        byte[] resident = new byte[(2 << 20) / Environment.SystemPageSize];
        fixed (byte* pages = resident) Assert.Equal(0, NativeMethods.MinCore((void*)chunk, 2 << 20, pages));
        Assert.InRange(resident.Count(static page => (page & 1) != 0), 1, Run / Environment.SystemPageSize);
        Free(slabs, blocks);
    }

    private static List<(nint Block, int Size)> Take(SlabAllocator slabs, int count, int size, int first = 0)
    {
        var blocks = new List<(nint, int)>(count);
        for (int i = 0; i < count; i++)
        {
            byte* block = slabs.Allocate(size);
            new Span<byte>(block, size).Fill((byte)(first + i));
            *(int*)block = first + i;
            blocks.Add(((nint)block, size));
        }
        return blocks;
    }

    private static void AssertWhole(List<(nint Block, int Size)> blocks)
    {
        foreach (var (block, size) in blocks)
        {
            int number = *(int*)block;
            if (new Span<byte>((byte*)block + 4, size - 4).ContainsAnyExcept((byte)number)) Assert.Fail($"block {number} was written over");
        }
        Assert.Equal(blocks.Count, blocks.Select(static block => *(int*)block.Block).Distinct().Count());
    }

    private static void Free(SlabAllocator slabs, List<(nint Block, int Size)> blocks)
    {
        foreach (var (block, size) in blocks) slabs.Free((byte*)block, size);
    }

    private static class NativeMethods
    {
        /// <summary>mincore(2).</summary>
        [DllImport("libc", EntryPoint = "mincore")]
        internal static extern int MinCore(void* address, nuint length, byte* resident);
    }
}
