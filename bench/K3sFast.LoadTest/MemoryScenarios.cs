namespace K3sFast.LoadTest;

/// <summary>What a server keeps: of pods, of watches, and what it writes when nothing happens.</summary>
internal static class MemoryScenarios
{
    private const int Pods = 10_000;
    private const int IdleWatches = 10_000;

    /// <summary>How the whole server grows by 10,000 pods of 3 KB.</summary>
    internal static async Task GrowthAsync(ApiConnection api, Report report, LoadOptions options)
    {
        // Code paths, connections and pools are there before.
        await Objects.CreatePodsAsync(api, 200, "warm");
        await SettleAsync();
        var before = report.Server();
        var pods = options.Scaled(Pods);
        await Objects.CreatePodsAsync(api, pods, variables: 4);
        await SettleAsync();
        var one = await api.SendAsync(HttpMethod.Get, Objects.Pods + "/p-0");
        report.Add($"{pods} pods of 3 KB: bytes of one", one.Length, "B");
        var after = report.Server();
        report.Add($"{pods} pods of 3 KB: growth", (after.PssBytes - before.PssBytes) / 1e6, "MB");
        // The rest are pages of the executable, which come and go with the code that runs.
        report.Add($"{pods} pods of 3 KB: growth of what is no file's", (after.AnonymousBytes - before.AnonymousBytes) / 1e6, "MB");
    }

    /// <summary>
    /// Ten thousand watches as kubelets have them, each of another node's pods, and one writer whose pods are nobody's: what a watch costs while it
    /// waits, and what the writer pays for those who watch.
    /// </summary>
    internal static async Task IdleWatchesAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.CreatePodsAsync(api, 200, "warm");
        await CreateAtRateAsync("alone", "a");
        await SettleAsync();
        var count = options.Scaled(IdleWatches);
        var before = report.Server();
        using var stop = new CancellationTokenSource();
        var watches = new Stream[count];
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, 32).Select(_ => Task.Run(async () =>
        {
            for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
            {
                watches[i] = await api.WatchAsync($"/api/v1/pods?watch=true&timeoutSeconds=3000&resourceVersion=0&fieldSelector=spec.nodeName%3Dnode-{i}", stop.Token);
            }
        })));
        await SettleAsync();
        report.Add($"{count} idle watches: opened, server CPU", (report.Server().CpuSeconds - before.CpuSeconds) * 1e6 / count, "us each");
        report.Add($"{count} idle watches: memory", (report.Server().PssBytes - before.PssBytes) / count, "B each");
        await CreateAtRateAsync($"beside {count} idle watches", "b");
        await stop.CancelAsync();
        foreach (var watch in watches) await watch.DisposeAsync();

        Task CreateAtRateAsync(string how, string prefix) => Load.RunAtRateAsync($"create pod {how}", options.Scaled(500), options, report, i =>
            api.SendAsync(HttpMethod.Post, Objects.Pods, Objects.Pod($"{prefix}-{(i < 0 ? "warm" + -i : i)}")));
    }

    internal static async Task IdleAsync(Report report, LoadOptions options)
    {
        await SettleAsync();
        var before = report.Server();
        var time = TimeSpan.FromSeconds(Math.Max(30, options.Seconds * 6));
        await Task.Delay(time);
        var after = report.Server();
        report.Add("idle: written to disk", (after.WrittenBytes - before.WrittenBytes) / time.TotalSeconds / 1024, "KiB/s");
        report.Add("idle: CPU", (after.CpuSeconds - before.CpuSeconds) / time.TotalSeconds * 100, "% of a core");
        report.Add("idle: memory", after.PssBytes / 1e6, "MB");
    }

    // Collectors and allocators give back what they do not need within some seconds.
    private static Task SettleAsync() => Task.Delay(TimeSpan.FromSeconds(15));
}
