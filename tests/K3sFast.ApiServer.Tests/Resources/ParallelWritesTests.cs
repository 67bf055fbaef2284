using System.Collections.Concurrent;
using System.Text.Json.Nodes;

namespace K3sFast.ApiServer.Tests.Resources;

/// <summary>Hundreds of writes at once: the history that watchers see is checked against what every writer was told.</summary>
public sealed class ParallelWritesTests(TestServer server)
{
    private const int Writers = 24;
    private const int WritesEach = 16;
    private const int QuotaOfConfigMaps = 60;

    [Fact]
    public async Task Writes_InParallel_KeepOrderAddressesPortsAndQuota()
    {
        var seed = Environment.TickCount;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var ns = await server.NamespaceAsync();
        string maps = $"/api/v1/namespaces/{ns}/configmaps", services = $"/api/v1/namespaces/{ns}/services";
        // The last event of each watch: made before the quota counts.
        var start = (string)(await server.CreateAsync(maps, """{"metadata":{"name":"end"}}"""))["metadata"]!["resourceVersion"]!;
        await server.CreateAsync(services, """{"metadata":{"name":"end"},"spec":{"ports":[{"port":1}]}}""");
        await MakeQuotaAsync(ns);
        var mapEvents = ReadWatchAsync(maps, start);
        var serviceEvents = ReadWatchAsync(services, start);

        var acknowledged = new ConcurrentBag<(string Path, long Version)>();
        var deleted = new ConcurrentBag<string>();
        await Task.WhenAll(Enumerable.Range(0, Writers).Select(i => WriteAsync(new Random(seed + i), maps, services, acknowledged, deleted)));
        await EndAsync(maps, "{\"metadata\":{\"name\":\"end\"},\"data\":{\"is\":\"over\"}}");
        await EndAsync(services, "{\"metadata\":{\"name\":\"end\",\"labels\":{\"is\":\"over\"}},\"spec\":{\"ports\":[{\"port\":1}]}}");

        var seenMaps = await mapEvents;
        var seenServices = await serviceEvents;
        Assert.Equal(acknowledged.Count, acknowledged.Select(static a => a.Version).Distinct().Count());
        CheckHistory(seed, maps, seenMaps, acknowledged, deleted);
        CheckHistory(seed, services, seenServices, acknowledged, deleted);
        CheckExclusive(seed, seenServices, static s => s["spec"]!["clusterIPs"]!.AsArray().Select(static ip => (string)ip!));
        CheckExclusive(seed, seenServices, static s => s["spec"]!["ports"]!.AsArray().Select(static p => p!["nodePort"]?.ToString() ?? "").Where(static p => p.Length > 0));
        Assert.True(seenMaps.Count(static e => e.Type == "ADDED") <= QuotaOfConfigMaps, $"seed {seed}: more created than the quota allows");
    }

    private async Task WriteAsync(Random random, string maps, string services, ConcurrentBag<(string, long)> acknowledged, ConcurrentBag<string> deleted)
    {
        for (var i = 0; i < WritesEach; i++)
        {
            // Few names, addresses and ports, so that writers meet.
            var name = $"n{random.Next(40)}";
            var isMap = random.Next(2) == 0;
            var path = isMap ? maps : services;
            var spec = random.Next(3) switch
            {
                0 => $"\"clusterIP\":\"10.43.77.{random.Next(1, 9)}\",",
                1 => "\"type\":\"NodePort\",",
                _ => "",
            };
            var port = random.Next(2) == 0 && spec.Contains("NodePort", StringComparison.Ordinal) ? $",\"nodePort\":{31990 + random.Next(8)}" : "";
            var content = isMap ? $"\"data\":{{\"k\":\"{random.Next()}\"}}" : $"\"spec\":{{{spec}\"ports\":[{{\"port\":80{port}}}]}}";
            var body = $"{{\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"x\":\"{random.Next()}\"}}}},{content}}}";
            var choice = random.Next(4);
            var answer = choice switch
            {
                0 => await server.SendAsync(HttpMethod.Delete, $"{path}/{name}"),
                1 => await server.SendAsync(HttpMethod.Patch, $"{path}/{name}", $"{{\"metadata\":{{\"labels\":{{\"x\":\"{random.Next()}\"}}}}}}", "application/merge-patch+json"),
                _ => await server.SendAsync(HttpMethod.Post, path, body),
            };
            // Conflict, taken, gone, over quota: each is a fair answer. Nothing else is.
            Assert.True(answer.Code is 200 or 201 or 403 or 404 or 409 or 422, answer.Text);
            if (answer.Code > 201)
                continue;
            if (choice == 0)
                deleted.Add(path);
            else
                acknowledged.Add((path, long.Parse((string)answer.Json["metadata"]!["resourceVersion"]!, System.Globalization.CultureInfo.InvariantCulture)));
        }
    }

