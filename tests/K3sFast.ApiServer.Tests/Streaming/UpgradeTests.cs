namespace K3sFast.ApiServer.Tests;

/// <summary>Upgrades through the server: who may, what the backend's answer becomes, and that nothing stays open.</summary>
public sealed class UpgradeTests(TestServer server)
{
    private const string WebSocket =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n";

    [Theory]
    [InlineData("exec?command=sh&command=-c&stdin=true&stdout=1&stderr=true&tty=false", "/exec/{0}/p/c?input=1&output=1&error=1&command=sh&command=-c")]
    [InlineData("attach?stdout=true", "/attach/{0}/p/c?output=1")]
    [InlineData("portforward?ports=80,81&ports=82", "/portForward/{0}/p?port=80%2C81%2C82")]
    public async Task Stream_ByWebSocket_ReachesTheKubeletAsAsked(string asked, string seen)
    {
        await using var kubelet = Echo();
        var (path, ns) = await PodAsync(kubelet);
        await using var client = await RawConnection.OpenAsync(server);
        await client.WriteAsync($"GET {path}/{asked} HTTP/1.1\r\nHost: me\r\nAuthorization: Basic x\r\n{WebSocket}\r\n");
        var head = await client.ReadUntilAsync("\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 101 ", head);
        Assert.Contains("Sec-WebSocket-Accept: yes", head);
        await client.WriteAsync("ping");
        Assert.Equal("ping", await client.ReadAsync(4));
        var request = kubelet.Requests.Single();
        Assert.Equal($"GET {string.Format(System.Globalization.CultureInfo.InvariantCulture, seen, ns)} HTTP/1.1", request.Line);
        Assert.Equal(("v5.channel.k8s.io, v4.channel.k8s.io", "", "127.0.0.1"), (request.Header("Sec-WebSocket-Protocol"), request.Header("Authorization"), request.Header("X-Forwarded-For")));
        Assert.Contains("CN=system:apiserver", kubelet.Clients.Single());
    }

    [Theory]
    [InlineData("exec", "GET")]
    [InlineData("attach", "GET")]
    [InlineData("portforward", "GET")]
    public async Task Stream_ByGet_NeedsTheRightToCreate(string subresource, string method)
    {
        await using var kubelet = Echo();
        var (path, _) = await PodAsync(kubelet);
        var reader = await server.UserNamedAsync("get", $"pods/{subresource}");
        await using (var client = await RawConnection.OpenAsync(server, server.Certificates.Client(reader)))
        {
            await client.WriteAsync($"{method} {path}/{subresource}?command=sh&stdout=true HTTP/1.1\r\nHost: me\r\n{WebSocket}\r\n");
            var head = await client.ReadUntilAsync("\r\n\r\n");
            Assert.StartsWith("HTTP/1.1 403 ", head);
            var status = await client.ReadUntilAsync("\"code\":403}");
            Assert.Contains("pods \\\"p\\\" is forbidden", status);
        }
        Assert.Empty(kubelet.Requests);
        var writer = await server.UserNamedAsync("get,create", $"pods/{subresource}");
        await using var allowed = await RawConnection.OpenAsync(server, server.Certificates.Client(writer));
        await allowed.WriteAsync($"{method} {path}/{subresource}?command=sh&stdout=true HTTP/1.1\r\nHost: me\r\n{WebSocket}\r\n");
        Assert.StartsWith("HTTP/1.1 101 ", await allowed.ReadUntilAsync("\r\n\r\n"));
    }

