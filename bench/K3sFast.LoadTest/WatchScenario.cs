using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>
/// One object changed again and again while many watchers look on. Every watcher must see every change, in order; the latency is from the
/// moment the change was asked for to the moment a watcher has read it.
/// </summary>
internal static class WatchScenario
{
    private const int Watchers = 200;
    private const int EventsPerSecond = 500;

    internal static async Task RunAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("watched"));
        var count = EventsPerSecond * options.Seconds;
        var sent = new long[count];
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(options.Seconds + 60));
        var path = Objects.ConfigMaps + "?watch=true&fieldSelector=metadata.name%3Dwatched";
        var readers = new List<StreamReader>();
        for (var i = 0; i < Watchers; i++) readers.Add(await api.WatchAsync(path, stop.Token));
        var before = report.Server();
        var watching = readers.Select(reader => Task.Run(() => ReadAsync(reader, sent, stop.Token))).ToArray();

        var clock = Stopwatch.StartNew();
        for (var i = 0; i < count; i++)
        {
            var due = TimeSpan.FromSeconds((double)i / EventsPerSecond) - clock.Elapsed;
            if (due > TimeSpan.FromMilliseconds(1)) await Task.Delay(due);
            Volatile.Write(ref sent[i], Stopwatch.GetTimestamp());
            await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.ConfigMap("watched", $"#{i}#"));
        }
        var writing = clock.Elapsed;
        var latencies = new List<double>();
        var lost = 0;
        foreach (var watcher in watching)
        {
            var seen = await watcher;
            latencies.AddRange(seen);
            lost += count - seen.Count;
        }
        report.Add(
            $"watch, {Watchers} watchers x {count / writing.TotalSeconds:0} events/s", latencies.Count, clock.Elapsed, latencies,
            report.Server().CpuSeconds - before.CpuSeconds, $"{lost} lost");
        if (lost > 0) report.Fail($"{lost} events were not delivered");
        foreach (var reader in readers) reader.Dispose();
    }

    private static async Task<List<double>> ReadAsync(StreamReader reader, long[] sent, CancellationToken cancellationToken)
    {
        var latencies = new List<double>(sent.Length);
        var expected = 0;
        try
        {
            while (expected < sent.Length && await reader.ReadLineAsync(cancellationToken) is { } line)
            {
                var start = line.IndexOf("\"#", StringComparison.Ordinal);
                if (start < 0) continue;
                var number = int.Parse(line.AsSpan(start + 2, line.IndexOf('#', start + 2) - start - 2));
                // A gap stays missing: the caller counts it.
                if (number < expected) continue;
                expected = number + 1;
                latencies.Add(Stopwatch.GetElapsedTime(Volatile.Read(ref sent[number])).TotalMilliseconds);
            }
        }
        catch (OperationCanceledException)
        {
            // Out of time: what was not seen counts as lost.
        }
        return latencies;
    }
}
