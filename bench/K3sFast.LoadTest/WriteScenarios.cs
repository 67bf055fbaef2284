namespace K3sFast.LoadTest;

/// <summary>Durable writes: each is on disk when it is answered.</summary>
internal static class WriteScenarios
{
    internal static async Task CreateAsync(ApiConnection api, Report report, LoadOptions options)
    {
        foreach (var clients in (int[])[1, 64, 512])
        {
            await Load.RunAsync("create ConfigMap 0.6 KB", clients, options.Scaled(40_000), options, report, i =>
                api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap($"c{clients}-{(i < 0 ? "warm" + -i : i)}")));
        }
    }

    internal static async Task UpdateAsync(ApiConnection api, Report report, LoadOptions options)
    {
        for (var i = 0; i < 64; i++) await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap($"u-{i}"));
        await Load.RunAsync("update ConfigMap 0.6 KB", 64, options.Scaled(20_000), options, report, i =>
            api.SendAsync(HttpMethod.Put, $"{Objects.ConfigMaps}/u-{Math.Abs(i) % 64}", Objects.ConfigMap($"u-{Math.Abs(i) % 64}", $"{i}")));
        await Load.RunAsync("create pod 2.5 KB", 64, options.Scaled(5_000), options, report, i =>
            api.SendAsync(HttpMethod.Post, Objects.Pods, Objects.Pod($"p-{(i < 0 ? "warm" + -i : i)}")));
    }

    internal static async Task SteadyAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Load.RunAtRateAsync("create ConfigMap 0.6 KB", options.Scaled(1_000), options, report, i =>
            api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap($"s-{(i < 0 ? "warm" + -i : i)}")));
    }

    /// <summary>A write, and at once a read of it: the read must show it.</summary>
    internal static async Task ReadAfterWriteAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("raw"));
        var count = options.Scaled(2_000);
        var allocated = await Metrics.AllocatedBytesAsync(api);
        var (reads, arrivals, stale) = await Task.Factory.StartNew(() => ReadAfterWrites(api, count), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        reads.Sort();
        arrivals.Sort();
        report.Add("consistent list after a write: p50", Report.At(reads, 0.5), "ms");
        report.Add("consistent list after a write: p99", Report.At(reads, 0.99), "ms");
        report.Add("consistent list after a write: p99.9", Report.At(reads, 0.999), "ms");
        // What follows until the client has its turn and has read it is not the server's.
        report.Add("consistent list after a write: p99.9 until the answer had arrived", Report.At(arrivals, 0.999), "ms");
        report.Add("consistent list after a write: server allocates", (await Metrics.AllocatedBytesAsync(api) - allocated) / (count + (count / 10)), "B for both");
        if (stale > 0) report.Fail($"{stale} reads after a write were stale");
    }

    private static (List<double> Reads, List<double> Arrivals, int Stale) ReadAfterWrites(ApiConnection api, int count)
    {
        using var connection = api.OpenRaw();
        var write = connection.FieldsOf(Objects.ConfigMaps + "/raw", isPut: true);
        var list = connection.FieldsOf(Objects.ConfigMaps + "?fieldSelector=metadata.name%3Draw");
        var (reads, arrivals) = (new List<double>(count), new List<double>(count));
        var stale = 0;
        // The first ones are the warming of both sides' code.
        for (var i = -count / 10; i < count; i++)
        {
            connection.Exchange(write, Objects.ConfigMap("raw", $"#{i}#"));
            var (start, startedAt) = (System.Diagnostics.Stopwatch.GetTimestamp(), DateTime.UtcNow);
            var read = connection.Exchange(list);
            if (i >= 0)
            {
                reads.Add(Report.Since(start));
                arrivals.Add((connection.ArrivedAt - startedAt).TotalMilliseconds);
            }
            if (read.AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes($"#{i}#")) < 0) stale++;
        }
        return (reads, arrivals, stale);
    }
}
