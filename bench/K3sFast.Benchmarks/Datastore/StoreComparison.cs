using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Benchmarks;

/// <summary>
/// Durable writes per second of closed loops, which no micro benchmark can show: 1, 64 and 512 writers, on the disk as it is and with a flush
/// that takes 10 ms longer (a library laid over fsync and fdatasync, for both sides). The peer, in the same run and by turns, is kine's shape: its table,
/// its indexes, one transaction with one flush per write. Then what compaction costs writers, and how long a big file takes to open.
/// </summary>
/// <remarks>
/// <c>dotnet run -c Release --project bench/K3sFast.Benchmarks -- store [--maintenance] [--seconds N] [--directory D] [--json FILE]</c>. Both sides flush every
/// commit; k3s' own setting (synchronous = NORMAL) does not, and may lose what it acknowledged.
/// </remarks>
internal sealed class StoreComparison
{
    private const string DelayVariable = "SLOW_FLUSH_US";
    private const int ValueBytes = 600;
    private static readonly int[] s_writers = [1, 64, 512];

    private readonly List<(string Name, double Value, string Unit, bool HigherIsBetter)> _figures = [];
    private readonly TimeSpan _time;
    private readonly string _root;

    private StoreComparison(TimeSpan time, string root)
    {
        _time = time;
        _root = root;
    }

    public static async Task<int> RunAsync(string[] arguments)
    {
        string Option(string name, string otherwise) => Array.IndexOf(arguments, name) is var at and >= 0 ? arguments[at + 1] : otherwise;
        var comparison = new StoreComparison(
            TimeSpan.FromSeconds(double.Parse(Option("--seconds", "3"), CultureInfo.InvariantCulture)), Path.Combine(Option("--directory", Path.GetTempPath()), $"store-bench-{Guid.NewGuid():N}"));
        Directory.CreateDirectory(comparison._root);
        try
        {
            if (arguments.Contains("--maintenance")) await comparison.RunPartAsync("maintenance");
            else if (Option("--part", "all") is var part and not "all") await comparison.RunPartAsync(part);
            else await comparison.RunPartsAsync(arguments);
            comparison.Print();
            if (Option("--json", "") is { Length: > 0 } path) await File.WriteAllTextAsync(path, comparison.ToJson().ToString());
            return 0;
        }
        finally
        {
            Directory.Delete(comparison._root, recursive: true);
        }
    }

    /// <summary>The delayed part runs in a process of its own: the library must be there before SQLite is.</summary>
    private async Task RunPartsAsync(string[] arguments)
    {
        await RunPartAsync("native");
        await RunPartAsync("maintenance");
        await RunPartAsync("open");
        string library = await BuildSlowFlushAsync();
        string json = Path.Combine(_root, "slow.json");
        string[] self = Environment.ProcessPath!.EndsWith("/dotnet", StringComparison.Ordinal) ? [typeof(StoreComparison).Assembly.Location] : [];
        // The child reads the first of an option that comes twice.
        var start = new ProcessStartInfo(Environment.ProcessPath, [.. self, "store", "--part", "+10 ms", "--json", json, .. arguments[1..]]) { RedirectStandardOutput = true };
        start.Environment["LD_PRELOAD"] = library;
        start.Environment[DelayVariable] = "10000";
        using var child = Process.Start(start)!;
        await child.StandardOutput.ReadToEndAsync();
        await child.WaitForExitAsync();
        if (child.ExitCode != 0) throw new InvalidOperationException("the part with the slow flush failed");
        foreach (var figure in JsonNode.Parse(await File.ReadAllTextAsync(json))!["figures"]!.AsArray())
            Add((string)figure!["name"]!, (double)figure["value"]!, (string)figure["unit"]!, (bool)figure["higherIsBetter"]!);
    }

    private async Task RunPartAsync(string part)
    {
        switch (part)
        {
            case "maintenance":
                await new MaintenanceUnderLoad($"{_root}/maintenance/state.db", 1000, _time, Add).RunAsync();
                break;
            case "open":
                await MeasureOpenAsync();
                break;
            default:
                foreach (int writers in s_writers) await CompareAsync(part, writers);
                break;
        }
    }

