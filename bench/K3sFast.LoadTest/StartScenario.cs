using System.Diagnostics;

namespace K3sFast.LoadTest;

/// <summary>100,000 objects of 1 KB, to be there when a server starts; and how long it takes until a started server shows them.</summary>
internal static class StartScenario
{
    private const int Objects100K = 100_000;
    private const string Last = "/api/v1/namespaces/load/configmaps/big-0";

    internal static async Task FillAsync(ApiConnection api, LoadOptions options)
    {
        await Objects.ResetNamespaceAsync(api);
        var count = options.Scaled(Objects100K);
        var next = -1;
        await Task.WhenAll(Enumerable.Range(0, 64).Select(async _ =>
        {
            for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
            {
                await api.SendAsync(HttpMethod.Post, Objects.ConfigMaps, Objects.ConfigMap($"big-{i}", new string('y', 300)));
            }
        }));
    }

    /// <summary>The server was just started, at <paramref name="startedAtUnixMs"/>: asks until it answers, then for one of the objects and a page of them.</summary>
    internal static async Task AwaitAsync(ApiConnection api, Report report, long startedAtUnixMs)
    {
        var deadline = Stopwatch.StartNew();
        while (true)
        {
            try
            {
                await api.SendAsync(HttpMethod.Get, "/readyz");
                await api.SendAsync(HttpMethod.Get, Last);
                await api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "?limit=100&resourceVersion=0");
                break;
            }
            catch (HttpRequestException) when (deadline.Elapsed < TimeSpan.FromMinutes(2))
            {
                await Task.Delay(2);
            }
        }
        report.Add("start with 100,000 objects: exec to ready and served", DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - startedAtUnixMs, "ms");
        report.Add("start with 100,000 objects: memory", report.Server().PssBytes / 1e6, "MB");
    }
}
