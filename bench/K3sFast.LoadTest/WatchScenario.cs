using System.Buffers.Text;
using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>
/// One object changed again and again while many watchers look on. Every watcher must see every change, in order; an event's latency is from the
/// moment the change was asked for to the moment the last watcher has read it.
/// </summary>
internal static class WatchScenario
{
    private const int Watchers = 1_000;
    private const int EventsPerSecond = 1_000;

    internal static async Task RunAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.Small("watched"));
        // Fewer at once than the whole load, then the whole: where the machine ends is told by the difference.
        foreach (var (watchers, rate) in new[] { (options.Scaled(Watchers / 10), options.Scaled(EventsPerSecond / 10)), (options.Scaled(Watchers), options.Scaled(EventsPerSecond)) })
        {
            await RunAsync(api, report, options, watchers, rate);
        }
        await Objects.ResetNamespaceAsync(api);
    }

    private static async Task RunAsync(ApiConnection api, Report report, LoadOptions options, int watchers, int rate)
    {
        var count = rate * options.Seconds;
        // The mark of an earlier load's end is no news.
        await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.Small("watched"));
        var sent = new long[count];
        var last = new long[count];
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds((options.Seconds * 4) + 30));
        var path = $"{Objects.ConfigMaps}?watch=true&fieldSelector=metadata.name%3Dwatched";
        var streams = new Stream[watchers];
        for (var i = 0; i < watchers; i++) streams[i] = await api.WatchAsync(path, stop.Token);
        var allocated = await Metrics.AllocatedBytesAsync(api);
        var before = report.Server();
        var watching = streams.Select(stream => Task.Run(() => ReadAsync(stream, last, stop.Token))).ToArray();

        var clock = Stopwatch.StartNew();
        var written = 0;
        var limit = TimeSpan.FromSeconds(options.Seconds * 2);
        for (; written < count && clock.Elapsed < limit; written++)
        {
            var due = TimeSpan.FromSeconds((double)written / rate) - clock.Elapsed;
            if (due > TimeSpan.FromMilliseconds(1)) await Task.Delay(due);
            Volatile.Write(ref sent[written], Stopwatch.GetTimestamp());
            await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.Small("watched", $"#{written}#"));
        }
        var writing = clock.Elapsed;
        await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.Small("watched", "#-1#"));
        long seen = 0;
        foreach (var watcher in watching) seen += await watcher;
        var reading = clock.Elapsed;
        var latencies = new List<double>();
        for (var i = 0; i < written; i++)
        {
            if (last[i] > 0) latencies.Add(Stopwatch.GetElapsedTime(sent[i], last[i]).TotalMilliseconds);
        }
        latencies.Sort();
        var after = report.Server();
        var name = $"watch, {watchers} watchers x {rate} events/s";
        report.Add($"{name}: written", written / writing.TotalSeconds, "1/s", higherIsBetter: true);
        report.Add($"{name}: delivered", seen / reading.TotalSeconds, "1/s", higherIsBetter: true);
        report.Add($"{name}: last watcher p50", Report.At(latencies, 0.5), "ms");
        report.Add($"{name}: last watcher p99", Report.At(latencies, 0.99), "ms");
        if (seen > 0 && options.ServerPids.Length > 0) report.Add($"{name}: server CPU", (after.CpuSeconds - before.CpuSeconds) * 1e6 / seen, "us per delivery");
        if (seen > 0) report.Add($"{name}: server allocates", (await Metrics.AllocatedBytesAsync(api) - allocated) / seen, "B per delivery");
        report.Add($"{name}: lost", ((long)written * watchers) - seen, "events");
        foreach (var stream in streams) await stream.DisposeAsync();
    }

    // Looks for the numbers between two '#' in what goes by, and makes no text of it: the client shares the machine with the server.
    private static async Task<long> ReadAsync(Stream stream, long[] last, CancellationToken cancellationToken)
    {
        long seen = 0;
        var expected = 0;
        var buffer = new byte[32 * 1024];
        var kept = 0;
        try
        {
            while (true)
            {
                var read = await stream.ReadAsync(buffer.AsMemory(kept), cancellationToken);
                if (read == 0) return seen;
                var length = kept + read;
                var at = 0;
                while (true)
                {
                    var start = buffer.AsSpan(at, length - at).IndexOf((byte)'#');
                    if (start < 0)
                    {
                        at = length;
                        break;
                    }
                    start += at;
                    var size = buffer.AsSpan(start + 1, length - start - 1).IndexOf((byte)'#');
                    if (size < 0)
                    {
                        at = start;
                        break;
                    }
                    at = start + size + 2;
                    Utf8Parser.TryParse(buffer.AsSpan(start + 1, size), out int number, out _);
                    if (number < 0) return seen;
                    // A gap stays missing: it counts as lost. What an earlier load wrote is not ours.
                    if (number < expected || number >= last.Length) continue;
                    expected = number + 1;
                    seen++;
                    Raise(ref last[number], Stopwatch.GetTimestamp());
                }
                kept = length - at;
                buffer.AsSpan(at, kept).CopyTo(buffer);
            }
        }
        catch (Exception ended) when (ended is OperationCanceledException or IOException or HttpRequestException)
        {
            // Out of time, or the server let go of a watcher that was too slow: what was not seen counts as lost.
            return seen;
        }
    }

    private static void Raise(ref long value, long to)
    {
        for (var known = Volatile.Read(ref value); known < to;)
        {
            var found = Interlocked.CompareExchange(ref value, to, known);
            if (found == known) return;
            known = found;
        }
    }
}
