using System.IO.Compression;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer.Tests;

public sealed class NegotiationTests(TestServer server)
{
    private const string Service = "/api/v1/namespaces/default/services/kubernetes";
    private const string Services = "/api/v1/namespaces/default/services";
    private const string Table = "application/json;as=Table;v=v1;g=meta.k8s.io";

    [Theory]
    [InlineData("application/json;q=0.1,application/yaml", "application/yaml")]
    [InlineData("application/yaml;q=0.1,application/json;q=0", "application/yaml")]
    [InlineData("text/html,application/yaml", "application/yaml")]
    [InlineData("*/*", "application/json")]
    [InlineData("*/*;q=0.1,application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf")]
    [InlineData("application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf")]
    [InlineData("application/json;stream=watch", "application/json")]
    [InlineData("application/yaml;stream=watch,application/json", "application/json")]
    [InlineData("application/json;sv=v1", "application/json")]
    [InlineData("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json")]
    public async Task Accept_OfManyClauses_ChoosesAsUpstream(string accept, string expected)
    {
        var answer = await server.GetAsync(Service, accept: accept);
        Assert.True(answer.Code == 200, answer.Text);
        Assert.Equal(expected, answer.ContentType);
    }

    [Theory]
    [InlineData(Service, "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf")]
    [InlineData(Service, "application/json;as=Table;v=v2;g=meta.k8s.io", "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf")]
    [InlineData(Service, "application/cbor", "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf")]
    [InlineData(Service, "application/*", "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf")]
    [InlineData(Service, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "you requested PartialObjectMetadataList, but the requested object is not a list (*core.Service)")]
    [InlineData(Services, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "you requested PartialObjectMetadata, but the requested object is a list (*core.ServiceList)")]
    [InlineData(Services + "?watch=true", "application/yaml", "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch")]
    public async Task Accept_OfNothingServed_IsRefusedInUpstreamsWords(string path, string accept, string message)
    {
        var answer = await server.GetAsync(path, accept: accept);
        Assert.Equal(406, answer.Code);
        if (answer.ContentType == "application/json")
            Assert.Equal(message, answer.Message);
        else
            Assert.Contains(message[..60], answer.Text.Replace("\n  ", " ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Error_ToAClientThatTakesTablesOnly_IsIndentedJson()
    {
        var answer = await server.GetAsync(Service + "x", accept: Table);
        Assert.Equal(404, answer.Code);
        Assert.StartsWith("{\n  \"kind\": \"Status\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {},\n", answer.Text);
        Assert.EndsWith("\n}", answer.Text);
    }

    [Fact]
    public async Task Error_ToAClientOfYaml_IsYaml()
    {
        var answer = await server.GetAsync(Service + "x", accept: "application/yaml");
        Assert.Equal((404, "application/yaml"), (answer.Code, answer.ContentType));
        Assert.Contains("reason: NotFound\n", answer.Text);
    }

    [Fact]
    public async Task Error_ToAClientOfProtobuf_IsAnEnvelopedStatus()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, Service + "x");
        request.Headers.TryAddWithoutValidation("Accept", "application/vnd.kubernetes.protobuf");
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        using var status = ProtobufCodec.Decode(await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken), Schema.BuiltIn);
        Assert.Equal("services \"kubernetesx\" not found", status.Root["message"u8].AsString());
        Assert.Equal("Status", status.Root["kind"u8].AsString());
    }

