using System.IO.Compression;
using System.Net;
using System.Text;
using K3sFast.Tests.Ports;

namespace K3sFast.ApiServer.Tests;

public sealed class ProxyTests(TestServer server)
{
    [Theory]
    [InlineData("GET")]
    [InlineData("POST")]
    [InlineData("PUT")]
    [InlineData("PATCH")]
    [InlineData("DELETE")]
    [InlineData("OPTIONS")]
    public async Task Proxy_EachMethod_ReachesThePodWithPathQueryAndBody(string method)
    {
        await using var backend = new ScriptedBackend(static async request =>
            await request.AnswerAsync($"{request.Line} {(request.Header("Content-Length").Length > 0 ? await request.BodyAsync() : "")}", "Content-Type: text/x\r\nX-A: b\r\n", "203 Yes"));
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        var answer = await server.SendAsync(new HttpMethod(method), $"{path}/proxy/a/b?c=d&e=%2F", method is "GET" or "OPTIONS" ? null : "body");
        Assert.Equal((203, $"{method} /a/b?c=d&e=%2F HTTP/1.1 {(method is "GET" or "OPTIONS" ? "" : "body")}", "text/x"), (answer.Code, answer.Text, answer.ContentType));
    }

    [Fact]
    public async Task Proxy_Head_HasTheLengthAndNoBody()
    {
        await using var backend = new ScriptedBackend(static async request => await request.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"));
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        using var answer = await server.Admin.SendAsync(new HttpRequestMessage(HttpMethod.Head, $"{path}/proxy/x"), TestContext.Current.CancellationToken);
        Assert.Equal((HttpStatusCode.OK, 77), (answer.StatusCode, answer.Content.Headers.ContentLength));
    }

    [Theory]
    [InlineData("TRACE", 405)]
    [InlineData("CONNECT2", 405)]
    public async Task Proxy_OtherMethods_AreNotAllowed(string method, int code) =>
        Assert.Equal(code, (await server.SendAsync(new HttpMethod(method), $"{await server.PodAtAsync("10.9.9.9")}/proxy/x")).Code);

    [Theory]
    [InlineData("", 301, "/proxy/")]
    [InlineData("?a=b", 301, "/proxy/?a=b")]
    public async Task Proxy_WithoutTrailingSlash_RedirectsToIt(string query, int code, string location)
    {
        var path = await server.PodAtAsync("10.9.9.9");
        using var client = NoRedirects();
        using var answer = await client.GetAsync(new Uri($"{path}/proxy{query}", UriKind.Relative), TestContext.Current.CancellationToken);
        Assert.Equal((code, path + location), ((int)answer.StatusCode, answer.Headers.Location!.ToString()));
    }

    [Theory]
    [InlineData("/proxy/", "/")]
    [InlineData("/proxy/a//b/", "/a/b/")]
    [InlineData("/proxy/a/../../../b", "/b")]
    [InlineData("/proxy/a%2Fb%20c", "/a/b%20c")]
    [InlineData("/proxy/%2e%2e/%2e%2e/x", "/x")]
    [InlineData("/proxy/%252e%252e/x", "/%252e%252e/x")]
    [InlineData("/proxy/x(1)!;v=2,3", "/x%281%29%21;v=2,3")]
    [InlineData("/proxy/\u00e4%3Fq", "/%C3%A4%3Fq")]
    public async Task Proxy_Path_IsResolvedAtItsOwnRootAndEscapedAgain(string behind, string seen)
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync(request.Line));
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        await using var raw = await RawConnection.OpenAsync(server);
        await raw.WriteAsync($"GET {path}{behind.Replace("\u00e4", "%C3%A4", StringComparison.Ordinal)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.EndsWith($"GET {seen} HTTP/1.1", await raw.ReadToEndAsync());
    }

