using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>Runs one operation by many clients at once, for a bounded count and time.</summary>
internal static class Load
{
    internal static async Task RunAsync(
        string name, int clients, int maxCount, LoadOptions options, Report report, Func<int, Task> operation)
    {
        // Connections, code paths and the server's caches are warm before the clock starts.
        for (var i = 0; i < clients; i++) await operation(-1 - i);
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
}
