using System.Text;
using K3sFast.WatchCache.Json;

namespace K3sFast.WatchCache.Tests;

/// <summary>What an object costs in a cache, all of it counted: its block, rounded up as the allocator does, and what the collector knows of it.</summary>
public sealed class ObjectSizeTests
{
    private const int Objects = 4096;

    private static readonly string[] s_podFields =
    [
        "metadata.name", "metadata.namespace", "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP",
        "status.nominatedNodeName",
    ];

    [Theory]
    [InlineData("configmaps", 2, 500)]
    [InlineData("leases", 2, 640)]
    [InlineData("configmaps", 2, 1_200)]
    [InlineData("pods", 10, 2_500)]
    [InlineData("pods", 10, 3_072)]
    [InlineData("pods", 10, 5_000)]
    [InlineData("secrets", 2, 70_000)]
    public void Object_InACache_CostsItsBytesAndAQuarter_And128(string resource, int fields, int jsonBytes)
    {
        var paths = new FieldPaths(s_podFields[..fields]);
        byte[][] values = [.. Enumerable.Range(0, Objects / (1 + (jsonBytes / 10_000))).Select(i => Encoding.UTF8.GetBytes(Json(i, jsonBytes)))];
        byte[][] keys = [.. values.Select((_, i) => Encoding.UTF8.GetBytes($"/registry/{resource}/namespace/a-name-of-usual-length-{i:d5}"))];
        var table = new ObjectTable();
        long blocks = 0, encoded = 0, before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < values.Length; i++)
        {
            var item = StoredObjectWriter.Create(keys[i], values[i], 123_456_789, 123_456_000, WatchEventType.Added, paths);
            blocks += item.SizeBytes;
            encoded += item.Json.Length;
            table.Append(item);
        }
        // Chunks that grow leave their smaller selves to the collector: counted here, though they do not stay.
        long managed = GC.GetAllocatedBytesForCurrentThread() - before;
        table.Clear();
        double perObject = (double)(blocks + managed) / values.Length, bound = ((double)encoded / values.Length * 1.25) + 128;
        TestContext.Current.TestOutputHelper?.WriteLine($"{encoded / values.Length} B of JSON: block {blocks / values.Length} B, managed {managed / values.Length} B, bound {bound:0} B");
        Assert.InRange(perObject, 1, bound);
    }

    private static string Json(int i, int bytes)
    {
        string head = $$$"""{"kind":"K","apiVersion":"v1","metadata":{"name":"a-name-of-usual-length-{{{i:d5}}}","namespace":"namespace","uid":"7d5f2c1e-7f0f-4f0e-9b57-{{{i:x12}}}","labels":{"app":"web"}},"""
            + """ "spec":{"nodeName":"n1"},"data":{"x":""";
        return head + "\"" + new string('x', bytes - head.Length - 4) + "\"}}";
    }
}