    private async Task CompareAsync(string flush, int writers)
    {
        string Name(string side) => $"durable create 0.6 KB, flush {flush}, {writers} writers, {side}";
        // By turns, so that both sides meet the same disk.
        double ours = 0, peers = 0;
        var latencies = new List<double>();
        const int Turns = 2;
        for (int turn = 0; turn < Turns; turn++)
        {
            ours += await OurRateAsync(writers, $"ours-{writers}-{turn}", latencies) / Turns;
            peers += await PeerRateAsync(writers, $"peer-{writers}-{turn}") / Turns;
        }
        latencies.Sort();
        Add(Name("group commit"), ours, "1/s", true);
        Add(Name("p50"), latencies[latencies.Count / 2], "ms", false);
        Add(Name("p99"), latencies[(int)(latencies.Count * 0.99)], "ms", false);
        Add(Name("one transaction per write"), peers, "1/s", true);
        Add(Name("ratio"), ours / peers, "x", true);
    }

    private async Task<double> OurRateAsync(int writers, string name, List<double> latencies)
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = $"{_root}/{name}/state.db" });
        byte[] value = new byte[ValueBytes];
        var deadline = Stopwatch.StartNew();
        var counts = await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
        {
            var mine = new List<double>();
            for (int i = 0; deadline.Elapsed < _time; i++)
            {
                long startedAt = Stopwatch.GetTimestamp();
                var result = await store.AppendAsync(AppendRequest.Create($"/registry/configmaps/namespace-{writer}/name-{i}", value));
                if (result.Outcome != AppendOutcome.Committed) throw new InvalidOperationException($"{result}");
                mine.Add(Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds);
            }
            return mine;
        })));
        double seconds = deadline.Elapsed.TotalSeconds;
        foreach (var mine in counts) latencies.AddRange(mine);
        return counts.Sum(mine => mine.Count) / seconds;
    }

    /// <summary>Each write alone: begin, look at the key, insert, commit and flush. Writers wait for the one connection, as kine's do for the database's lock.</summary>
    private async Task<double> PeerRateAsync(int writers, string name)
    {
        Directory.CreateDirectory($"{_root}/{name}");
        using var kine = new KineShape($"{_root}/{name}/state.db");
        byte[] value = new byte[ValueBytes];
        using var turn = new SemaphoreSlim(1);
        var deadline = Stopwatch.StartNew();
        var counts = await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(async () =>
        {
            int count = 0;
            while (deadline.Elapsed < _time)
            {
                await turn.WaitAsync();
                try
                {
                    if (deadline.Elapsed >= _time) break;
                    kine.Create($"/registry/configmaps/namespace-{writer}/name-{count++}", value);
                }
                finally
                {
                    turn.Release();
                }
            }
            return count;
        })));
        return counts.Sum() / deadline.Elapsed.TotalSeconds;
    }

    private async Task MeasureOpenAsync()
    {
        const int Objects = 100_000;
        string path = $"{_root}/open/state.db";
        await using (var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path }))
        {
            byte[] value = new byte[1000];
            foreach (int[] some in Enumerable.Range(0, Objects).Chunk(5000))
                await Task.WhenAll(some.Select(async i => await store.AppendAsync(AppendRequest.Create($"/registry/pods/namespace-{i % 100}/name-{i}", value))));
        }
        for (int turn = 0; turn < 3; turn++)
        {
            long startedAt = Stopwatch.GetTimestamp();
            await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path });
            double opened = Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds;
            var count = new Count();
            await store.RangeAsync(new RangeRequest("/"), count);
            if (count.Entries != Objects) throw new InvalidOperationException($"{count.Entries} objects came back");
            if (turn < 2) continue;
            Add("open a file of 100,000 objects of 1 KB", opened, "ms", false);
            Add("open and read it whole, sums checked", Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds, "ms", false);
        }
    }

    private async Task<string> BuildSlowFlushAsync()
    {
        string source = $"{_root}/slow-flush.c", library = $"{_root}/slow-flush.so";
        await File.WriteAllTextAsync(source, $$"""
            #define _GNU_SOURCE
            #include <stdlib.h>
            #include <sys/syscall.h>
            #include <unistd.h>
            static void wait_longer(void) { const char *us = getenv("{{DelayVariable}}"); if (us) usleep((useconds_t)atoi(us)); }
            int fdatasync(int fd) { wait_longer(); return (int)syscall(SYS_fdatasync, fd); }
            int fsync(int fd) { wait_longer(); return (int)syscall(SYS_fsync, fd); }
            """);
        using var compiler = Process.Start("cc", ["-shared", "-fPIC", "-O1", "-o", library, source]);
        await compiler.WaitForExitAsync();
        return compiler.ExitCode == 0 ? library : throw new InvalidOperationException("cc failed");
    }

    private void Add(string name, double value, string unit, bool higherIsBetter)
    {
        _figures.Add((name, value, unit, higherIsBetter));
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {value:0.##} {unit}"));
    }

    private void Print()
    {
        Console.WriteLine("| figure | value | unit |");
        Console.WriteLine("| --- | ---: | --- |");
        foreach (var (name, value, unit, _) in _figures) Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {value:0.##} | {unit} |"));
    }

    // The load test's form, which the page of the benchmark history reads.
    private JsonObject ToJson() => new()
    {
        ["machine"] = $"{Environment.MachineName}, {Environment.ProcessorCount} cores",
        ["date"] = DateTime.UtcNow,
        ["figures"] = new JsonArray([.. _figures.Select(figure => (JsonNode)new JsonObject
        {
            ["name"] = figure.Name,
            ["value"] = figure.Value,
            ["unit"] = figure.Unit,
            ["higherIsBetter"] = figure.HigherIsBetter,
        })]),
        ["failures"] = new JsonArray(),
    };

    private sealed class Count : IDatastoreVisitor
    {
        public int Entries { get; private set; }

        public void OnEntry(in DatastoreEntry entry) => Entries++;
    }

    /// <summary>kine's table with all its indexes, and a create as it does one; flushed, which kine leaves to chance.</summary>
    private sealed class KineShape : IDisposable
    {
        private readonly SqliteConnection _connection;
        private readonly SqliteConnection.Statement _begin, _commit, _newest, _insert;

        public KineShape(string path)
        {
            _connection = SqliteConnection.Open(path, 0);
            _connection.Execute("PRAGMA journal_mode = WAL"u8);
            _connection.Execute("PRAGMA synchronous = FULL"u8);
            _connection.Execute("CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, created INTEGER, deleted INTEGER, create_revision INTEGER NOT NULL, prev_revision INTEGER, lease INTEGER, value BLOB, old_value BLOB)"u8);
            _connection.Execute("CREATE INDEX kine_name_index ON kine (name)"u8);
            _connection.Execute("CREATE INDEX kine_name_id_index ON kine (name,id)"u8);
            _connection.Execute("CREATE INDEX kine_id_deleted_index ON kine (id,deleted)"u8);
            _connection.Execute("CREATE INDEX kine_prev_revision_index ON kine (prev_revision)"u8);
            _connection.Execute("CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON kine (name, prev_revision)"u8);
            _connection.Execute("CREATE INDEX kine_id_compact_rev_key_with_prev_revision_index ON kine (id, name, prev_revision) WHERE name != 'compact_rev_key' AND prev_revision != 0"u8);
            _begin = _connection.Prepare("BEGIN IMMEDIATE"u8);
            _commit = _connection.Prepare("COMMIT"u8);
            _newest = _connection.Prepare("SELECT max(id) FROM kine WHERE name = ?1"u8);
            _insert = _connection.Prepare("INSERT INTO kine(name, created, deleted, create_revision, prev_revision, lease, value, old_value) VALUES(?1, 1, 0, 0, 0, 0, ?2, NULL)"u8);
        }

        public void Create(string key, byte[] value)
        {
            byte[] name = System.Text.Encoding.UTF8.GetBytes(key);
            _begin.Run();
            _newest.BindText(1, name).Run();
            _insert.BindText(1, name).BindBlob(2, value).Run();
            _commit.Run();
        }

        public void Dispose()
        {
            foreach (var statement in (ReadOnlySpan<SqliteConnection.Statement>)[_begin, _commit, _newest, _insert]) statement.Dispose();
            _connection.Dispose();
        }
    }
}
