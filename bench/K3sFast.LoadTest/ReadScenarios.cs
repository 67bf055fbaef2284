using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>Reads: one object, and long lists.</summary>
internal static class ReadScenarios
{
    private const int ListedPods = 2_000;
    private const int ManyPods = 50_000;
    private const int Listers = 10;

    internal static async Task GetAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("one"));
        foreach (var clients in (int[])[1, 64])
        {
            await Load.RunAsync("get ConfigMap 0.6 KB", clients, options.Scaled(200_000), options, report, _ => api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "/one"));
        }
    }

    internal static async Task SteadyAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("one"));
        await Load.RunAtRateAsync("get ConfigMap 0.6 KB", options.Scaled(5_000), options, report, _ => api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "/one"));
    }

    internal static async Task ListAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        var pods = options.Scaled(ListedPods);
        await Objects.CreatePodsAsync(api, pods);
        foreach (var clients in (int[])[2, 10])
        {
            await Load.RunAsync($"list {pods} pods", clients, 200, options, report, _ => api.DrainAsync(Objects.Pods));
        }
        await Objects.ResetNamespaceAsync(api);
    }

    /// <summary>
    /// Ten clients that list everything at once: how long, and how much more memory the server has at the worst moment. The client throws away what it reads.
    /// </summary>
    internal static async Task ListManyAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        var pods = options.Scaled(ManyPods);
        await Objects.CreatePodsAsync(api, pods);
        foreach (var (form, accept) in new[] { ("JSON", "application/json"), ("protobuf", "application/vnd.kubernetes.protobuf"), ("Table", "application/json;as=Table;g=meta.k8s.io;v=v1") })
        {
            // Once alone: buffers that are kept from then on are no cost of being ten.
            await api.DrainAsync(Objects.Pods, accept);
            await Task.Delay(2_000);
            var before = report.Server();
            var most = before.PssBytes;
            using var done = new CancellationTokenSource();
            var watching = Task.Run(async () =>
            {
                while (!done.IsCancellationRequested)
                {
                    most = Math.Max(most, report.Server().PssBytes);
                    await Task.Delay(50);
                }
            });
            var clock = Stopwatch.StartNew();
            long bytes = 0;
            await Task.WhenAll(Enumerable.Range(0, Listers).Select(_ => Task.Run(async () => Interlocked.Add(ref bytes, await api.DrainAsync(Objects.Pods, accept)))));
            clock.Stop();
            await done.CancelAsync();
            await watching;
            var name = $"list {pods} pods as {form}, {Listers} at once";
            report.Add($"{name}: all done", clock.Elapsed.TotalMilliseconds, "ms");
            report.Add($"{name}: sent", bytes / 1e6, "MB");
            if (options.ServerPids.Length == 0) continue;
            report.Add($"{name}: server CPU", (report.Server().CpuSeconds - before.CpuSeconds) * 1e3 / Listers, "ms each");
            report.Add($"{name}: extra memory", (most - before.PssBytes) / Listers / 1e6, "MB each");
        }
        await Objects.ResetNamespaceAsync(api);
    }
}