    [Theory]
    [InlineData("HTTP/1.1 404 Not Found\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\ngone", 404, "gone")]
    [InlineData("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n3\r\nnay\r\n0\r\n\r\n", 403, "nonay")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", 500, "invalid upgrade response: status code 200")]
    [InlineData("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", 500, "invalid upgrade response: status code 302")]
    [InlineData("SSH-2.0-x\r\n\r\n", 500, "malformed HTTP response")]
    public async Task Refusal_OfTheKubelet_IsTheClientsAndBothConnectionsEnd(string answer, int code, string text)
    {
        await using var kubelet = new ScriptedBackend(async request =>
        {
            await request.WriteAsync(answer);
            // Only the server can end this.
            Assert.Equal(0, await request.Wire.ReadAsync(new byte[1]));
        }, server.Certificates.Serving);
        var (path, _) = await PodAsync(kubelet);
        await using var client = await RawConnection.OpenAsync(server);
        await client.WriteAsync($"POST {path}/exec?command=sh&stdout=true HTTP/1.1\r\nHost: me\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n");
        Assert.StartsWith($"HTTP/1.1 {code} ", await client.ReadUntilAsync("\r\n\r\n"));
        Assert.Contains(text, await client.ReadUntilAsync(text) + text);
        await kubelet.Closed.Task.WaitAsync(TimeSpan.FromSeconds(90), TestContext.Current.CancellationToken);
        if (code < 500)
            Assert.Matches("^(0\r\n\r\n|\r\n0\r\n\r\n)?$", await client.ReadToEndAsync());
    }

    [Fact]
    public async Task Client_ThatGoesAway_TakesTheKubeletsConnectionAlong()
    {
        await using var kubelet = Echo();
        var (path, _) = await PodAsync(kubelet);
        await using (var client = await RawConnection.OpenAsync(server))
        {
            await client.WriteAsync($"GET {path}/exec?command=sh&stdout=true HTTP/1.1\r\nHost: me\r\n{WebSocket}\r\n");
            await client.ReadUntilAsync("\r\n\r\n");
        }
        await kubelet.Closed.Task.WaitAsync(TimeSpan.FromSeconds(90), TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task DeadKubelet_IsToldAsADialThatFailed()
    {
        var node = await server.NodeAtAsync("127.0.0.1", 1);
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"p"},"spec":{"nodeName":"{{{node}}}","containers":[{"name":"c","image":"i"}]}}""");
        await using var client = await RawConnection.OpenAsync(server);
        await client.WriteAsync($"GET /api/v1/namespaces/{ns}/pods/p/exec?command=sh&stdout=true HTTP/1.1\r\nHost: me\r\n{WebSocket}\r\n");
        Assert.StartsWith("HTTP/1.1 500 ", await client.ReadUntilAsync("\r\n\r\n"));
        Assert.Contains("\"error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused\"", await client.ReadUntilAsync("\"code\":500}"));
    }

    [Fact]
    public async Task Proxy_Upgrade_CarriesAnyProtocolToThePod()
    {
        await using var pod = new ScriptedBackend(static async request =>
        {
            await request.WriteAsync("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mine/1\r\n\r\nhello");
            var buffer = new byte[5];
            await request.Wire.ReadExactlyAsync(buffer);
            await request.Wire.WriteAsync(buffer);
        });
        var path = await server.PodAtAsync(server.Backends.Add(pod.Port));
        await using var client = await RawConnection.OpenAsync(server);
        await client.WriteAsync($"GET {path}/proxy/chat?room=1 HTTP/1.1\r\nHost: me\r\nConnection: keep-alive, Upgrade\r\nUpgrade: mine/1\r\n\r\n");
        Assert.Contains("Upgrade: mine/1", await client.ReadUntilAsync("\r\n\r\n"));
        Assert.Equal("hello", await client.ReadAsync(5));
        await client.WriteAsync("world");
        Assert.Equal("world", await client.ReadToEndAsync());
        Assert.Equal("GET /chat?room=1 HTTP/1.1", pod.Requests.Single().Line);
    }

    [Fact]
    public async Task NodeProxy_Upgrade_NeedsTheRightToCreate()
    {
        await using var kubelet = new ScriptedBackend(static async request => await request.WriteAsync("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
        var node = await server.NodeAtAsync(server.Backends.Add(kubelet.Port), 10250);
        var ask = $"GET /api/v1/nodes/{node}:9100/proxy/exec/default/p/c?command=id HTTP/1.1\r\nHost: me\r\n{WebSocket}\r\n";
        var reader = await server.UserNamedAsync("get,list,watch", "nodes/proxy,nodes");
        await using (var client = await RawConnection.OpenAsync(server, server.Certificates.Client(reader)))
        {
            await client.WriteAsync(ask);
            Assert.StartsWith("HTTP/1.1 403 ", await client.ReadUntilAsync("\r\n\r\n"));
        }
        Assert.Empty(kubelet.Requests);
        var writer = await server.UserNamedAsync("get,create", "nodes/proxy");
        await using var allowed = await RawConnection.OpenAsync(server, server.Certificates.Client(writer));
        await allowed.WriteAsync(ask);
        Assert.StartsWith("HTTP/1.1 101 ", await allowed.ReadUntilAsync("\r\n\r\n"));
    }

    [Theory]
    [InlineData("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 403 ")]
    [InlineData("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 500 ")]
    public async Task Proxy_UpgradeThatThePodRefuses_LeavesNoPipeOpen(string answer, string told)
    {
        var ended = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var pod = new ScriptedBackend(async request =>
        {
            await request.WriteAsync(answer);
            ended.TrySetResult(await request.Wire.ReadAsync(new byte[64]));
        });
        var path = await server.PodAtAsync(server.Backends.Add(pod.Port));
        await using var client = await RawConnection.OpenAsync(server);
        // What is sent behind the head would reach the pod, or the next request, if the pipe stayed.
        await client.WriteAsync($"GET {path}/proxy/chat HTTP/1.1\r\nHost: me\r\n{WebSocket}\r\nGET /smuggled HTTP/1.1\r\nHost: me\r\n\r\n");
        Assert.StartsWith(told, await client.ReadToEndAsync());
        Assert.Equal(0, await ended.Task.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken));
        Assert.Single(pod.Requests);
    }

    [Theory]
    [InlineData("exec?command=sh&stdout=true&container=z", "container z is not valid for pod p")]
    [InlineData("exec?command=sh&stdout=true", "a container name must be specified for pod p, choose one of: [init a b]")]
    [InlineData("attach?stdout=true", "a container name must be specified for pod p, choose one of: [init a b]")]
    [InlineData("exec?command=sh&stdout=true&container=init", "pod p does not have a host assigned")]
    [InlineData("portforward?ports=80", "pod p does not have a host assigned")]
    [InlineData("portforward?ports=80,x", "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax")]
    [InlineData("portforward?ports=70000", "cannot convert to []int32: strconv.ParseUint: parsing \"70000\": value out of range")]
    [InlineData("exec?dryRun=All", "dryRun is not supported")]
    public async Task Stream_ThatCannotBe_IsABadRequestInUpstreamsWords(string asked, string message)
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods",
            """{"metadata":{"name":"p"},"spec":{"initContainers":[{"name":"init","image":"i"}],"containers":[{"name":"a","image":"i"},{"name":"b","image":"i"}]}}""");
        var answer = await server.SendAsync(HttpMethod.Post, $"/api/v1/namespaces/{ns}/pods/p/{asked}");
        Assert.Equal((400, "BadRequest", message), (answer.Code, answer.Reason, answer.Message));
    }

    [Theory]
    [InlineData("PUT")]
    [InlineData("HEAD")]
    [InlineData("DELETE")]
    public async Task Exec_ByOtherMethods_IsNotAllowed(string method)
    {
        using var answer = await server.Admin.SendAsync(new HttpRequestMessage(new HttpMethod(method), "/api/v1/namespaces/default/pods/p/exec?command=a"), TestContext.Current.CancellationToken);
        Assert.Equal(405, (int)answer.StatusCode);
    }

    private ScriptedBackend Echo() => new(static async request =>
    {
        await request.WriteAsync("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: yes\r\n\r\n");
        var buffer = new byte[64];
        while (await request.Wire.ReadAsync(buffer) is > 0 and var read)
            await request.Wire.WriteAsync(buffer.AsMemory(0, read));
    }, server.Certificates.Serving);

    private async Task<(string Path, string Namespace)> PodAsync(ScriptedBackend kubelet)
    {
        var node = await server.NodeAtAsync("127.0.0.1", kubelet.Port);
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", $$$"""{"metadata":{"name":"p"},"spec":{"nodeName":"{{{node}}}","containers":[{"name":"c","image":"i"}]}}""");
        return ($"/api/v1/namespaces/{ns}/pods/p", ns);
    }
}
