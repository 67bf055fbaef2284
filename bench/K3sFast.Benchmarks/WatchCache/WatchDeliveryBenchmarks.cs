using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.WatchCache;

namespace K3sFast.Benchmarks;

/// <summary>One operation = one event of a 3 KB pod read by one more watcher and its frame looked at. Budget: 0 B, 200 ns.</summary>
public class WatchDeliveryBenchmarks
{
    private const int Events = 1000;

    private readonly WatchEvent[] _buffer = new WatchEvent[32];
    private string _directory = "";
    private SqliteDatastore _store = null!;
    private Cacher _cacher = null!;
    private K3sFast.WatchCache.WatchCache _pods = null!;
    private long _start;

    [GlobalSetup]
    public async Task Fill()
    {
        _directory = Directory.CreateTempSubdirectory("store-bench-").FullName;
        _store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });
        _cacher = new Cacher(_store, new CacherOptions());
        _pods = _cacher.Register("/registry/pods/", ["metadata.name", "spec.nodeName", "status.phase"]);
        await _cacher.StartAsync(CancellationToken.None);
        _start = _cacher.CurrentRevision;
        var writes = new List<Task>();
        for (int i = 0; i < Events; i++) writes.Add(WriteAsync(i));
        await Task.WhenAll(writes);
    }

    [GlobalCleanup]
    public async Task Close()
    {
        await _cacher.DisposeAsync();
        await _store.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Benchmark(OperationsPerInvoke = Events)]
    public long Deliver()
    {
        using var cursor = _pods.OpenCursor(_start);
        long bytes = 0;
        while (cursor.Read(_buffer) is > 0 and var count)
        {
            for (int i = 0; i < count; i++) bytes += _buffer[i].Frame.Length;
        }
        return bytes;
    }

    [Benchmark(OperationsPerInvoke = Events)]
    public long List()
    {
        using var snapshot = _pods.List();
        long bytes = 0;
        foreach (var item in snapshot) bytes += item.Json.Length;
        return bytes;
    }

    [Benchmark]
    public long Get()
    {
        using var item = _pods.Get("/registry/pods/default/p500"u8);
        return item!.Revision;
    }

    private async Task WriteAsync(int i)
    {
        string json = $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p{{{i}}}","namespace":"default","uid":"u-{{{i}}}","labels":{"app":"web"}},"spec":{"nodeName":"n1","pad":"{{{new string('x', 2800)}}}"},"status":{"phase":"Running"}}""";
        using var written = (await _cacher.WriteAsync(AppendRequest.Create($"/registry/pods/default/p{i}", Encoding.UTF8.GetBytes(json)))).Object;
    }
}
