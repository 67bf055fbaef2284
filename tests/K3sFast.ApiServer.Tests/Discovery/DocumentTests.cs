using System.Net;

namespace K3sFast.ApiServer.Tests;

/// <summary>Discovery, OpenAPI and version as clients fetch them: forms, tags, copies.</summary>
public sealed class DocumentTests(TestServer server)
{
    private const string Aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    private static readonly string[] s_discoveryPaths = ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1"];

    [Fact]
    public async Task ComponentPages_AsText_AreForPeople()
    {
        var status = await server.GetAsync("/statusz");
        Assert.Equal((200, "text/plain; charset=utf-8"), (status.Code, status.ContentType));
        Assert.Matches(
            @"^\napiserver statusz\nWarning: This endpoint is not meant to be machine parseable[^\n]*\n\nStarted: \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d UTC \d{4}\nUp: \d+ hr \d\d min \d\d sec\nGo version: [^\n]+\nBinary version: 1\.36\.\d+\nEmulation version: 1\.36\nPaths: /flagz /healthz /livez /metrics /readyz /statusz /version\n$",
            status.Text);
        Assert.StartsWith("\napiserver flagz\nWarning: ", (await server.GetAsync("/flagz")).Text, StringComparison.Ordinal);
        var paths = (await server.GetAsync("/")).Json["paths"]!.AsArray().Select(static path => (string)path!).ToList();
        Assert.Contains("/statusz", paths);
        Assert.Contains("/flagz", paths);
    }

