using System.Diagnostics;
using System.Globalization;
using System.Text;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.WatchCache;
using K3sFast.WatchCache.Memory;

namespace K3sFast.Benchmarks;

/// <summary>
/// How long a store with many objects takes until the caches show them all, part by part, and what each object costs then: bytes in blocks, bytes taken
/// from the system for them, bytes of the managed heap.
/// </summary>
/// <remarks>
/// <c>dotnet run -c Release --project bench/K3sFast.Benchmarks -- start [--objects N] [--turns N] [--pods [--owned]] [--directory D]</c>; owned pods carry the
/// owners of their fields, the same in a hundred.
/// </remarks>
internal static class CacheStart
{
    private static readonly string s_extra = new('y', 300);
    private static readonly string s_filler = new('x', 450);

    public static async Task<int> RunAsync(string[] arguments)
    {
        string Option(string name, string otherwise) => Array.IndexOf(arguments, name) is var at and >= 0 ? arguments[at + 1] : otherwise;
        int objects = int.Parse(Option("--objects", "100000"), CultureInfo.InvariantCulture), turns = int.Parse(Option("--turns", "5"), CultureInfo.InvariantCulture);
        bool isPods = arguments.Contains("--pods"), isOwned = arguments.Contains("--owned");
        string root = Path.Combine(Option("--directory", Path.GetTempPath()), $"cache-start-{Guid.NewGuid():N}");
        try
        {
            long jsonBytes = await FillAsync($"{root}/state.db", objects, isPods, isOwned);
            for (int turn = 0; turn < turns; turn++) await StartAsync($"{root}/state.db", objects, isPods, jsonBytes);
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
        return 0;
    }

    private static async Task<long> FillAsync(string path, int objects, bool isPods, bool isOwned)
    {
        long bytes = 0;
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path });
        // In an order by chance, as objects come in a cluster's life.
        int[] order = [.. Enumerable.Range(0, objects)];
        new Random(1).Shuffle(order);
        foreach (int[] some in order.Chunk(4096))
        {
            await Task.WhenAll(some.Select(async i =>
            {
                byte[] json = Encoding.UTF8.GetBytes(isPods ? Pod(i, isOwned) : ConfigMap(i));
                Interlocked.Add(ref bytes, json.Length);
                await store.AppendAsync(AppendRequest.Create(isPods ? $"/registry/pods/namespace-{i % 100}/web-{i}" : $"/registry/configmaps/namespace-{i % 100}/name-{i}", json));
            }));
        }
        return bytes;
    }

    private static async Task StartAsync(string path, int objects, bool isPods, long jsonBytes)
    {
        GC.Collect();
        long heapBefore = GC.GetTotalMemory(true), allocatedBefore = GC.GetTotalAllocatedBytes(true);
        var cpuBefore = Process.GetCurrentProcess().TotalProcessorTime;
        long startedAt = Stopwatch.GetTimestamp();
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path });
        double opened = Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds;
        await using var cacher = new Cacher(store, new CacherOptions());
        var cache = isPods
            ? cacher.Register("/registry/pods/", ["metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"], new ResourceIndexes(["spec.nodeName"], []))
            : cacher.Register("/registry/configmaps/", ["metadata.name", "metadata.namespace"]);
        await cacher.StartAsync(CancellationToken.None);
        double started = Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds;
        double cpu = (Process.GetCurrentProcess().TotalProcessorTime - cpuBefore).TotalMilliseconds;
        if (cache.Count != objects) throw new InvalidOperationException($"{cache.Count} objects came back");
        long allocated = GC.GetTotalAllocatedBytes(true) - allocatedBefore;
        GC.Collect();
        long heap = GC.GetTotalMemory(true) - heapBefore;
        var slab = SlabAllocator.Shared;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"open {opened:0} ms, open and serve {started:0} ms, CPU {cpu:0} ms; each: JSON {jsonBytes / objects} B, block {slab.UsedBytes / objects} B, reserved {slab.ReservedBytes / objects} B, heap {heap / objects} B, allocated {allocated / objects} B; {SharedPieces.Shared.Count} texts shared by {SharedPieces.Shared.References} objects"));
    }

    private static string Pod(int i, bool isOwned) => (isOwned ? SamplePod.OwnedJson : SamplePod.Json)
        .Replace("web-6d4cf56db6-x2x7k", $"web-{i}", StringComparison.Ordinal).Replace("0f3a1c2b-11aa", $"{i / 100:x8}-11aa", StringComparison.Ordinal);

    // With what the server adds.
    private static string ConfigMap(int i) =>
        $"{{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"name-{i}\",\"namespace\":\"namespace-{i % 100}\",\"uid\":\"7d5f2c1e-7f0f-4f0e-9b57-{i:x12}\","
        + """
        "creationTimestamp":"2026-03-01T10:20:30Z","labels":{"app":"load"},"managedFields":[{"manager":"load","operation":"Update","apiVersion":"v1","time":"2026-03-01T10:20:30Z","fieldsType":"FieldsV1",
        """
        + """
        "fieldsV1":{"f:data":{".":{},"f:extra":{},"f:filler":{}},"f:metadata":{"f:labels":{".":{},"f:app":{}}}}}]},"data":{"extra":"
        """ + s_extra + "\",\"filler\":\"" + s_filler + "\"}}";
}
