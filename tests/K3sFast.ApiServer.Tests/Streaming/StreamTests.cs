using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.ApiServer.Tests;

public sealed class StreamTests(TestServer server)
{
    [Fact]
    public async Task Log_OfAPod_ComesFromItsKubelet()
    {
        await using var kubelet = new FakeKubelet(server.Certificates, static async (_, stream) =>
            await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nline 1\nline 2\n"u8.ToArray()));
        var path = await PodAsync(kubelet.Port);
        var log = await server.GetAsync($"{path}/log?tailLines=2&timestamps=true&follow=false");
        Assert.Equal((200, "line 1\nline 2\n", "text/plain"), (log.Code, log.Text, log.ContentType));
        Assert.StartsWith("GET /containerLogs/", kubelet.Requests[0]);
        Assert.EndsWith("/p/c?timestamps=true&tailLines=2 HTTP/1.1", kubelet.Requests[0]);
        Assert.Contains("CN=system:apiserver", kubelet.ClientName);
    }

    [Fact]
    public async Task Log_ThatTheKubeletRefuses_KeepsItsWords()
    {
        await using var kubelet = new FakeKubelet(server.Certificates, static async (_, stream) =>
            await stream.WriteAsync("HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nwaiting"u8.ToArray()));
        var log = await server.GetAsync($"{await PodAsync(kubelet.Port)}/log");
        Assert.Equal((400, "BadRequest", "waiting"), (log.Code, log.Reason, log.Message));
    }

    [Fact]
    public async Task Log_OfAnotherContainer_IsNotValid()
    {
        var log = await server.GetAsync($"{await PodAsync(1)}/log?container=x");
        Assert.Equal((400, "container x is not valid for pod p"), (log.Code, log.Message));
    }

    [Fact]
    public async Task Log_OfADeadKubelet_SaysSo()
    {
        var log = await server.GetAsync($"{await PodAsync(1)}/log");
        Assert.Equal((500, ""), (log.Code, log.Reason));
        Assert.EndsWith("dial tcp 127.0.0.1:1: connect: connection refused", log.Message);
    }

    [Fact]
    public async Task Exec_WithoutUpgrade_IsABadRequest()
    {
        var answer = await server.SendAsync(HttpMethod.Post, $"{await PodAsync(1)}/exec?command=sh&stdout=true");
        Assert.Equal((400, "Upgrade request required"), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Exec_Upgraded_CarriesBytesBothWaysAndTheAnswerAfterTheClientsEnd()
    {
        await using var kubelet = new FakeKubelet(server.Certificates, static async (_, stream) =>
        {
            await stream.WriteAsync("HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\nhello "u8.ToArray());
            var buffer = new byte[64];
            var read = await stream.ReadAsync(buffer);
            await stream.WriteAsync(buffer.AsMemory(0, read));
            await stream.FlushAsync();
        });
        var path = await PodAsync(kubelet.Port);
        using var tcp = new TcpClient();
        await tcp.ConnectAsync("127.0.0.1", server.Server.Port, TestContext.Current.CancellationToken);
        await using var tls = new SslStream(tcp.GetStream(), false, static (_, _, _, _) => true);
        await tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "localhost", ClientCertificates = [server.Certificates.Client("root", "system:masters")] },
            TestContext.Current.CancellationToken);
        await tls.WriteAsync(Encoding.ASCII.GetBytes(
            $"POST {path}/exec?command=sh&command=-c&stdin=true&stdout=true&tty=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"),
            TestContext.Current.CancellationToken);
        var text = "";
        var buffer = new byte[1024];
        while (!text.EndsWith("hello ", StringComparison.Ordinal))
            text += Encoding.ASCII.GetString(buffer, 0, await ReadAsync(tls, buffer));
        Assert.StartsWith("HTTP/1.1 101 Switching Protocols\r\n", text);
        Assert.Contains("X-Stream-Protocol-Version: v4.channel.k8s.io\r\n", text);
        await tls.WriteAsync("world"u8.ToArray(), TestContext.Current.CancellationToken);
        var echo = "";
        while (echo.Length < 5)
            echo += Encoding.ASCII.GetString(buffer, 0, await ReadAsync(tls, buffer));
        Assert.Equal("world", echo);
        Assert.Equal(0, await tls.ReadAsync(buffer, TestContext.Current.CancellationToken));
        Assert.EndsWith("/p/c?input=1&output=1&tty=1&command=sh&command=-c HTTP/1.1", kubelet.Requests[0]);
    }

    private static async Task<int> ReadAsync(SslStream stream, byte[] buffer)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(90));
        var read = await stream.ReadAsync(buffer, limit.Token);
        Assert.True(read > 0, "the connection ended");
        return read;
    }

    // A pod on a node whose kubelet listens there.
    private async Task<string> PodAsync(int kubeletPort)
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync("/api/v1/nodes",
            $$$"""{"metadata":{"name":"node-{{{ns}}}"},"status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":{{{kubeletPort}}} } } } }""");
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods",
            $$$"""{"metadata":{"name":"p"},"spec":{"nodeName":"node-{{{ns}}}","containers":[{"name":"c","image":"i"}]}}""");
        return $"/api/v1/namespaces/{ns}/pods/p";
    }
}