    [Theory]
    [InlineData("curl/8.1", "", true)]
    [InlineData("Mozilla/5.0 (X11)", "", true)]
    [InlineData("curl/8.1", "?pretty=0", false)]
    [InlineData("kubectl/v1.36", "", false)]
    [InlineData("kubectl/v1.36", "?pretty=true", true)]
    [InlineData("curl/8.1", "?pretty=foo", false)]
    public async Task Pretty_ByAgentAndQuery_Indents(string agent, string query, bool isPretty)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, Service + query);
        request.Headers.TryAddWithoutValidation("User-Agent", agent);
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.StartsWith(isPretty ? "{\n  \"kind\": \"Service\",\n" : "{\"kind\":\"Service\",", text);
        Assert.EndsWith(isPretty ? "\n}" : "}\n", text);
    }

    [Theory]
    [InlineData("{}", "{}")]
    [InlineData("""{"a":[],"b":{}}""", "{\n  \"a\": [],\n  \"b\": {}\n}")]
    [InlineData("""{"a":[1,{"b":"{\"x\":[,]}"}]}""", "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"{\\\"x\\\":[,]}\"\n    }\n  ]\n}")]
    [InlineData("""["a\\","\u003c"]""", "[\n  \"a\\\\\",\n  \"\\u003c\"\n]")]
    public void Indent_OfCompactJson_IsUpstreams(string json, string expected)
    {
        var output = new System.Buffers.ArrayBufferWriter<byte>();
        JsonIndent.Write(Encoding.UTF8.GetBytes(json), output);
        Assert.Equal(expected, Encoding.UTF8.GetString(output.WrittenSpan));
    }

    [Fact]
    public async Task List_InProtobuf_IsTheSameList()
    {
        var ns = await server.NamespaceAsync();
        await server.CreateAsync($"/apis/apps/v1/namespaces/{ns}/deployments", """{"metadata":{"name":"a"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        await server.CreateAsync($"/apis/apps/v1/namespaces/{ns}/deployments", """{"metadata":{"name":"b"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/apis/apps/v1/namespaces/{ns}/deployments?limit=1");
        request.Headers.TryAddWithoutValidation("Accept", "application/vnd.kubernetes.protobuf");
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        using var list = ProtobufCodec.Decode(await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken), Schema.BuiltIn);
        Assert.Equal("DeploymentList", list.Root["kind"u8].AsString());
        Assert.Equal(1, list.Root["metadata"u8]["remainingItemCount"u8].AsInt64());
        Assert.Equal("a", list.Root["items"u8][0]["metadata"u8]["name"u8].AsString());
        Assert.Equal("i", list.Root["items"u8][0]["spec"u8]["template"u8]["spec"u8]["containers"u8][0]["image"u8].AsString());
        Assert.NotEmpty(list.Root["metadata"u8]["continue"u8].AsString());
    }

    [Fact]
    public async Task PartialObjectMetadataList_InProtobuf_HasMetadataAlone()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, Services);
        request.Headers.TryAddWithoutValidation("Accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io");
        using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        using var list = ProtobufCodec.Decode(await response.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken), Schema.BuiltIn);
        Assert.Equal("PartialObjectMetadataList", list.Root["kind"u8].AsString());
        Assert.Equal("meta.k8s.io/v1", list.Root["apiVersion"u8].AsString());
        Assert.Equal("kubernetes", list.Root["items"u8][0]["metadata"u8]["name"u8].AsString());
        Assert.True(list.Root["items"u8][0]["spec"u8].IsNullOrUndefined);
    }

    [Theory]
    [InlineData("v1", "", "PartialObjectMetadata")]
    [InlineData("v1beta1", "?includeObject=Metadata", "PartialObjectMetadata")]
    [InlineData("v1", "?includeObject=Object", "Service")]
    [InlineData("v1", "?includeObject=None", null)]
    public async Task Table_ByVersionAndInclude_CarriesThatMuch(string version, string query, string? kind)
    {
        var answer = await server.GetAsync(Service + query, accept: $"application/json;as=Table;v={version};g=meta.k8s.io");
        Assert.True(answer.Code == 200, answer.Text);
        Assert.Equal($"meta.k8s.io/{version}", (string?)answer.Json["apiVersion"]);
        var shown = answer.Json["rows"]![0]!["object"];
        Assert.Equal(kind, (string?)shown?["kind"]);
        if (kind == "PartialObjectMetadata")
            Assert.Equal($"meta.k8s.io/{version}", (string?)shown!["apiVersion"]);
    }

    [Fact]
    public async Task Table_OfAnUnknownInclude_IsRefused()
    {
        var answer = await server.GetAsync(Services + "?includeObject=Foo", accept: Table);
        Assert.Equal(400, answer.Code);
        Assert.Equal("Unable to convert to Table as requested: includeObject: Invalid value: \"Foo\": must be 'Metadata', 'Object', 'None', or empty", answer.Message);
        Assert.Equal(200, (await server.GetAsync(Services + "?includeObject=Foo")).Code);
    }

    [Theory]
    [InlineData(100, false)]
    [InlineData(200, true)]
    public async Task List_AboveTheThreshold_IsCompressed(int kilobytes, bool isCompressed)
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        for (var i = 0; i < kilobytes / 20; i++)
            await server.CreateAsync(path, $$"""{"metadata":{"name":"c{{i}}"},"data":{"k":"{{new string('x', 20 * 1024)}}"} }""");
        foreach (var (accept, encoding) in new[] { ("gzip", isCompressed), ("deflate, gzip;q=1", false), ("deflate, gzip", isCompressed) })
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.TryAddWithoutValidation("Accept-Encoding", accept);
            using var response = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
            Assert.Equal(encoding ? ["gzip"] : [], response.Content.Headers.ContentEncoding);
            var body = await response.Content.ReadAsStreamAsync(TestContext.Current.CancellationToken);
            using var text = new StreamReader(encoding ? new GZipStream(body, CompressionMode.Decompress) : body);
            using var list = System.Text.Json.JsonDocument.Parse(await text.ReadToEndAsync(TestContext.Current.CancellationToken));
            Assert.Equal(kilobytes / 20, list.RootElement.GetProperty("items").GetArrayLength());
        }
    }

    [Fact]
    public async Task DeleteOptions_InYamlAndProtobuf_AreHeard()
    {
        var ns = await server.NamespaceAsync();
        var path = $"/api/v1/namespaces/{ns}/configmaps";
        await server.CreateAsync(path, """{"metadata":{"name":"a"}}""");
        var dry = await server.SendAsync(HttpMethod.Delete, $"{path}/a", "dryRun: [All]\n", "application/yaml");
        Assert.True(dry.Code == 200, dry.Text);
        using var options = JsonCodec.Decode("""{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"other"}}"""u8, null, DecodeOptions.Free, null);
        var body = new System.Buffers.ArrayBufferWriter<byte>();
        ProtobufCodec.Encode(options.Root, Schema.BuiltIn.FindType("", "v1", "DeleteOptions")!, body);
        using var request = new HttpRequestMessage(HttpMethod.Delete, $"{path}/a") { Content = new ByteArrayContent(body.WrittenSpan.ToArray()) };
        request.Content.Headers.TryAddWithoutValidation("Content-Type", "application/vnd.kubernetes.protobuf");
        using var refused = await server.Admin.SendAsync(request, TestContext.Current.CancellationToken);
        Assert.Equal(409, (int)refused.StatusCode);
        Assert.Equal(200, (await server.GetAsync($"{path}/a")).Code);
    }
}
