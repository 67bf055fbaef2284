using System.Text;
using BenchmarkDotNet.Attributes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.WatchCache;

namespace K3sFast.Benchmarks;

/// <summary>
/// One operation = one durable write of a pod while many watchers of other nodes' pods wait, as kubelets do; and a list of one node's 50 pods. The
/// write's time is the flush; what grows with the watchers is what their waiting costs the writer. Budget of the list: the snapshot, whatever there is.
/// </summary>
public class KeyedWatchBenchmarks
{
    private const int Nodes = 200;
    private const int PodsPerNode = 50;

    private readonly List<WatchCursor> _cursors = [];
    private string _directory = "";
    private SqliteDatastore _store = null!;
    private Cacher _cacher = null!;
    private K3sFast.WatchCache.WatchCache _pods = null!;
    private IndexKey _node;
    private long _revision;

    /// <summary>Watchers that wait, each for a node of its own.</summary>
    [Params(0, 10_000)]
    public int Watchers { get; set; }

    [GlobalSetup]
    public async Task Fill()
    {
        _directory = Directory.CreateTempSubdirectory("keyed-bench-").FullName;
        _store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });
        _cacher = new Cacher(_store, new CacherOptions());
        _pods = _cacher.Register("/registry/pods/", ["metadata.name", "spec.nodeName", "status.phase"], new ResourceIndexes(["spec.nodeName"], []));
        await _cacher.StartAsync(CancellationToken.None);
        await Task.WhenAll(Enumerable.Range(0, Nodes * PodsPerNode).Select(async i =>
        {
            using var made = (await _cacher.WriteAsync(AppendRequest.Create($"/registry/pods/default/p{i}", Pod($"p{i}", $"n{i % Nodes}")))).Object;
        }));
        using var own = (await _cacher.WriteAsync(AppendRequest.Create("/registry/pods/default/own", Pod("own", "busy")))).Object!;
        _revision = own.Revision;
        _node = _pods.KeyOfField("spec.nodeName", "n7"u8);
        for (int i = 0; i < Watchers; i++)
        {
            var cursor = _pods.OpenCursor(_cacher.CurrentRevision, default, _pods.KeyOfField("spec.nodeName", Encoding.UTF8.GetBytes($"idle-{i}")));
            _ = cursor.WaitAsync().AsTask();
            _cursors.Add(cursor);
        }
    }

    [GlobalCleanup]
    public async Task Close()
    {
        await _cacher.DisposeAsync();
        await _store.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Benchmark]
    public async Task Write()
    {
        using var written = (await _cacher.WriteAsync(AppendRequest.Update("/registry/pods/default/own", _revision, Pod("own", "busy")))).Object!;
        _revision = written.Revision;
    }

    [Benchmark]
    public long ListOfOneNode()
    {
        using var snapshot = _pods.List(default, _node);
        long bytes = 0;
        foreach (var item in snapshot) bytes += item.Json.Length;
        return bytes;
    }

    private static byte[] Pod(string name, string node) => Encoding.UTF8.GetBytes(
        $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"{{{name}}}","namespace":"default","uid":"u-{{{name}}}","labels":{"app":"web"}},"spec":{"nodeName":"{{{node}}}"},"status":{"phase":"Running"}}""");
}