    private async Task EndAsync(string path, string body) => Assert.Equal(200, (await server.SendAsync(HttpMethod.Put, $"{path}/end", body)).Code);

    private async Task MakeQuotaAsync(string ns)
    {
        var hard = $"{{\"count/configmaps\":\"{QuotaOfConfigMaps}\"}}";
        await server.CreateAsync($"/api/v1/namespaces/{ns}/resourcequotas", $"{{\"metadata\":{{\"name\":\"q\"}},\"spec\":{{\"hard\":{hard}}}}}");
        var status = await server.SendAsync(HttpMethod.Patch, $"/api/v1/namespaces/{ns}/resourcequotas/q/status",
            $"{{\"status\":{{\"hard\":{hard},\"used\":{{\"count/configmaps\":\"0\"}}}}}}", "application/merge-patch+json");
        Assert.Equal(200, status.Code);
    }

    private async Task<List<(string Type, JsonNode Object)>> ReadWatchAsync(string path, string after)
    {
        using var timeout = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{path}?watch=1&resourceVersion={after}");
        using var response = await server.Admin.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, timeout.Token);
        using var lines = new StreamReader(await response.Content.ReadAsStreamAsync(timeout.Token));
        var events = new List<(string, JsonNode)>();
        while (await lines.ReadLineAsync(timeout.Token) is { } line)
        {
            var read = JsonNode.Parse(line)!;
            var type = (string)read["type"]!;
            var value = read["object"]!;
            if ((string?)value["metadata"]!["name"] != "end")
                events.Add((type, value));
            else if (type == "MODIFIED")
                return events;
        }
        throw new InvalidOperationException("the watch ended early");
    }

    private static long VersionOf(JsonNode value) => long.Parse((string)value["metadata"]!["resourceVersion"]!, System.Globalization.CultureInfo.InvariantCulture);

    // Ascending, every acknowledged version once, and nothing that nobody was told of.
    private static void CheckHistory(
        int seed, string path, List<(string Type, JsonNode Object)> events, IEnumerable<(string Path, long Version)> acknowledged, IEnumerable<string> deleted)
    {
        var versions = events.Select(static e => VersionOf(e.Object)).ToList();
        Assert.True(versions.Zip(versions.Skip(1)).All(static p => p.First < p.Second), $"seed {seed}: {path}: events are out of order");
        var written = events.Where(static e => e.Type != "DELETED").Select(static e => VersionOf(e.Object)).ToHashSet();
        var told = acknowledged.Where(a => a.Path == path).Select(static a => a.Version).ToHashSet();
        Assert.True(written.SetEquals(told), $"seed {seed}: {path}: seen and not told {string.Join(',', written.Except(told))}; told and not seen {string.Join(',', told.Except(written))}");
        Assert.Equal(deleted.Count(d => d == path), events.Count(static e => e.Type == "DELETED"));
        var alive = new HashSet<string>();
        foreach (var (type, value) in events)
        {
            var name = (string)value["metadata"]!["name"]!;
            Assert.True(type switch { "ADDED" => alive.Add(name), "DELETED" => alive.Remove(name), _ => alive.Contains(name) }, $"seed {seed}: {path}: {type} of {name} does not follow");
        }
    }

    // At no time have two objects the same value.
    private static void CheckExclusive(int seed, List<(string Type, JsonNode Object)> events, Func<JsonNode, IEnumerable<string>> values)
    {
        var holders = new Dictionary<string, string>();
        foreach (var (type, value) in events)
        {
            var name = (string)value["metadata"]!["name"]!;
            foreach (var held in holders.Where(h => h.Value == name).Select(static h => h.Key).ToList())
                holders.Remove(held);
            if (type == "DELETED")
                continue;
            foreach (var taken in values(value))
                Assert.True(holders.TryAdd(taken, name), $"seed {seed}: {taken} is of {holders.GetValueOrDefault(taken)} and of {name}");
        }
    }
}