    [Theory]
    [InlineData("application/json;g=config.k8s.io;v=v1beta1;as=Statusz", 200, "\"kind\": \"Statusz\"", 0)]
    [InlineData("application/json;g=config.k8s.io;v=v1alpha1;as=Statusz", 200, "\"apiVersion\": \"config.k8s.io/v1alpha1\"", 1)]
    [InlineData("application/yaml;g=config.k8s.io;v=v1beta1;as=Statusz", 200, "emulationVersion: \"1.36\"\n", 0)]
    [InlineData("application/json", 406, "only the following media types are accepted: application/json, application/yaml, text/plain", 0)]
    [InlineData("application/json;g=config.k8s.io;v=v1;as=Statusz", 406, "only the following media types are accepted", 0)]
    public async Task Statusz_AsAnObject_NeedsItsGroupVersionAndKind(string accept, int code, string part, int warnings)
    {
        var answer = await server.SendAsync(HttpMethod.Get, "/statusz", accept: accept);
        Assert.Equal((code, warnings), (answer.Code, answer.Warnings.Length));
        Assert.Contains(part, answer.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apis_AggregatedAskedFirst_AnswersGroupsInUpstreamsOrder()
    {
        var answer = await server.GetAsync("/apis", accept: $"{Aggregated},application/json");
        var names = answer.Json["items"]!.AsArray().Select(static item => (string)item!["metadata"]!["name"]!).ToArray();

        Assert.Equal(Aggregated, answer.ContentType.Replace(" ", "", StringComparison.Ordinal));
        Assert.Equal(["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch"], names[..7]);
        var autoscaling = answer.Json["items"]![5]!["versions"]!.AsArray();
        Assert.Equal(["v2", "v1"], autoscaling.Select(static version => (string)version!["version"]!));
        Assert.All(autoscaling, static version => Assert.Equal("Current", (string)version!["freshness"]!));
    }

    [Fact]
    public async Task Apis_TagKnown_AnswersNotModified()
    {
        using var first = await SendAsync("/apis", ("Accept", Aggregated));
        var tag = first.Headers.ETag!.ToString();
        using var second = await SendAsync("/apis", ("Accept", Aggregated), ("If-None-Match", tag));

        Assert.Equal("public", first.Headers.CacheControl!.ToString());
        Assert.Equal(HttpStatusCode.NotModified, second.StatusCode);
        Assert.Equal(tag, second.Headers.ETag!.ToString());
        Assert.Equal("Accept", second.Headers.Vary.ToString());
    }

    [Theory]
    [InlineData("application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList")]
    [InlineData("application/xml")]
    public async Task Apis_NothingThatIsServedAccepted_AnswersNotAcceptable(string accept)
    {
        var answer = await server.GetAsync("/apis", accept: accept);

        Assert.Equal(406, answer.Code);
        Assert.Equal("only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf", answer.Message);
    }

    [Theory]
    [InlineData("application/yaml", "application/yaml")]
    [InlineData("application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf")]
    [InlineData("application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf")]
    public async Task Discovery_InOtherForms_IsAnsweredInThem(string accept, string contentType)
    {
        foreach (var path in s_discoveryPaths)
        {
            var answer = await server.GetAsync(path, accept: accept);
            Assert.Equal(200, answer.Code);
            Assert.Equal(contentType, answer.ContentType);
        }
    }

    [Fact]
    public async Task Resources_OfCore_ListSubresourcesWithTheirForeignKinds()
    {
        var resources = (await server.GetAsync("/api/v1")).Json["resources"]!.AsArray();
        var eviction = resources.Single(static resource => (string)resource!["name"]! == "pods/eviction")!;
        var pods = resources.Single(static resource => (string)resource!["name"]! == "pods")!;

        Assert.Equal("""{"name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1","kind":"Eviction","verbs":["create"]}""", eviction.ToJsonString());
        Assert.Equal("xPOwRZ+Yhw8=", (string)pods["storageVersionHash"]!);
    }

    [Theory]
    [InlineData("/openapi/v2", null, "application/json")]
    [InlineData("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")]
    [InlineData("/openapi/v3/apis/apps/v1", null, "application/json")]
    [InlineData("/openapi/v3/apis/apps/v1", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf")]
    [InlineData("/openapi/v3", null, "application/json")]
    public async Task OpenApi_EachForm_HasTagAndIsNotSentTwice(string path, string? accept, string contentType)
    {
        using var first = await SendAsync(path, ("Accept", accept ?? "*/*"));
        using var second = await SendAsync(path, ("Accept", accept ?? "*/*"), ("If-None-Match", first.Headers.ETag!.ToString()));

        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        Assert.Equal(contentType, first.Content.Headers.ContentType!.ToString());
        Assert.Equal(first.Content.Headers.ContentLength, (await first.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken)).Length);
        Assert.Equal(HttpStatusCode.NotModified, second.StatusCode);
    }

    [Fact]
    public async Task OpenApi_GzipAccepted_IsSentPacked()
    {
        using var answer = await SendAsync("/openapi/v2", ("Accept-Encoding", "gzip"));
        using var unpacked = new System.IO.Compression.GZipStream(await answer.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken), System.IO.Compression.CompressionMode.Decompress);
        using var document = await System.Text.Json.JsonDocument.ParseAsync(unpacked, cancellationToken: TestContext.Current.CancellationToken);

        Assert.Equal("gzip", answer.Content.Headers.ContentEncoding.Single());
        Assert.Equal("2.0", document.RootElement.GetProperty("swagger").GetString());
    }

    [Fact]
    public async Task OpenApiV3_HashOfTheIndex_MayBeKeptForEver_AndAnotherIsRedirected()
    {
        var url = (string)(await server.GetAsync("/openapi/v3")).Json["paths"]!["apis/apps/v1"]!["serverRelativeURL"]!;
        using var right = await SendAsync(url);
        using var wrong = await SendAsync("/openapi/v3/apis/apps/v1?hash=00");

        Assert.Equal("public, immutable", right.Headers.GetValues("Cache-Control").Single());
        Assert.True(right.Content.Headers.Expires > DateTimeOffset.UtcNow.AddDays(360));
        Assert.Equal(HttpStatusCode.MovedPermanently, wrong.StatusCode);
        Assert.Equal(url, wrong.Headers.Location!.OriginalString);
    }

    [Theory]
    [InlineData("/openapi/v2", "application/xml", 406)]
    [InlineData("/openapi/v3/apis/apps/v1", "application/xml", 406)]
    [InlineData("/openapi/v3/apis/nothing/v1", "application/json", 404)]
    public async Task OpenApi_NotToBeHad_AnswersBare(string path, string accept, int code)
    {
        var answer = await server.GetAsync(path, accept: accept);
        Assert.Equal((code, ""), (answer.Code, answer.Text));
    }

    [Theory]
    [InlineData("/apis/foo.io", "404 page not found\n")]
    [InlineData("/apis/foo.io/v1", "404 page not found\n")]
    [InlineData("/foo", "404 page not found\n")]
    public async Task Path_OfNothing_AnswersText(string path, string text)
    {
        var answer = await server.GetAsync(path);
        Assert.Equal((404, text), (answer.Code, answer.Text));
    }

    [Theory]
    [InlineData("/apis/apps/v2")]
    [InlineData("/api/v2")]
    public async Task Path_OfVersionThatIsNotServed_AnswersStatus(string path)
    {
        var answer = await server.GetAsync(path);
        Assert.Equal((404, "NotFound", "the server could not find the requested resource"), (answer.Code, answer.Reason, answer.Message));
    }

    [Fact]
    public async Task Version_AllFields_AreThere()
    {
        var version = (await server.GetAsync("/version")).Json.AsObject();

        Assert.Equal(
            ["major", "minor", "emulationMajor", "emulationMinor", "minCompatibilityMajor", "minCompatibilityMinor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"],
            version.Select(static member => member.Key));
        Assert.Equal(("1", "36", "35"), ((string)version["major"]!, (string)version["minor"]!, (string)version["minCompatibilityMinor"]!));
    }

    [Fact]
    public async Task Root_ListsPathsThatAnswer()
    {
        var paths = (await server.GetAsync("/")).Json["paths"]!.AsArray().Select(static path => (string)path!).ToList();

        Assert.Superset(new HashSet<string> { "/api/v1", "/apis/apps/v1", "/healthz/ping", "/livez/etcd", "/metrics", "/openapi/v2", "/readyz/shutdown", "/version" }, paths.ToHashSet());
        foreach (var path in paths)
        {
            // The root of version 3 is a prefix, as upstream lists it.
            if (path != "/openapi/v3/")
                Assert.True((await server.GetAsync(path)).Code == 200, path);
        }
    }

    private async Task<HttpResponseMessage> SendAsync(string path, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        // The handler of the test's client follows redirects; this test wants to see them.
        using var handler = new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false };
        handler.SslOptions.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        handler.SslOptions.ClientCertificates = [server.Certificates.Client("system:admin", "system:masters")];
        using var client = new HttpClient(handler) { BaseAddress = new Uri($"https://127.0.0.1:{server.Server.Port}") };
        var answer = await client.SendAsync(request, TestContext.Current.CancellationToken);
        await answer.Content.LoadIntoBufferAsync(TestContext.Current.CancellationToken);
        return answer;
    }
}
