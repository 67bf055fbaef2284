using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.Client.Tests.Http;

public sealed class HttpPortTests : IDisposable
{
    private readonly CancellationTokenSource _stop = new(TimeSpan.FromSeconds(60));
    private readonly HttpPort _port = HttpPort.Open(new IPEndPoint(IPAddress.Loopback, 0), static path => path == "/health" ? HttpAnswer.Text(200, "OK") : HttpAnswer.NotFound);

    public void Dispose()
    {
        _port.Dispose();
        _stop.Dispose();
    }

    [Theory]
    [InlineData("GET /health HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "OK")]
    [InlineData("GET /health?verbose HTTP/1.0\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK", "OK")]
    [InlineData("HEAD /health HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "")]
    [InlineData("GET /other HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found", "404 page not found\n")]
    [InlineData("\u0016\u0003\u0001 TLS\r\n\r\n", "HTTP/1.1 400 Bad Request", "Bad Request")]
    public async Task Request_IsAnswered_AndTheConnectionEnds(string request, string line, string body)
    {
        var answer = await AskAsync(Encoding.Latin1.GetBytes(request));
        Assert.StartsWith(line + "\r\n", answer, StringComparison.Ordinal);
        Assert.EndsWith("\r\n\r\n" + body, answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_LongerThanAnybodys_IsRefused() =>
        Assert.StartsWith("HTTP/1.1 400 ", await AskAsync(Encoding.ASCII.GetBytes("GET /" + new string('x', 8187))), StringComparison.Ordinal);

    [Fact]
    public void Address_InUse_IsAnError() => Assert.Throws<SocketException>(() => HttpPort.Open(_port.Address, static _ => HttpAnswer.NotFound));

    [Fact]
    public async Task ManyAtOnce_MoreThanConnectionsAreServed_AllAreAnswered()
    {
        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(_ => AskAsync("GET /health HTTP/1.1\r\n\r\n"u8.ToArray())));
        Assert.All(answers, static answer => Assert.EndsWith("\r\n\r\nOK", answer, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("GET /healthz HTTP/1.1\r\n\r\n", "GET", "/healthz")]
    [InlineData("HEAD /healthz?a=b HTTP/1.0\r\nHost: x\r\n\r\n", "HEAD", "/healthz")]
    [InlineData("GET healthz HTTP/1.1\r\n\r\n", "", "")]
    [InlineData("\r\n\r\n", "", "")]
    [InlineData(" / HTTP/1.1\r\n\r\n", "", "")]
    [InlineData("\u0016\u0003\u0001 TLS\r\n\r\n", "", "")]
    public void ParseLine_Request_IsReadOrRefused(string request, string method, string path) => Assert.Equal((method, path), HttpPort.ParseLine(Encoding.Latin1.GetBytes(request)));

    [Fact]
    public void ParseLine_MutatedRequests_NeverThrows()
    {
        var random = new Random(7);
        for (var round = 0; round < 20_000; round++)
        {
            var request = "GET /healthz?a=b HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray();
            for (var i = random.Next(1, 6); i > 0; i--) request[random.Next(request.Length)] = (byte)random.Next(256);
            HttpPort.ParseLine(request.AsSpan(random.Next(request.Length)));
        }
    }

    [Fact]
    public void Metrics_AreInPrometheusForm()
    {
        var registry = new MetricRegistry();
        registry.Counter("some_total", "What it counts.").Add(3);
        var answer = HttpAnswer.Metrics(registry);
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", answer.ContentType);
        Assert.Contains("# TYPE some_total counter\nsome_total 3\n", Encoding.UTF8.GetString(answer.Body.Span), StringComparison.Ordinal);
    }

    private async Task<string> AskAsync(byte[] request)
    {
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(_port.Address, _stop.Token);
        await client.SendAsync(request, SocketFlags.None, _stop.Token);
        var answer = new MemoryStream();
        var buffer = new byte[1024];
        while (await client.ReceiveAsync(buffer, SocketFlags.None, _stop.Token) is > 0 and var read) answer.Write(buffer, 0, read);
        return Encoding.ASCII.GetString(answer.ToArray());
    }
}
