using System.Text;
using System.Text.Json.Nodes;
using K3sFast.Kubelet.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace K3sFast.Kubelet.Tests.Server;

/// <summary>What the node tells of itself, and who may hear it.</summary>
public sealed class NodeApiTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("node-logs-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("/stats/summary", "stats")]
    [InlineData("/metrics/cadvisor", "metrics")]
    [InlineData("/logs/", "log")]
    [InlineData("/checkpoint/a/b/c", "checkpoint")]
    [InlineData("/pods", "pods proxy")]
    [InlineData("/runningpods/", "pods proxy")]
    [InlineData("/healthz/ping", "healthz proxy")]
    [InlineData("/configz", "configz proxy")]
    [InlineData("/statusz", "statusz")]
    [InlineData("/flagz", "configz")]
    [InlineData("/podsx", "proxy")]
    [InlineData("/statsx", "proxy")]
    [InlineData("/exec/a/b/c", "proxy")]
    [InlineData("//stats", "proxy")]
    [InlineData("/containerLogs/a/b/c", "proxy")]
    public void Path_NeedsTheNarrowRightOrTheWideOne(string path, string subresources) =>
        Assert.Equal(subresources, string.Join(' ', KubeletAuth.Subresources(path)));

    [Theory]
    [InlineData("GET", "get")]
    [InlineData("POST", "create")]
    [InlineData("PUT", "update")]
    [InlineData("PATCH", "patch")]
    [InlineData("DELETE", "delete")]
    [InlineData("HEAD", "")]
    [InlineData("OPTIONS", "")]
    public void Method_StandsForItsVerb(string method, string verb) => Assert.Equal(verb, KubeletAuth.Verb(method));

    [Fact]
    public async Task Logs_BelowTheFolder_AreListedAndSent()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "sys & log"), "line\n", TestContext.Current.CancellationToken);
        Directory.CreateDirectory(Path.Combine(_folder, "pods"));
        File.CreateSymbolicLink(Path.Combine(_folder, "link"), "sys & log");
        var (code, text, type) = await GetAsync("/logs/");
        Assert.Equal((200, "text/html; charset=utf-8"), (code, type));
        Assert.Contains("<a href=\"pods/\">pods/</a>\n<a href=\"sys%20%26%20log\">sys &amp; log</a>\n", text);
        Assert.Equal((200, "line\n", "text/plain; charset=utf-8"), await GetAsync("/logs/sys & log"));
        Assert.Equal("line\n", (await GetAsync("/logs/link")).Text);
        Assert.Equal(301, (await GetAsync("/logs/pods")).Code);
        Assert.Equal(404, (await GetAsync("/logs/none")).Code);
    }

    [Theory]
    [InlineData("/logs/../etc/passwd")]
    [InlineData("/logs/./../../etc/passwd")]
    [InlineData("/logs/out/passwd")]
    [InlineData("/logs/file")]
    [InlineData("/logs/inner/up/etc/passwd")]
    [InlineData("/logs/loop")]
    [InlineData("/logs/twice")]
    public async Task Logs_OutsideTheFolder_AreNotFound(string path)
    {
        File.CreateSymbolicLink(Path.Combine(_folder, "out"), "/etc");
        File.CreateSymbolicLink(Path.Combine(_folder, "file"), "/etc/passwd");
        Directory.CreateDirectory(Path.Combine(_folder, "inner"));
        File.CreateSymbolicLink(Path.Combine(_folder, "inner", "up"), "../../../../../..");
        File.CreateSymbolicLink(Path.Combine(_folder, "loop"), "loop");
        File.CreateSymbolicLink(Path.Combine(_folder, "twice"), "inner/up/etc/passwd");
        var (code, text, _) = await GetAsync(path);
        Assert.Equal((404, "404 page not found\n"), (code, text));
    }

    [Fact]
    public async Task Configz_TellsWhatTheKubeletRunsWith()
    {
        var options = new KubeletOptions { NodeName = "n", NodeIPs = [], ContainerdSocket = "/run/c.sock", MaxPods = 77, ClusterDomain = "x.test", MaxContainerBackOff = TimeSpan.FromSeconds(90) };
        var (features, body) = Request("/configz");
        await new ConfigHandler(options).HandleAsync(new KubeletRequest(features));
        var config = JsonNode.Parse(body.ToArray())!["kubeletconfig"]!;
        Assert.Equal((77, "x.test", "1m30s", "unix:///run/c.sock"), (
            (int)config["maxPods"]!, (string?)config["clusterDomain"], (string?)config["crashLoopBackOff"]!["maxContainerRestartPeriod"], (string?)config["containerRuntimeEndpoint"]));
        Assert.False((bool)config["authentication"]!["anonymous"]!["enabled"]!);
    }

    private async Task<(int Code, string Text, string Type)> GetAsync(string path)
    {
        var (features, body) = Request(path);
        await new NodeLogHandler(_folder).HandleAsync(new KubeletRequest(features));
        var response = features.GetRequiredFeature<IHttpResponseFeature>();
        return (response.StatusCode, Encoding.UTF8.GetString(body.ToArray()), response.Headers.ContentType.ToString());
    }

    private static (FeatureCollection Features, MemoryStream Body) Request(string path)
    {
        var body = new MemoryStream();
        var features = new FeatureCollection();
        features.Set<IHttpRequestFeature>(new HttpRequestFeature { Method = "GET", Path = path });
        features.Set<IHttpResponseFeature>(new HttpResponseFeature());
        features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(body));
        return (features, body);
    }
}
