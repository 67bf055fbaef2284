using System.Diagnostics;
using System.Globalization;

namespace K3sFast.LoadTest;

/// <summary>100,000 objects of 1 KB, to be there when a server starts; and how long it takes until a started server shows them.</summary>
internal static class StartScenario
{
    private const int Objects100K = 100_000;
    private const string Last = "/api/v1/namespaces/load/configmaps/big-0";

    internal static async Task FillAsync(ApiConnection api, LoadOptions options)
    {
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

    /// <summary>
    /// Times a start: warms itself up on the server that is still running, says so by a file, waits until it is told (by another file, with the
    /// milliseconds of the Unix clock in it) that the server was started anew, and asks until it answers and shows what it has.
    /// </summary>
    internal static async Task AwaitAsync(Func<ApiConnection> connect, Report report, string file)
    {
        using (var warm = connect())
        {
            for (var i = 0; i < 50; i++) await AskAsync(warm);
        }
        await File.WriteAllTextAsync(file + ".warm", "");
        var deadline = Stopwatch.StartNew();
        while (!File.Exists(file) && deadline.Elapsed < TimeSpan.FromMinutes(2)) await Task.Delay(1);
        using var api = connect();
        while (true)
        {
            try
            {
                await AskAsync(api);
                break;
            }
            catch (HttpRequestException) when (deadline.Elapsed < TimeSpan.FromMinutes(4))
            {
                await Task.Delay(2);
            }
        }
        var ready = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        report.Add("start with 100,000 objects, exec to ready and served", ready - long.Parse(await File.ReadAllTextAsync(file), CultureInfo.InvariantCulture), "ms");
    }

    private static async Task AskAsync(ApiConnection api)
    {
        await api.SendAsync(HttpMethod.Get, "/readyz");
        await api.SendAsync(HttpMethod.Get, Last);
        await api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "?limit=100&resourceVersion=0");
    }
}
