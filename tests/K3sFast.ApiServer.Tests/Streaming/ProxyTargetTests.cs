namespace K3sFast.ApiServer.Tests;

/// <summary>Which backend a name leads to, and who may go there.</summary>
public sealed class ProxyTargetTests(TestServer server)
{
    [Fact]
    public async Task Service_ByPortNameOrNumber_ReachesAReadyEndpointThatIsAPod()
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync("web"));
        var ns = await ServiceAsync(server.Backends.Add(backend.Port), "p");
        foreach (var name in (string[])["s:web", "s:80", "http:s:web", "http:s:80"])
            Assert.Equal((200, "web"), await AskAsync(ns, name));
        Assert.Equal((503, "no service port 99 found for service \"s\""), await AskAsync(ns, "s:99"));
        Assert.Equal((503, "no endpoints available for service \"s:admin\""), await AskAsync(ns, "s:admin"));
        // Without a port only an unnamed one is meant.
        Assert.Equal((503, "no endpoints available for service \"s\""), await AskAsync(ns, "s"));
        Assert.Equal((404, "services \"nope\" not found"), await AskAsync(ns, "nope:80"));
        Assert.Equal((400, "invalid service request \"gopher:s:80\""), await AskAsync(ns, "gopher:s:80"));
    }

    [Fact]
    public async Task Service_WhoseEndpointIsNoPodsAddress_IsNotGoneTo()
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync("secret"));
        var ns = await ServiceAsync(server.Backends.Add(backend.Port), "p");
        await server.SetPodAddressAsync(ns, "p", "10.9.9.8");
        Assert.Equal((503, "no endpoints available for service \"s:web\""), await AskAsync(ns, "s:web"));
    }

    [Fact]
    public async Task Node_WithoutPort_IsItsKubeletWithOurCertificate()
    {
        await using var kubelet = new ScriptedBackend(static async request => await request.AnswerAsync(request.Line), server.Certificates.Serving);
        var node = await server.NodeAtAsync("localhost.test", 10250);
        // The address is a name: it is looked up, and not known.
        Assert.Equal(400, (await server.GetAsync($"/api/v1/nodes/{node}/proxy/x")).Code);
        var other = await server.NodeAtAsync("127.0.0.1", kubelet.Port);
        Assert.Equal("address not allowed", (await server.GetAsync($"/api/v1/nodes/{other}/proxy/x")).Message);
        Assert.Empty(kubelet.Requests);
    }

    [Fact]
    public async Task Node_OnAnotherPort_IsShownNoCertificate()
    {
        await using var listener = new ScriptedBackend(static async request => await request.AnswerAsync(request.Line), server.Certificates.Serving);
        var node = await server.NodeAtAsync(server.Backends.Add(listener.Port), 10250);
        Assert.Equal("GET /metrics?a=b HTTP/1.1", (await server.GetAsync($"/api/v1/nodes/https:{node}:9100/proxy/metrics?a=b")).Text);
        Assert.Equal("", listener.Clients.Single());
    }

    [Theory]
    [InlineData("GET", "get")]
    [InlineData("HEAD", "get")]
    [InlineData("POST", "create")]
    [InlineData("PUT", "update")]
    [InlineData("PATCH", "patch")]
    [InlineData("DELETE", "delete")]
    // It has no verb of its own.
    [InlineData("OPTIONS", "*")]
    public async Task Proxy_EachMethod_NeedsItsVerb(string method, string verb)
    {
        await using var backend = new ScriptedBackend(static async request => await request.WriteAsync("HTTP/1.1 204 No Content\r\n\r\n"));
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        var allowed = await server.UserAsync(verb, "pods/proxy");
        var others = await server.UserAsync(string.Join(',', new[] { "get", "create", "update", "patch", "delete" }.Where(other => other != verb)), "pods/proxy,pods");
        Assert.Equal(204, await CodeAsync(allowed, method, $"{path}/proxy/x"));
        Assert.Equal(403, await CodeAsync(others, method, $"{path}/proxy/x"));
        Assert.Single(backend.Requests);
    }

    // Every way of writing a path is judged as what it means; none reaches the backend with the right for the pod alone.
    [Theory]
    [InlineData("/api/v1/namespaces/{0}/pods/p%2Fproxy/x")]
    [InlineData("/api/v1/namespaces/{0}/pods/p/proxy%2Fx")]
    [InlineData("/api/v1/namespaces/{0}/pods/p/status/../proxy/x")]
    [InlineData("/api/v1/namespaces/{0}/pods/p/./proxy/x")]
    [InlineData("/api/v1/namespaces/{0}/pods/p//proxy/x")]
    [InlineData("//api/v1/namespaces/{0}/pods/p/proxy/x")]
    [InlineData("/api/v1//namespaces/{0}/pods/p/proxy/x")]
    [InlineData("/api/v1/namespaces/{0}/pods/p/Proxy/x")]
    [InlineData("/api/v1/namespaces/{0}/PODS/p/proxy/x")]
    [InlineData("/API/v1/namespaces/{0}/pods/p/proxy/x")]
    [InlineData("/api/v1/proxy/namespaces/{0}/pods/p/x")]
    [InlineData("/api/v1/watch/namespaces/{0}/pods/p/proxy/x")]
    [InlineData("/api/v1/namespaces/{0}/pods/p/proxy;a=b/x")]
    [InlineData("/api/v1/namespaces/{0}/pods/p/%70roxy/x")]
    public async Task Proxy_PathTricks_DoNotPassTheAuthorizer(string path)
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync("secret"));
        var ns = (await server.PodAtAsync(server.Backends.Add(backend.Port))).Split('/')[4];
        var user = await server.UserNamedAsync("*", "pods,pods/status,pods/log");
        await using var raw = await RawConnection.OpenAsync(server, server.Certificates.Client(user));
        await raw.WriteAsync($"GET {string.Format(System.Globalization.CultureInfo.InvariantCulture, path, ns)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.Matches("^HTTP/1.1 (403|404|400|405) ", await raw.ReadToEndAsync());
        Assert.Empty(backend.Requests);
    }

    private async Task<(int Code, string Text)> AskAsync(string ns, string name)
    {
        var answer = await server.GetAsync($"/api/v1/namespaces/{ns}/services/{name}/proxy/x");
        return (answer.Code, answer.Code == 200 ? answer.Text : answer.Message);
    }

    private static async Task<int> CodeAsync(HttpClient client, string method, string path)
    {
        using var answer = await client.SendAsync(new HttpRequestMessage(new HttpMethod(method), path), TestContext.Current.CancellationToken);
        return (int)answer.StatusCode;
    }

    // A Service with a named port whose one endpoint refers to that pod.
    private async Task<string> ServiceAsync(string address, string pod)
    {
        var ns = (await server.PodAtAsync(address)).Split('/')[4];
        await server.CreateAsync($"/api/v1/namespaces/{ns}/services",
            """{"metadata":{"name":"s"},"spec":{"ports":[{"name":"web","port":80,"targetPort":8080},{"name":"admin","port":81}]}}""");
        await server.CreateAsync($"/api/v1/namespaces/{ns}/endpoints", $$$"""
            {"metadata":{"name":"s"},"subsets":[{"addresses":[{"ip":"{{{address}}}","targetRef":{"kind":"Pod","namespace":"{{{ns}}}","name":"{{{pod}}}"}}],
             "notReadyAddresses":[{"ip":"10.9.9.7"}],"ports":[{"name":"web","port":8080}]}]}
            """);
        return ns;
    }
}
