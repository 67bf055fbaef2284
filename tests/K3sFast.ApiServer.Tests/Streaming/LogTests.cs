using System.Net.WebSockets;
using System.Text;

namespace K3sFast.ApiServer.Tests;

public sealed class LogTests(TestServer server)
{
    [Theory]
    [InlineData("", "")]
    [InlineData("?follow=true&previous=1&timestamps=&tailLines=0&limitBytes=1", "?follow=true&previous=true&timestamps=true&tailLines=0&limitBytes=1")]
    [InlineData("?follow=false&previous=0", "")]
    [InlineData("?sinceSeconds=5", "?sinceSeconds=5")]
    [InlineData("?sinceTime=2026-01-02T03:04:05.5%2B02:00", "?sinceTime=2026-01-02T01%3A04%3A05Z")]
    public async Task Log_Options_ReachTheKubelet(string asked, string seen)
    {
        await using var kubelet = new ScriptedBackend(static async request => await request.AnswerAsync("line\n"), server.Certificates.Serving);
        var path = await PodAsync(kubelet.Port);
        var log = await server.GetAsync($"{path}/log{asked}");
        Assert.Equal((200, "line\n", "text/plain"), (log.Code, log.Text, log.ContentType));
        Assert.Matches($"^GET /containerLogs/[^/]+/p/c{System.Text.RegularExpressions.Regex.Escape(seen)} HTTP/1.1$", kubelet.Requests.Single().Line);
    }

    [Theory]
    [InlineData("?tailLines=-1&limitBytes=0&sinceSeconds=0", 422, "PodLogOptions \"p\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be greater than 0]")]
    [InlineData("?sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", 422, "PodLogOptions \"p\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")]
    [InlineData("?stream=Stdout", 422, "PodLogOptions \"p\" is invalid: stream: Forbidden: may not be specified")]
    [InlineData("?tailLines=x", 400, "strconv.ParseInt: parsing \"x\": invalid syntax")]
    [InlineData("?tailLines=", 400, "strconv.ParseInt: parsing \"\": invalid syntax")]
    [InlineData("?sinceTime=x", 400, "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"")]
    [InlineData("?container=z", 400, "container z is not valid for pod p")]
    public async Task Log_OptionThatIsWrong_IsRefusedInUpstreamsWords(string asked, int code, string message)
    {
        var answer = await server.GetAsync($"{await PodAsync(1)}/log{asked}");
        Assert.Equal((code, message), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Log_OfAPodWithoutNode_IsNoContent()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        var answer = await server.GetAsync($"/api/v1/namespaces/{ns}/pods/p/log");
        Assert.Equal((204, ""), (answer.Code, answer.Text));
    }

    [Theory]
    [InlineData("400 Bad Request", "waiting", 400, "BadRequest", "waiting")]
    [InlineData("500 Oops", "broken", 500, "InternalError", "Internal error occurred: broken")]
    [InlineData("404 Not Found", "none", 404, "NotFound", "the server could not find the requested resource ( pods/log p)")]
    [InlineData("403 Forbidden", "not you", 403, "Forbidden", "not you ( pods/log p)")]
    [InlineData("503 Later", "x", 503, "ServiceUnavailable", "the server is currently unable to handle the request ( pods/log p)")]
    [InlineData("502 Bad", "x", 502, "InternalError", "an error on the server (\"x\") has prevented the request from succeeding ( pods/log p)")]
    public async Task Log_ThatTheKubeletRefuses_IsAStatusOfItsCode(string status, string body, int code, string reason, string message)
    {
        await using var kubelet = new ScriptedBackend(async request => await request.AnswerAsync(body, status: status), server.Certificates.Serving);
        var answer = await server.GetAsync($"{await PodAsync(kubelet.Port)}/log");
        Assert.Equal((code, reason, message), (answer.Code, answer.Reason, answer.Message));
    }

    [Fact]
    public async Task Log_RedirectOfTheKubelet_IsNotFollowed()
    {
        await using var kubelet = new ScriptedBackend(static async request => await request.AnswerAsync("", "Location: http://169.254.169.254/\r\n", "302 Found"), server.Certificates.Serving);
        var answer = await server.GetAsync($"{await PodAsync(kubelet.Port)}/log");
        Assert.Equal((500, "Get \"http://169.254.169.254/\": redirects forbidden"), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Log_KubeletOfAStrangersAuthority_IsOnlyReadWhenToldNotToCheck()
    {
        await using var kubelet = new ScriptedBackend(static async request => await request.AnswerAsync("line\n"), new TestCertificates().Serving);
        var path = await PodAsync(kubelet.Port);
        var refused = await server.GetAsync($"{path}/log");
        Assert.Equal(500, refused.Code);
        Assert.Contains("tls: failed to verify certificate", refused.Message);
        Assert.Equal("line\n", (await server.GetAsync($"{path}/log?insecureSkipTLSVerifyBackend=true")).Text);
    }

    [Theory]
    [InlineData("binary.k8s.io", "one two")]
    [InlineData("base64.binary.k8s.io", "b25lIA==dHdv")]
    [InlineData("", "one two")]
    public async Task Log_ByWebSocket_ComesAsMessages(string protocol, string expected)
    {
        var isFirstSeen = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var kubelet = new ScriptedBackend(async request =>
        {
            await request.WriteAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none \r\n");
            await isFirstSeen.Task;
            await request.WriteAsync("3\r\ntwo\r\n0\r\n\r\n");
        }, server.Certificates.Serving);
        var path = await PodAsync(kubelet.Port);
        using var socket = new ClientWebSocket();
        socket.Options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        socket.Options.ClientCertificates.Add(server.Certificates.Client("root", "system:masters"));
        if (protocol.Length > 0)
            socket.Options.AddSubProtocol(protocol);
        await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{server.Server.Port}{path}/log?follow=true"), TestContext.Current.CancellationToken);
        Assert.Equal(protocol, socket.SubProtocol ?? "");
        var text = "";
        var messages = 0;
        var buffer = new byte[256];
        while (true)
        {
            var message = await socket.ReceiveAsync(buffer.AsMemory(), TestContext.Current.CancellationToken);
            if (message.MessageType == WebSocketMessageType.Close)
                break;
            // An empty message opens the stream.
            Assert.Equal(messages == 0, message.Count == 0);
            messages++;
            text += Encoding.ASCII.GetString(buffer, 0, message.Count);
            if (text.Length > 0)
                isFirstSeen.TrySetResult();
        }
        Assert.Equal(expected, text);
    }

    private async Task<string> PodAsync(int kubeletPort)
    {
        var node = await server.NodeAtAsync("127.0.0.1", kubeletPort);
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"p"},"spec":{"nodeName":"{{{node}}}","containers":[{"name":"c","image":"i"}]}}""");
        return $"/api/v1/namespaces/{ns}/pods/p";
    }
}
