using BenchmarkDotNet.Attributes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Benchmarks;

/// <summary>
/// One operation = <see cref="Writers"/> appends of 600 bytes that arrive together and are all durable. Appends per second =
/// Writers / mean. One writer is the baseline: a flush each.
/// </summary>
public class GroupCommitBenchmarks
{
    private readonly byte[] _value = new byte[600];
    private string _directory = "";
    private SqliteDatastore _store = null!;
    private Task<AppendResult>[] _pending = [];
    private long _next;

    [Params(1, 64)]
    public int Writers { get; set; }

    [GlobalSetup]
    public void Open()
    {
        _directory = Directory.CreateTempSubdirectory("store-bench-").FullName;
        _store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_directory}/state.db" });
        _pending = new Task<AppendResult>[Writers];
    }

    [GlobalCleanup]
    public async Task Close()
    {
        await _store.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    [Benchmark]
    public async Task AppendTogether()
    {
        for (int i = 0; i < _pending.Length; i++) _pending[i] = _store.AppendAsync(AppendRequest.Create($"/bench/{_next++}", _value)).AsTask();
        foreach (var append in _pending) await append;
    }
}