    [Fact]
    public async Task Proxy_Headers_PassWithoutIdentityAndHopByHop()
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync(
            "x", "Content-Type: text/plain\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 1\r\nAccess-Control-Allow-Origin: *\r\nCache-Control: max-age=5\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"));
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        await using var raw = await RawConnection.OpenAsync(server);
        await raw.WriteAsync(
            $"GET {path}/proxy/x HTTP/1.1\r\nHost: me:1\r\nAuthorization: Bearer no\r\nX-Remote-User: u\r\nConnection: X-Mine\r\nX-Mine: 1\r\n"
            + "TE: trailers, gzip\r\nX-Forwarded-For: 192.0.2.7\r\nCookie: c=d\r\nUser-Agent: me\r\n\r\n");
        var answer = await raw.ReadUntilAsync("\r\n\r\nx") + "\r\n";
        var seen = backend.Requests.Single();
        Assert.Equal(("me:1", "", "", "", "trailers", "192.0.2.7, 127.0.0.1", "c=d", "me"), (
            seen.Header("Host"), seen.Header("Authorization"), seen.Header("X-Remote-User"), seen.Header("X-Mine"), seen.Header("TE"), seen.Header("X-Forwarded-For"),
            seen.Header("Cookie"), seen.Header("User-Agent")));
        Assert.Equal($"{path}/proxy/x", seen.Header("X-Forwarded-Uri"));
        Assert.DoesNotContain("Keep-Alive: 1", answer);
        Assert.DoesNotContain("X-Hop", answer);
        Assert.DoesNotContain("Access-Control", answer);
        Assert.Contains("no-cache, private", answer);
        Assert.Contains("max-age=5", answer);
        Assert.Contains("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", answer);
    }

    [Fact]
    public async Task Proxy_Impersonated_DoesNotTellThePodWhoAsks()
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync("x"));
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        using var request = new HttpRequestMessage(HttpMethod.Get, $"{path}/proxy/x");
        request.Headers.Add("Impersonate-User", "root2");
        request.Headers.Add("Impersonate-Group", "system:masters");
        using var answer = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.DoesNotContain("Impersonate", backend.Requests.Single().Head);
    }

    [Fact]
    public async Task Proxy_Bodies_StreamBothWaysPieceByPiece()
    {
        await using var backend = new ScriptedBackend(static async request =>
        {
            if (request.Line.StartsWith("POST", StringComparison.Ordinal))
            {
                var all = new StringBuilder();
                while (await request.ChunkAsync() is { } chunk)
                    all.Append('[').Append(chunk).Append(']');
                await request.AnswerAsync(all.ToString());
                return;
            }
            await request.WriteAsync("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            // The rest only once the client has seen the first piece: it asks on the second connection.
            await s_seen.Task;
            await request.WriteAsync("3\r\ntwo\r\n0\r\n\r\n");
        });
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        using var answer = await server.Admin.GetAsync(new Uri($"{path}/proxy/down", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        await using var body = await answer.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
        var buffer = new byte[16];
        Assert.Equal("one", Encoding.ASCII.GetString(buffer, 0, await body.ReadAsync(buffer, TestContext.Current.CancellationToken)));
        s_seen.SetResult();
        Assert.Equal("two", await new StreamReader(body).ReadToEndAsync(TestContext.Current.CancellationToken));

        await using var raw = await RawConnection.OpenAsync(server);
        await raw.WriteAsync($"POST {path}/proxy/up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nfour\r\n");
        for (var tries = 0; backend.Requests.Count < 2; tries++)
        {
            Assert.True(tries < 500, "the head did not go on before the body's end");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
        await raw.WriteAsync("4\r\nfive\r\n0\r\n\r\n");
        var text = await raw.ReadToEndAsync();
        Assert.Contains("four", text);
        Assert.Contains("five]", text);
    }

    private static readonly TaskCompletionSource s_seen = new(TaskCreationOptions.RunContinuationsAsynchronously);

    [Fact]
    public async Task Proxy_BackendThatBreaksOff_DoesNotLookWhole()
    {
        await using var backend = new ScriptedBackend(static async request =>
        {
            await request.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
            throw new IOException("the pod died");
        });
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        await Assert.ThrowsAsync<HttpRequestException>(() => server.GetAsync($"{path}/proxy/x"));
    }

    [Theory]
    [InlineData("/t?x=1", "/proxy/t?x=1")]
    [InlineData("http://me:1/t", "http://me:1{0}/proxy/t")]
    [InlineData("http://BACKEND/t/", "/proxy/t/")]
    [InlineData("https://elsewhere/t", "https://elsewhere/t")]
    [InlineData("t", "t")]
    public async Task Proxy_Redirect_LeadsThroughTheProxy(string location, string expected)
    {
        var address = "";
        await using var backend = new ScriptedBackend(async request => await request.AnswerAsync(
            "", $"Location: {location.Replace("BACKEND", address + ":8080", StringComparison.Ordinal)}\r\n", "302 Found"));
        address = server.Backends.Add(backend.Port);
        var path = await server.PodAtAsync(address);
        await using var raw = await RawConnection.OpenAsync(server);
        await raw.WriteAsync($"GET {path[..^1]}p:8080/proxy/x HTTP/1.1\r\nHost: me:1\r\nConnection: close\r\n\r\n");
        var answer = await raw.ReadToEndAsync();
        var prefix = path + ":8080";
        var wanted = expected.StartsWith("/proxy", StringComparison.Ordinal) ? prefix + expected : expected.Replace("{0}", prefix, StringComparison.Ordinal);
        Assert.Contains($"\r\nLocation: {wanted}\r\n", answer);
        Assert.StartsWith("HTTP/1.1 302", answer);
    }

    [Theory]
    [InlineData("")]
    [InlineData("gzip")]
    [InlineData("deflate")]
    public async Task Proxy_Page_HasItsLinksRewritten(string encoding)
    {
        await using var backend = new ScriptedBackend(async request =>
        {
            var page = Encode(encoding, "<a href=/x>x</a><img src=\"rel.png\">");
            await request.WriteAsync($"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n{(encoding.Length > 0 ? $"Content-Encoding: {encoding}\r\n" : "")}Content-Length: {page.Length}\r\n\r\n");
            await request.Wire.WriteAsync(page);
        });
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        Assert.Equal($"<a href=\"{path}/proxy/x\">x</a><img src=\"rel.png\">", (await server.GetAsync($"{path}/proxy/page")).Text);
    }

    [Theory]
    [InlineData("p:9")]
    [InlineData("http:p:9")]
    public async Task Proxy_DeadPod_IsUnavailableWithTheReason(string name)
    {
        using var dead = new LoopbackPort();
        var address = server.Backends.Add(dead.Number);
        var path = await server.PodAtAsync(address);
        var answer = await server.GetAsync($"{path[..^1]}{name}/proxy/x");
        Assert.Equal((503, "ServiceUnavailable", $"error trying to reach service: dial tcp {address}:9: connect: connection refused"), (answer.Code, answer.Reason, answer.Message));
    }

    [Fact]
    public async Task Proxy_Https_SpeaksTlsAndShowsNoCertificateOfOurs()
    {
        await using var backend = new ScriptedBackend(static async request => await request.AnswerAsync("secure"), server.Certificates.Serving);
        var path = await server.PodAtAsync(server.Backends.Add(backend.Port));
        Assert.Equal("secure", (await server.GetAsync($"{path[..^1]}https:p:/proxy/x")).Text);
        Assert.Equal("", backend.Clients.Single());
        await using var plain = new ScriptedBackend(static async request => await request.AnswerAsync("plain"));
        var other = await server.PodAtAsync(server.Backends.Add(plain.Port));
        Assert.StartsWith("error trying to reach service: ", (await server.GetAsync($"{other[..^1]}https:p:/proxy/x")).Message);
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("127.9.9.9")]
    [InlineData("169.254.169.254")]
    [InlineData("0.0.0.0")]
    [InlineData("224.0.0.1")]
    [InlineData("255.255.255.255")]
    [InlineData("::1")]
    [InlineData("fe80::1")]
    [InlineData("ff02::1")]
    public async Task Proxy_AddressOfOurOwn_IsNotAllowed(string address)
    {
        Assert.False(ProxyTargets.IsProxyable(IPAddress.Parse(address)));
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/api/v1/namespaces/{ns}/pods", """{"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        await server.SetPodAddressAsync(ns, "p", address);
        var answer = await server.GetAsync($"/api/v1/namespaces/{ns}/pods/p/proxy/x");
        Assert.Equal((400, "BadRequest", "address not allowed"), (answer.Code, answer.Reason, answer.Message));
    }

    [Theory]
    [InlineData("ftp:p:80", "invalid pod request \"ftp:p:80\"")]
    [InlineData("a:b:c:d", "invalid pod request \"a:b:c:d\"")]
    [InlineData(":80", "invalid pod request \":80\"")]
    public async Task Proxy_NameOfNoForm_IsABadRequest(string name, string message)
    {
        var answer = await server.GetAsync($"/api/v1/namespaces/default/pods/{name}/proxy/x");
        Assert.Equal((400, message), (answer.Code, answer.Message));
    }

    [Fact]
    public async Task Proxy_DryRun_IsRefused()
    {
        var answer = await server.SendAsync(HttpMethod.Post, $"{await server.PodAtAsync("10.9.9.9")}/proxy/x?dryRun=All", "x");
        Assert.Equal((400, "dryRun is not supported"), (answer.Code, answer.Message));
    }

    private static byte[] Encode(string encoding, string text)
    {
        var output = new MemoryStream();
        using (var stream = encoding switch
        {
            "gzip" => new GZipStream(output, CompressionLevel.Fastest, leaveOpen: true),
            "deflate" => new DeflateStream(output, CompressionLevel.Fastest, leaveOpen: true),
            _ => (Stream)new BufferedStream(output),
        })
        {
            stream.Write(Encoding.UTF8.GetBytes(text));
            stream.Flush();
            if (encoding.Length == 0)
                return output.ToArray();
        }
        return output.ToArray();
    }

    private HttpClient NoRedirects()
    {
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        handler.SslOptions.ClientCertificates = [server.Certificates.Client("root", "system:masters")];
        return new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{server.Server.Port}") };
    }
}
