using System.Text;
using K3sFast.WatchCache.Json;
using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache.Tests;

[Collection(nameof(AloneCollection))]
public sealed class ObjectTableTests
{
    private static readonly FieldPaths s_noFields = new([]);

    /// <summary>Random changes with snapshots taken and dropped at random, against a sorted dictionary; at the end nothing is left.</summary>
    [Fact]
    public void Table_RandomChangesWithSnapshots_AgreesWithTheModelAndLeaksNothing()
    {
        int seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        long blocksBefore = SlabAllocator.Shared.LiveBlocks;
        var table = new ObjectTable();
        var model = new SortedDictionary<string, long>(StringComparer.Ordinal);
        var snapshots = new List<(TableRoot Root, string[] Expected)>();
        for (int i = 1; i <= 20_000; i++)
        {
            string key = $"/k/{random.Next(2_000):D4}";
            if (random.Next(3) > 0)
            {
                var replaced = table.Set(Make(key, i));
                Assert.Equal(model.GetValueOrDefault(key), replaced?.Revision ?? 0);
                replaced?.Release();
                model[key] = i;
            }
            else
            {
                var removed = table.Remove(Encoding.UTF8.GetBytes(key));
                Assert.Equal(model.GetValueOrDefault(key), removed?.Revision ?? 0);
                removed?.Release();
                model.Remove(key);
            }
            if (random.Next(200) == 0) snapshots.Add((table.TakeRoot(), [.. model.Select(pair => $"{pair.Key}@{pair.Value}")]));
            if (snapshots.Count > 5) Drop(random.Next(snapshots.Count));
        }
        Assert.Equal(model.Count, table.Count);
        while (snapshots.Count > 0) Drop(0);
        table.Clear();
        Assert.Equal(blocksBefore, SlabAllocator.Shared.LiveBlocks);

        void Drop(int index)
        {
            var (root, expected) = snapshots[index];
            snapshots.RemoveAt(index);
            var snapshot = new Snapshot(root, "/k/"u8.ToArray(), 0, []);
            var seen = new List<string>();
            foreach (var item in snapshot) seen.Add($"{item.Key}@{item.Revision}");
            Assert.Equal(expected, seen);
            Assert.Equal(expected.Length, snapshot.CountFrom());
            string middle = $"/k/{random.Next(2_000):D4}";
            Assert.Equal(expected.Count(line => string.CompareOrdinal(line, middle) >= 0), snapshot.CountFrom(Encoding.UTF8.GetBytes(middle)));
            snapshot.Dispose();
        }
    }

    [Fact]
    public unsafe void Slabs_RandomSizes_NeverOverlapAndCountExactly()
    {
        var random = new Random(7);
        var slabs = new SlabAllocator();
        var live = new List<(nint Block, int Size, byte Mark)>();
        for (int i = 0; i < 20_000; i++)
        {
            if (live.Count < 2_000 && random.Next(5) > 1)
            {
                int size = random.Next(10) == 0 ? random.Next(1, 100_000) : random.Next(8, 4_000);
                byte mark = (byte)random.Next(256);
                byte* block = slabs.Allocate(size);
                Assert.Equal(0, (nint)block % 16);
                new Span<byte>(block, size).Fill(mark);
                live.Add(((nint)block, size, mark));
            }
            else if (live.Count > 0)
            {
                int index = random.Next(live.Count);
                var (block, size, mark) = live[index];
                Assert.Equal(-1, new ReadOnlySpan<byte>((byte*)block, size).IndexOfAnyExcept(mark));
                slabs.Free((byte*)block, size);
                live[index] = live[^1];
                live.RemoveAt(live.Count - 1);
            }
            Assert.Equal(live.Count, slabs.LiveBlocks);
        }
        Assert.Equal(live.Sum(item => (long)SlabAllocator.RoundUp(item.Size)), slabs.UsedBytes);
        foreach (var (block, size, _) in live) slabs.Free((byte*)block, size);
        Assert.Equal(0, slabs.UsedBytes);
        // One run per class may stay for the next comer.
        Assert.True(slabs.ReservedBytes <= 224 * 256 * 1024, $"{slabs.ReservedBytes} bytes are kept");
    }

    [Theory]
    [InlineData(1, 16)]
    [InlineData(16, 16)]
    [InlineData(17, 32)]
    [InlineData(1024, 1024)]
    [InlineData(1025, 1056)]
    [InlineData(2048, 2048)]
    [InlineData(2049, 2112)]
    [InlineData(3230, 3264)]
    [InlineData(16385, 16896)]
    [InlineData(32 * 1024, 32 * 1024)]
    [InlineData((32 * 1024) + 1, (32 * 1024) + 1)]
    public void Slabs_SizeClass_LosesAtMostAThirtySecondOfTheBiggerOnes(int size, int rounded) => Assert.Equal(rounded, SlabAllocator.RoundUp(size));

    private static StoredObject Make(string key, long revision) =>
        StoredObjectWriter.Create(Encoding.UTF8.GetBytes(key), """{"metadata":{"name":"a"}}"""u8, revision, 1, WatchEventType.Modified, s_noFields);
}

/// <summary>Tests that read the process's own counters run without others beside them.</summary>
[CollectionDefinition(nameof(AloneCollection), DisableParallelization = true)]
public sealed class AloneCollection;
