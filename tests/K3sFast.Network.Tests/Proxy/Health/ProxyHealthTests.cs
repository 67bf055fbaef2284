using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using K3sFast.Client;
using K3sFast.Network.Proxy;
using K3sFast.Network.Proxy.Health;
using K3sFast.Tests.Ports;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace K3sFast.Network.Tests.Proxy.Health;

public sealed class ProxyHealthTests
{
    private static readonly DateTimeOffset s_start = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    private readonly FakeTimeProvider _time = new(s_start);
    private readonly ProxyMetrics _metrics = new(new MetricRegistry());

    [Fact]
    public void Answer_ByWhatWaits_IsUpstreams()
    {
        var health = new ProxyHealth(_time, ["IPv4"], TimeSpan.FromSeconds(60)) { IsNodeEligible = true };
        Assert.Equal(200, Ask(health, "/healthz").Status);
        health.Queued();
        _time.Advance(TimeSpan.FromSeconds(59));
        Assert.Equal(200, Ask(health, "/healthz").Status);
        _time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((503, 503), (Ask(health, "/healthz").Status, Ask(health, "/livez").Status));
        using (var late = JsonDocument.Parse(Ask(health, "/livez").Body))
        {
            Assert.False(late.RootElement.GetProperty("healthy").GetBoolean());
            Assert.False(late.RootElement.GetProperty("status").GetProperty("IPv4").GetProperty("healthy").GetBoolean());
            Assert.Equal(s_start.UtcDateTime, late.RootElement.GetProperty("lastUpdated").GetDateTime());
            Assert.False(late.RootElement.TryGetProperty("nodeEligible", out _));
        }
        health.Updated();
        Assert.Equal(200, Ask(health, "/livez").Status);

        // A node that is about to go is alive, and is to get no traffic.
        health.IsNodeEligible = false;
        Assert.Equal((503, 200), (Ask(health, "/healthz").Status, Ask(health, "/livez").Status));
        Assert.Contains("\"nodeEligible\":false", Encoding.UTF8.GetString(Ask(health, "/healthz").Body.Span), StringComparison.Ordinal);
        Assert.Null(health.Answer("/metrics", _metrics));
        Assert.Equal(5, _metrics.Healthz.With("503").Value + _metrics.Healthz.With("200").Value);
    }

    [Fact]
    public async Task ServicePort_ByLocalEndpoints_AnswersWeightAndBody()
    {
        var health = new ProxyHealth(_time, ["IPv4"], TimeSpan.FromSeconds(60));
        var reports = new List<string>();
        using var ports = new ServiceHealthPorts(null, () => [IPAddress.Loopback], health, (_, message) => reports.Add(message), NullLogger.Instance);
        var key = new ObjectKey("default", "web");
        using var first = new LoopbackPort();
        var port = (ushort)first.Number;
        ports.Set(key, port, 2);
        using var client = new HttpClient();

        var answer = await client.GetAsync($"http://127.0.0.1:{port}/");
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal("2", Assert.Single(answer.Headers.GetValues("X-Load-Balancing-Endpoint-Weight")));
        Assert.Equal("nosniff", Assert.Single(answer.Headers.GetValues("X-Content-Type-Options")));
        Assert.Equal(
            "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}",
            await answer.Content.ReadAsStringAsync());

        ports.Set(key, port, 0);
        answer = await client.GetAsync($"http://127.0.0.1:{port}/anything");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        Assert.Equal("0", Assert.Single(answer.Headers.GetValues("X-Load-Balancing-Endpoint-Weight")));
        Assert.Equal(0, (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("localEndpoints").GetInt32());

        using var second = new LoopbackPort();
        var other = (ushort)second.Number;
        ports.Set(key, other, 1);
        await Assert.ThrowsAsync<HttpRequestException>(() => client.GetAsync($"http://127.0.0.1:{port}/"));
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync($"http://127.0.0.1:{other}/")).StatusCode);
        ports.Set(key, 0, 0);
        await Assert.ThrowsAsync<HttpRequestException>(() => client.GetAsync($"http://127.0.0.1:{other}/"));

        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        ports.Set(key, (ushort)((IPEndPoint)taken.LocalEndpoint).Port, 1);
        Assert.Contains("failed to start healthcheck \"default/web\"", Assert.Single(reports), StringComparison.Ordinal);
    }

    private HttpAnswer Ask(ProxyHealth health, string path) => health.Answer(path, _metrics) ?? throw new InvalidOperationException("no answer");
}
