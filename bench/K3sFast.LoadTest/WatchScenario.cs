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

    // So many streams are allowed on one connection by every server.
    private const int WatchesPerConnection = 100;

    internal static async Task RunAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.Small("watched"));
        // Fewer at once than the whole load, then the whole: where the machine ends is told by the difference.
        foreach (var (watchers, rate) in new[] { (options.Scaled(Watchers / 10), options.Scaled(EventsPerSecond / 10)), (options.Scaled(Watchers), options.Scaled(EventsPerSecond)) })
        {
            await RunAsync(api, report, options, watchers, rate);
        }
    }

    private static async Task RunAsync(ApiConnection api, Report report, LoadOptions options, int watchers, int rate)
    {
        var count = rate * options.Seconds;
        // The mark of an earlier load's end is no news.
        await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.Small("watched"));
        var sent = new long[count];
        var answered = new long[count];
        var last = new long[count];
        var arrived = new long[count];
        // Arrivals are told by the wall's clock.
        var (startedAt, started) = (DateTime.UtcNow, Stopwatch.GetTimestamp());
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds((options.Seconds * 4) + 30));
        var path = $"{Objects.ConfigMaps}?watch=true&fieldSelector=metadata.name%3Dwatched";
        var connections = new List<RawConnection>();
        var watching = new List<Task<long>>();
        // Out of time: readers end with their connections.
        using var late = stop.Token.Register(() => connections.ForEach(static connection => connection.Dispose()));
        for (var left = watchers; left > 0; left -= WatchesPerConnection)
        {
            var share = Math.Min(left, WatchesPerConnection);
            var connection = api.OpenRaw();
            connections.Add(connection);
            watching.Add(Task.Factory.StartNew(() => Read(connection, share, new Moments(last, arrived, startedAt, started)), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
            var fields = connection.FieldsOf(path);
            for (var i = 0; i < share; i++) connection.Ask(fields);
        }
        while (connections.Sum(static connection => connection.Answered) < watchers)
        {
            if (watching.Exists(static ended => ended.IsCompleted)) throw new IOException("a watch ended before it began");
            await Task.Delay(10, stop.Token);
        }
        var allocated = await Metrics.AllocatedBytesAsync(api);
        var before = report.Server();

        var clock = Stopwatch.StartNew();
        var written = 0;
        var limit = TimeSpan.FromSeconds(options.Seconds * 2);
        for (; written < count && clock.Elapsed < limit; written++)
        {
            var due = TimeSpan.FromSeconds((double)written / rate) - clock.Elapsed;
            if (due > TimeSpan.FromMilliseconds(1)) await Task.Delay(due);
            Volatile.Write(ref sent[written], Stopwatch.GetTimestamp());
            await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.Small("watched", $"#{written}#"));
            answered[written] = Stopwatch.GetTimestamp();
        }
        var writing = clock.Elapsed;
        await api.SendAsync(HttpMethod.Put, Objects.ConfigMaps + "/watched", Objects.Small("watched", "#-1#"));
        long seen = 0;
        foreach (var watcher in watching) seen += await watcher;
        var reading = clock.Elapsed;
        var latencies = Latencies(sent, last, written);
        var after = report.Server();
        var name = $"watch, {watchers} watchers x {rate} events/s";
        report.Add($"{name}: written", written / writing.TotalSeconds, "1/s", higherIsBetter: true);
        report.Add($"{name}: delivered", seen / reading.TotalSeconds, "1/s", higherIsBetter: true);
        report.Add($"{name}: last watcher p50", Report.At(latencies, 0.5), "ms");
        report.Add($"{name}: last watcher p99", Report.At(latencies, 0.99), "ms");
        // Of that, the writer's client is late with the answer's reading, and the watchers' with the reading of what lies at their sockets.
        report.Add($"{name}: p99 until the write was answered", Report.At(Latencies(sent, answered, written), 0.99), "ms");
        report.Add($"{name}: p99 until the last event had arrived", Report.At(Latencies(sent, arrived, written), 0.99), "ms");
        if (seen > 0 && options.ServerPids.Length > 0) report.Add($"{name}: server CPU", (after.CpuSeconds - before.CpuSeconds) * 1e6 / seen, "us per delivery");
        if (seen > 0) report.Add($"{name}: server allocates", (await Metrics.AllocatedBytesAsync(api) - allocated) / seen, "B per delivery");
        report.Add($"{name}: lost", ((long)written * watchers) - seen, "events");
        foreach (var connection in connections) connection.Dispose();
    }

    private static List<double> Latencies(long[] sent, long[] seen, int count)
    {
        var latencies = new List<double>();
        for (var i = 0; i < count; i++)
        {
            if (seen[i] > 0) latencies.Add(Stopwatch.GetElapsedTime(sent[i], seen[i]).TotalMilliseconds);
        }
        latencies.Sort();
        return latencies;
    }

    private static long Read(RawConnection connection, int watches, Moments seen)
    {
        var watchers = new Watcher[watches];
        var ended = 0;
        try
        {
            connection.Read((watch, bytes, _) =>
            {
                if (watchers[watch].Read(bytes, seen, connection.ArrivedAt)) ended++;
                return ended < watches;
            });
        }
        catch (Exception failure) when (failure is IOException or ObjectDisposedException)
        {
            // Out of time, refused, or the server let go of watchers that were too slow: what was not seen counts as lost.
        }
        return watchers.Sum(static watcher => watcher.Seen);
    }

    // Looks for the numbers between two '#' in what goes by, and makes no text of it: the client shares the machine with the server.
    private struct Watcher
    {
        internal long Seen;
        private int _expected;
        private int _number;
        private bool _isInMark;
        private bool _isEnd;

        /// <summary>True when the mark of the end has come.</summary>
        internal bool Read(ReadOnlySpan<byte> bytes, Moments seen, DateTime arrivedAt)
        {
            while (true)
            {
                if (!_isInMark)
                {
                    var start = bytes.IndexOf((byte)'#');
                    if (start < 0) return false;
                    bytes = bytes[(start + 1)..];
                    (_isInMark, _isEnd, _number) = (true, false, 0);
                }
                var size = 0;
                for (; size < bytes.Length && bytes[size] != '#'; size++)
                {
                    if (bytes[size] == '-') _isEnd = true;
                    else _number = (_number * 10) + bytes[size] - '0';
                }
                if (size == bytes.Length) return false;
                bytes = bytes[(size + 1)..];
                _isInMark = false;
                if (_isEnd) return true;
                // A gap stays missing: it counts as lost. What an earlier load wrote is not ours.
                if (_number < _expected || _number >= seen.Last.Length) continue;
                _expected = _number + 1;
                Seen++;
                seen.Note(_number, arrivedAt);
            }
        }
    }

    // By change: when the last watcher had it, and when it had come to its socket.
    private readonly record struct Moments(long[] Last, long[] Arrived, DateTime StartedAt, long Started)
    {
        internal void Note(int number, DateTime arrivedAt)
        {
            Raise(ref Last[number], Stopwatch.GetTimestamp());
            Raise(ref Arrived[number], Started + (long)((arrivedAt - StartedAt).TotalSeconds * Stopwatch.Frequency));
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
