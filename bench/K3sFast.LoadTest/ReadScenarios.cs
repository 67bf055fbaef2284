namespace K3sFast.LoadTest;

/// <summary>Reads: one object, and long lists.</summary>
internal static class ReadScenarios
{
    private const int ListedPods = 2_000;

    internal static async Task GetAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap("one"));
        foreach (var clients in (int[])[1, 64])
        {
            await Load.RunAsync("get ConfigMap 0.6 KB", clients, 200_000, options, report, _ => api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "/one"));
        }
    }

    internal static async Task ListAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        var next = 0;
        await Task.WhenAll(Enumerable.Range(0, 32).Select(async _ =>
        {
            for (var i = Interlocked.Increment(ref next); i <= ListedPods; i = Interlocked.Increment(ref next))
            {
                await api.SendAsync(HttpMethod.Post, Objects.Pods, Objects.Pod($"p-{i}"));
            }
        }));
        long bytes = 0;
        foreach (var clients in (int[])[2, 10])
        {
            bytes = 0;
            await Load.RunAsync($"list {ListedPods} pods", clients, 200, options, report, async _ =>
                Interlocked.Add(ref bytes, (await api.SendAsync(HttpMethod.Get, Objects.Pods)).Length));
        }
        Console.Error.WriteLine($"one list of {ListedPods} pods: {(await api.SendAsync(HttpMethod.Get, Objects.Pods)).Length / 1e6:0.0} MB");
        await Objects.ResetNamespaceAsync(api);
    }
}
