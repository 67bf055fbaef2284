using System.Diagnostics;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;

namespace K3sFast.Benchmarks;

/// <summary>
/// What compaction and giving back pages cost those who write at a steady rate: the same writers without it, with a long history being compacted, and with a
/// great deletion being given back; and how long each kind of step kept the writer.
/// </summary>
/// <remarks>A latency is from the moment the write was due, so that a pause is paid for by all that had to wait.</remarks>
internal sealed class MaintenanceUnderLoad(string path, int writesPerSecond, TimeSpan time, Action<string, double, string, bool> add)
{
    private const int Keys = 500;
    private const int Ballast = 12_000;
    private const int HistoryRounds = 60;

    private readonly byte[] _value = new byte[2500];
    private readonly long[] _revisions = new long[Keys];

    // Writes of one key follow each other: none is refused for coming late.
    private readonly SemaphoreSlim[] _turns = [.. Enumerable.Range(0, Keys).Select(static _ => new SemaphoreSlim(1))];

    public async Task RunAsync()
    {
        await using var store = SqliteDatastore.Open(new SqliteDatastoreOptions { Path = path, CompactInterval = TimeSpan.Zero });
        await ForEachAsync(Keys, async i => _revisions[i] = (await store.AppendAsync(AppendRequest.Create($"/c/{i}", _value))).Revision);
        long[] ballast = new long[Ballast];
        await ForEachAsync(Ballast, async i => ballast[i] = (await store.AppendAsync(AppendRequest.Create($"/b/{i}", _value))).Revision);
        for (int round = 0; round < HistoryRounds; round++) await ForEachAsync(Keys, i => UpdateAsync(store, i));

        await WriteSteadilyAsync(store, "no maintenance", Task.CompletedTask);

        long startedAt = Stopwatch.GetTimestamp();
        await WriteSteadilyAsync(store, "history is compacted", CompactAllAsync(store));
        add("compaction of 30,000 revisions of 2.5 KB beside the writers", Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds, "ms", false);

        await ForEachAsync(Ballast, async i => await store.AppendAsync(AppendRequest.Delete($"/b/{i}", ballast[i])));
        await WriteSteadilyAsync(store, "30 MB are given back", CompactAllAsync(store));
        if (store.ReadStatus().VacuumedPages == 0) throw new InvalidOperationException("no page was given back");

        var status = store.ReadStatus();
        Tell("step of compaction", status.CompactionSeconds);
        Tell("step of giving pages back", status.VacuumSeconds);
        Tell("step that ends with a flush", status.MaintenanceFlushSeconds);
        Tell("writes held back for the log's end", status.LogWaitSeconds);
    }

    private void Tell(string what, Distribution seconds)
    {
        long count = seconds.Counts.Sum();
        add($"{what}: count", count, "", true);
        if (count == 0) return;
        add($"{what}: p99 at most", seconds.BoundOf(0.99) * 1000, "ms", false);
        add($"{what}: longest", seconds.Largest * 1000, "ms", false);
        add($"{what}: at most 2 ms", 100.0 * seconds.Counts.Where((_, i) => i < seconds.Bounds.Count && seconds.Bounds[i] <= 0.002).Sum() / count, "%", true);
    }

    private static async Task CompactAllAsync(SqliteDatastore store)
    {
        await store.CompactAsync(store.CurrentRevision);
        // Free pages are given back in the writer's own time.
        long pages;
        do
        {
            pages = store.ReadStatus().VacuumedPages;
            await Task.Delay(100);
        }
        while (store.ReadStatus().VacuumedPages > pages);
    }

    /// <summary>For the time, and until <paramref name="meanwhile"/> has ended.</summary>
    private async Task WriteSteadilyAsync(SqliteDatastore store, string name, Task meanwhile)
    {
        var latencies = new List<double>();
        var running = new List<Task>();
        var clock = Stopwatch.StartNew();
        for (int i = 0; clock.Elapsed < time || !meanwhile.IsCompleted; i++)
        {
            var due = TimeSpan.FromSeconds((double)i / writesPerSecond);
            if (due > clock.Elapsed) await Task.Delay(due - clock.Elapsed);
            running.Add(WriteAsync(i % Keys, due));
        }
        await Task.WhenAll(running);
        await meanwhile;
        latencies.Sort();
        foreach (double share in (double[])[0.5, 0.99, 0.999]) add($"write at {writesPerSecond}/s, {name}: p{share * 100:0.#}", latencies[(int)(share * latencies.Count)], "ms", false);
        add($"write at {writesPerSecond}/s, {name}: longest", latencies[^1], "ms", false);

        async Task WriteAsync(int key, TimeSpan due)
        {
            await UpdateAsync(store, key);
            double took = (clock.Elapsed - due).TotalMilliseconds;
            lock (latencies) latencies.Add(took);
        }
    }

    private async Task UpdateAsync(SqliteDatastore store, int key)
    {
        await _turns[key].WaitAsync();
        try
        {
            var result = await store.AppendAsync(AppendRequest.Update($"/c/{key}", _revisions[key], _value));
            if (result.Outcome != AppendOutcome.Committed) throw new InvalidOperationException($"{result}");
            _revisions[key] = result.Revision;
        }
        finally
        {
            _turns[key].Release();
        }
    }

    private static Task ForEachAsync(int count, Func<int, Task> action) => Task.WhenAll(Enumerable.Range(0, count).Select(action));
}
