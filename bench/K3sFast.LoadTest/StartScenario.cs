using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

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

    // A server that answers, but not yet well, is asked again so much later: often enough to tell its start by, and little work beside it.
    private static readonly TimeSpan s_askAgain = TimeSpan.FromMilliseconds(10);

    /// <summary>
    /// Times a start: warms itself up on the server that is still running, says so by a file, waits until it is told (by another file, with the
    /// milliseconds of the Unix clock in it) that the server is being started anew, and asks until it answers and shows what it has: the object that was made first, and a page
    /// with the number of those behind it. Then it asks for all of them in one list, which is as many bytes as they are. Nobody else may ask meanwhile: on a machine of
    /// few cores the server would pay for it.
    /// </summary>
    internal static async Task AwaitAsync(Func<ApiConnection> connect, Report report, string file)
    {
        var count = 0L;
        using (var warm = connect())
        {
            for (var i = 0; i < 50; i++) count = await AskAsync(warm);
            for (var i = 0; i < 3; i++) await AskAllAsync(warm);
        }
        using var api = connect();
        await File.WriteAllTextAsync(file + ".warm", "");
        var deadline = Stopwatch.StartNew();
        while (!File.Exists(file) && deadline.Elapsed < TimeSpan.FromMinutes(2)) await Task.Delay(1);
        await api.WaitListeningAsync(TimeSpan.FromMinutes(4));
        while (true)
        {
            try
            {
                if (await AskAsync(api) is var shown && shown != count) throw new InvalidOperationException($"the server is ready and shows {shown} objects of {count}");
                break;
            }
            catch (HttpRequestException) when (deadline.Elapsed < TimeSpan.FromMinutes(4))
            {
                await Task.Delay(s_askAgain);
            }
        }
        var ready = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        await AskAllAsync(api);
        var listed = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        var began = long.Parse(await File.ReadAllTextAsync(file), CultureInfo.InvariantCulture);
        report.Add("start with 100,000 objects, exec to ready and the first of them served", ready - began, "ms");
        report.Add("start with 100,000 objects, exec to all of them served in one list", listed - began, "ms");
    }

    // Returns how many objects there are.
    private static async Task<long> AskAsync(ApiConnection api)
    {
        await api.SendAsync(HttpMethod.Get, "/readyz");
        await api.SendAsync(HttpMethod.Get, Last);
        using var page = JsonDocument.Parse(await api.SendAsync(HttpMethod.Get, Objects.ConfigMaps + "?limit=100"));
        var items = page.RootElement.GetProperty("items").GetArrayLength();
        return page.RootElement.GetProperty("metadata").TryGetProperty("remainingItemCount", out var rest) ? items + rest.GetInt64() : items;
    }

    // At resourceVersion 0 no limit holds: what the caches have is sent whole.
    private static Task<long> AskAllAsync(ApiConnection api) => api.DrainAsync(Objects.ConfigMaps + "?resourceVersion=0");
}
