using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace K3sFast.LoadTest;

/// <summary>Pods of an image that is present, started at a steady pace: from the answer to the creation until a watch shows the pod Ready.</summary>
internal static class PodScenario
{
    private const int Count = 50;
    private const int PerSecond = 5;

    internal static async Task RunAsync(ApiConnection api, Report report, LoadOptions options)
    {
        using var stop = new CancellationTokenSource(TimeSpan.FromSeconds((Count / PerSecond) + 120));
        var created = new Dictionary<string, long>();
        var latencies = new List<double>();
        using var reader = new StreamReader(await api.WatchAsync(Objects.Pods + "?watch=true&labelSelector=app%3Dpods", stop.Token));
        var watching = Task.Run(async () =>
        {
            while (latencies.Count < Count && await reader.ReadLineAsync(stop.Token) is { } line)
            {
                using var change = JsonDocument.Parse(line);
                var pod = change.RootElement.GetProperty("object");
                if (!IsReady(pod)) continue;
                lock (created)
                {
                    if (created.Remove(pod.GetProperty("metadata").GetProperty("name").GetString()!, out var start)) latencies.Add(Report.Since(start));
                }
            }
        });
        var before = report.Server();
        var clock = Stopwatch.StartNew();
        for (var i = 0; i < Count; i++)
        {
            var due = TimeSpan.FromSeconds((double)i / PerSecond) - clock.Elapsed;
            if (due > TimeSpan.Zero) await Task.Delay(due, stop.Token);
            lock (created) created[$"start-{i}"] = Stopwatch.GetTimestamp();
            await api.SendAsync(HttpMethod.Post, Objects.Pods, Encoding.UTF8.GetBytes($$$"""
                {"apiVersion":"v1","kind":"Pod","metadata":{"name":"start-{{{i}}}","labels":{"app":"pods"}},
                "spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"busybox:1.35","command":["sleep","600"]}]}}
                """));
        }
        try
        {
            await watching;
        }
        catch (OperationCanceledException)
        {
            report.Fail($"{Count - latencies.Count} pods did not become Ready in time");
        }
        report.Add($"pod start, created to Ready seen, at {PerSecond}/s", latencies.Count, clock.Elapsed, latencies, report.Server().CpuSeconds - before.CpuSeconds);
    }

    private static bool IsReady(JsonElement pod)
    {
        if (!pod.TryGetProperty("status", out var status) || !status.TryGetProperty("conditions", out var conditions)) return false;
        foreach (var condition in conditions.EnumerateArray())
        {
            if (condition.GetProperty("type").ValueEquals("Ready")) return condition.GetProperty("status").ValueEquals("True");
        }
        return false;
    }
}
