using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>Runs one operation by many clients at once, for a bounded count and time.</summary>
internal static class Load
{
    /// <summary>As fast as the clients can: each begins the next operation when its last one ended.</summary>
    internal static async Task RunAsync(
        string name, int clients, int maxCount, LoadOptions options, Report report, Func<int, Task> operation)
    {
        // Connections, code paths and the server's caches are warm before the clock starts.
        await Task.WhenAll(Enumerable.Range(0, clients).Select(i => operation(-1 - i)));
        var latencies = new List<double>[clients];
        var next = -1;
        var before = report.Server();
        var clock = Stopwatch.StartNew();
        var limit = TimeSpan.FromSeconds(options.Seconds);
        await Task.WhenAll(Enumerable.Range(0, clients).Select(client => Task.Run(async () =>
        {
            var own = latencies[client] = [];
            while (clock.Elapsed < limit)
            {
                var i = Interlocked.Increment(ref next);
                if (i >= maxCount) return;
                var start = Stopwatch.GetTimestamp();
                await operation(i);
                own.Add(Report.Since(start));
            }
        })));
        clock.Stop();
        var all = latencies.SelectMany(static own => own).ToList();
        report.Add($"{name}, {clients} clients", all.Count, clock.Elapsed, all, report.Server().CpuSeconds - before.CpuSeconds);
    }

    /// <summary>
    /// At a steady rate, whatever the answers take: a latency is from the moment an operation was due, so that a server that stalls pays for all that
    /// had to wait.
    /// </summary>
    internal static async Task RunAtRateAsync(string name, int perSecond, LoadOptions options, Report report, Func<int, Task> operation)
    {
        const int MostInFlight = 2_000;
        for (var i = 0; i < 32; i++) await operation(-1 - i);
        var count = perSecond * options.Seconds;
        var latencies = new List<double>(count);
        var before = report.Server();
        var clock = Stopwatch.StartNew();
        var limit = TimeSpan.FromSeconds(options.Seconds * 3);
        using var places = new SemaphoreSlim(MostInFlight);
        var running = new List<Task>(count);
        await Pacer.RunAsync(perSecond, count, clock, (i, due) =>
        {
            if (clock.Elapsed > limit) return false;
            places.Wait();
            running.Add(Task.Run(() => OneAsync(i, due)));
            return true;
        });
        await Task.WhenAll(running);
        clock.Stop();
        if (running.Count < count) report.Fail($"{name}: only {running.Count} of {count} could be sent in three times their time");
        report.Add($"{name} at {perSecond}/s", latencies.Count, clock.Elapsed, latencies, report.Server().CpuSeconds - before.CpuSeconds);

        async Task OneAsync(int i, TimeSpan due)
        {
            await operation(i);
            places.Release();
            var took = (clock.Elapsed - due).TotalMilliseconds;
            lock (latencies) latencies.Add(took);
        }
    }
}
