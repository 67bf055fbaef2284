using System.Text;
using System.Text.Json.Nodes;
using K3sFast.Client;
using K3sFast.Hostile;

namespace K3sFast.ApiServer.Tests.Requests;

/// <summary>
/// Requests that are made to hurt, through the whole pipeline: each is refused with the code and reason that it deserves, and allocates little on the way.
/// What they take in time is measured by the benchmarks' hostile command; here it only must not be quadratic, which nobody would wait for.
/// </summary>
public sealed class HostileRequestTests : IAsyncLifetime
{
    private const long MaxBytes = 32L * 1024 * 1024;

    // The YAML parser makes an object of every token and lets go of it at once.
    private const long MaxBytesOfYaml = 256L * 1024 * 1024;

    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);

    private OwnServer _server = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await OwnServer.StartAsync();
        foreach (var (path, body) in HostileBodies.Targets)
            await _server.CreateAsync(path, body);
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task Attacks_AreRefused_AndAllocateLittle()
    {
        foreach (var attack in HostileBodies.All)
        {
            var body = attack.Body();
            // The first time pays for what is loaded only once, and any other for pooled buffers that the collector has just taken away.
            await SendAsync(attack, body);
            var most = attack.IsYaml ? MaxBytesOfYaml : MaxBytes;
            var (answer, bytes) = await SendAsync(attack, body);
            for (var attempt = 1; attempt < 4 && bytes >= most; attempt++)
                (answer, bytes) = await SendAsync(attack, body);
            var text = Encoding.UTF8.GetString(answer.Body.Span[..Math.Min(answer.Body.Length, 500)]);
            Assert.True(attack.Code == answer.StatusCode, $"{attack.Name}: {text}");
            Assert.Equal(attack.Reason, (string?)JsonNode.Parse(answer.Body.Span)!["reason"] ?? "");
            Assert.True(bytes < most, $"{attack.Name}: {bytes} bytes allocated");
        }
    }

    [Theory]
    [InlineData("application/json", "{\"a\":", "}")]
    [InlineData("application/json", "[", "]")]
    [InlineData("application/yaml", "[", "]")]
    public async Task FreeData_NestedNearlyToTheLimit_IsKeptAndGivenBack(string contentType, string open, string close)
    {
        const int Depth = 4_900;
        var data = "{\"d\":" + Repeat(open, Depth) + "1" + Repeat(close, Depth) + "}";
        var path = $"/apis/apps/v1/namespaces/{HostileBodies.Namespace}/controllerrevisions";
        await _server.SendAsync("DELETE", $"{path}/deep", "");
        var created = await SendAsync("POST", path, "{\"metadata\":{\"name\":\"deep\"},\"revision\":1,\"data\":" + data + "}", contentType);
        Assert.Equal(201, created.StatusCode);
        foreach (var (method, body, type) in new[]
        {
            ("GET", "", "application/json"),
            ("PATCH", """{"revision":2}""", "application/merge-patch+json"),
            ("PATCH", """[{"op":"replace","path":"/revision","value":3}]""", "application/json-patch+json"),
            ("PATCH", """{"revision":4}""", "application/strategic-merge-patch+json"),
        })
        {
            var answer = await SendAsync(method, $"{path}/deep", body, type);
            Assert.Equal(200, answer.StatusCode);
            Assert.Contains(data, Encoding.UTF8.GetString(answer.Body.Span), StringComparison.Ordinal);
        }
        Assert.Equal(200, (await SendAsync("DELETE", $"{path}/deep", "", "application/json")).StatusCode);
    }

    [Fact]
    public async Task UnknownField_NestedTenThousandDeep_IsDroppedAndOneMoreIsRefused()
    {
        var path = $"/api/v1/namespaces/{HostileBodies.Namespace}/configmaps?dryRun=All";
        var fits = await SendAsync("POST", path, "{\"metadata\":{\"name\":\"deep\"},\"x\":" + Repeat("[", 9_999) + Repeat("]", 9_999) + "}", "application/json");
        Assert.Equal(201, fits.StatusCode);
        var isTooDeep = await SendAsync("POST", path, "{\"metadata\":{\"name\":\"deep\"},\"x\":" + Repeat("[", 10_000) + Repeat("]", 10_000) + "}", "application/json");
        Assert.Equal(400, isTooDeep.StatusCode);
        Assert.Contains("exceeded max depth", Encoding.UTF8.GetString(isTooDeep.Body.Span), StringComparison.Ordinal);
    }

    private async Task<(ApiResponse Answer, long Bytes)> SendAsync(HostileBody attack, byte[] body)
    {
        var transport = _server.Server.InProcess(UserInfo.Admin);
        // A request that is refused before it comes to the store is answered without leaving this thread.
        var bytes = GC.GetAllocatedBytesForCurrentThread();
        var sending = transport.SendAsync(new ApiRequest(attack.Method, attack.Path) { Body = body, ContentType = attack.ContentType }, TestContext.Current.CancellationToken);
        Assert.True(sending.IsCompleted, $"{attack.Name}: not answered at once");
        bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
        return (await sending, bytes);
    }

    private async Task<ApiResponse> SendAsync(string method, string path, string body, string contentType)
    {
        var transport = _server.Server.InProcess(UserInfo.Admin);
        return await transport.SendAsync(new ApiRequest(method, path) { Body = Encoding.UTF8.GetBytes(body), ContentType = contentType }, TestContext.Current.CancellationToken)
            .AsTask().WaitAsync(s_patience, TestContext.Current.CancellationToken);
    }

    private static string Repeat(string text, int count) => new StringBuilder(text.Length * count).Insert(0, text, count).ToString();
}
