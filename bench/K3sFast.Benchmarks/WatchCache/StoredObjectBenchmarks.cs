using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.WatchCache;
using K3sFast.WatchCache.Json;

namespace K3sFast.Benchmarks;

/// <summary>One operation = one pod of 2.9 KB taken into the cache: scanned, revision put in, laid out, and freed.</summary>
public class StoredObjectBenchmarks
{
    private readonly FieldPaths _paths = new(["metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy", "status.phase", "status.podIP"]);
    private readonly byte[] _json = Encoding.UTF8.GetBytes(SamplePod.Json);

    [Benchmark]
    public int Create()
    {
        using var item = StoredObjectWriter.Create("/registry/pods/default/web-1"u8, _json, 123_456, 123_000, WatchEventType.Modified, _paths);
        return item.Json.Length;
    }
}
