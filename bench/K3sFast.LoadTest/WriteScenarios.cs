using System.Text;

namespace K3sFast.LoadTest;

/// <summary>Durable writes: each is on disk when it is answered.</summary>
internal static class WriteScenarios
{
    internal static async Task CreateAsync(ApiConnection api, Report report, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        foreach (var clients in (int[])[1, 64])
        {
            await Load.RunAsync("create ConfigMap 0.6 KB", clients, 20_000, options, report, i =>
                api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap($"c{clients}-{(i < 0 ? "warm" + -i : i)}")));
        }
        await Load.RunAsync("update ConfigMap 0.6 KB", 64, 20_000, options, report, i =>
            api.SendAsync(HttpMethod.Put, $"{Objects.ConfigMaps}/c64-warm{1 + (Math.Abs(i) % 64)}", Objects.ConfigMap($"c64-warm{1 + (Math.Abs(i) % 64)}", $"{i}")));
        await Load.RunAsync("create pod 2.5 KB", 64, 5_000, options, report, i =>
            api.SendAsync(HttpMethod.Post, Objects.Pods, Objects.Pod($"p-{(i < 0 ? "warm" + -i : i)}")));
        await Objects.ResetNamespaceAsync(api);
    }
}
