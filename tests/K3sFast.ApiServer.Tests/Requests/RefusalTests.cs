using System.Text;

namespace K3sFast.ApiServer.Tests;

/// <summary>What hostile and mistaken requests get: upstream's code, reason and words, never a 500.</summary>
public sealed class RefusalTests(TestServer server)
{
    private const string ConfigMaps = "/api/v1/namespaces/default/configmaps";

    public static TheoryData<string, string, string?, int, string, string> Cases { get; } = new()
    {
        // method, path, body, code, reason, message (start)
        { "GET", "/api/v1/foos", null, 404, "NotFound", "the server could not find the requested resource" },
        { "GET", "/api/v1/../v1/pods", null, 404, "NotFound", "the server could not find the requested resource" },
        { "GET", "/api/v1//pods", null, 404, "NotFound", "the server could not find the requested resource" },
        { "GET", ConfigMaps + "/nope", null, 404, "NotFound", "configmaps \"nope\" not found" },
        { "GET", "/apis/apps/v1/namespaces/default/deployments/nope", null, 404, "NotFound", "deployments.apps \"nope\" not found" },
        { "GET", "/api/v1/namespaces/default/nodes", null, 404, "NotFound", "the server could not find the requested resource" },
        { "GET", "/api/v1/namespaces/default/pods/x/foo", null, 404, "NotFound", "the server could not find the requested resource" },
        { "POST", "/api/v1/pods", "{}", 405, "MethodNotAllowed", "the server does not allow this method on the requested resource" },
        { "PUT", ConfigMaps, "{}", 405, "MethodNotAllowed", "the server does not allow this method on the requested resource" },
        { "POST", ConfigMaps + "/x", "{}", 405, "MethodNotAllowed", "the server does not allow this method on the requested resource" },
        { "POST", "/version", "{}", 405, "MethodNotAllowed", "the server does not allow this method on the requested resource" },
        { "POST", ConfigMaps, "{", 400, "BadRequest", "the object provided is unrecognized (must be of type ConfigMap): " },
        { "POST", ConfigMaps, "", 400, "BadRequest", "the object provided is unrecognized (must be of type ConfigMap): " },
        { "POST", ConfigMaps, "[]", 400, "BadRequest", "the object provided is unrecognized (must be of type ConfigMap): " },
        { "POST", ConfigMaps, """{"kind":"Secret","apiVersion":"v1"}""", 400, "BadRequest", "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion" },
        { "POST", ConfigMaps, """{"kind":"Foo","apiVersion":"v1"}""", 400, "BadRequest", "Foo in version \"v1\" cannot be handled as a ConfigMap: no kind \"Foo\" is registered for version \"v1\"" },
        { "POST", ConfigMaps, """{"kind":"ConfigMap","apiVersion":"v2"}""", 400, "BadRequest", "ConfigMap in version \"v2\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"" },
        { "POST", ConfigMaps, """{"metadata":{"name":"a","labels":5}}""", 400, "BadRequest", "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field" },
        { "POST", ConfigMaps, """{"metadata":{"name":"a","namespace":"other"}}""", 400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request" },
        { "POST", ConfigMaps, """{"metadata":{}}""", 422, "Invalid", "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required" },
        { "POST", ConfigMaps, """{"metadata":{"name":"A_"}}""", 422, "Invalid", "ConfigMap \"A_\" is invalid: metadata.name: Invalid value: \"A_\": a lowercase RFC 1123 subdomain" },
        { "POST", ConfigMaps + "?fieldValidation=Strict", """{"metadata":{"name":"a"},"foo":1}""", 400, "BadRequest", "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\"" },
        { "POST", ConfigMaps + "?fieldValidation=x", """{"metadata":{"name":"a"}}""", 422, "Invalid", "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"" },
        { "POST", ConfigMaps + "?dryRun=x", """{"metadata":{"name":"a"}}""", 422, "Invalid", "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"x\"]: supported values: \"All\"" },
        { "POST", "/api/v1/namespaces/absent/configmaps", """{"metadata":{"name":"a"}}""", 404, "NotFound", "namespaces \"absent\" not found" },
        { "GET", ConfigMaps + "?labelSelector=a=b=c", null, 400, "BadRequest", "" },
        { "GET", ConfigMaps + "?fieldSelector=spec.foo=b", null, 400, "BadRequest", "" },
        { "GET", ConfigMaps + "?limit=x", null, 400, "BadRequest", "" },
        { "GET", ConfigMaps + "?continue=x", null, 400, "BadRequest", "invalid continue token: continue key is not valid: illegal base64 data at input byte 0" },
        { "GET", ConfigMaps + "?resourceVersion=x", null, 400, "BadRequest", "" },
        { "GET", ConfigMaps + "?resourceVersion=999999999", null, 504, "Timeout", "Timeout: Too large resource version: 999999999, current: " },
        { "GET", ConfigMaps + "?resourceVersionMatch=Exact", null, 422, "Invalid", "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided" },
        { "DELETE", "/api/v1/namespaces/kube-system", null, 403, "Forbidden", "namespaces \"kube-system\" is forbidden: this namespace may not be deleted" },
        { "PUT", ConfigMaps + "/b", """{"metadata":{"name":"a"}}""", 400, "BadRequest", "the name of the object (a) does not match the name on the URL (b)" },
        { "GET", "/api/v1/pods%zz", null, 400, "BadRequest", "the request target is not understandable" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Request_Refused_InUpstreamsWords(string method, string path, string? body, int code, string reason, string message)
    {
        // HttpClient would tidy the path; the raw target is what is tested.
        var answer = await SendRawAsync(method, path, body);
        Assert.True(code == answer.Code, answer.Text);
        Assert.Equal("Failure", (string?)answer.Json["status"]);
        Assert.Equal(reason, answer.Reason);
        Assert.StartsWith(message, answer.Message);
        Assert.DoesNotContain("   at ", answer.Text);
    }

    [Fact]
    public async Task Body_OneByteOverTheLimit_IsTooLarge()
    {
        var answer = await server.SendAsync(HttpMethod.Post, ConfigMaps, new string(' ', 3 * 1024 * 1024 + 1));
        Assert.Equal(413, answer.Code);
        Assert.Equal("Request entity too large: limit is 3145728", answer.Message);
        Assert.Equal("RequestEntityTooLarge", answer.Reason);
    }

    [Fact]
    public async Task Body_OfUnknownType_IsUnsupported()
    {
        var answer = await server.SendAsync(HttpMethod.Post, ConfigMaps, "x", "text/plain");
        Assert.Equal(415, answer.Code);
        Assert.Equal("UnsupportedMediaType", answer.Reason);
    }

    [Fact]
    public async Task Answer_OfUnknownType_IsNotAcceptable()
    {
        var answer = await server.GetAsync(ConfigMaps, accept: "text/html");
        Assert.Equal(406, answer.Code);
        Assert.Equal(
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, "
            + "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch", answer.Message);
    }

    [Fact]
    public async Task UnknownField_ByDefault_IsAWarning()
    {
        var answer = await server.SendAsync(HttpMethod.Post, ConfigMaps + "?dryRun=All", """{"metadata":{"name":"warned"},"foo":1}""");
        Assert.Equal(201, answer.Code);
        Assert.Equal(["299 - \"unknown field \\\"foo\\\"\""], answer.Warnings);
    }

    [Fact]
    public async Task UnknownPath_OutsideTheApi_IsAPageNotFound()
    {
        var answer = await server.GetAsync("/foo");
        Assert.Equal((404, "404 page not found\n"), (answer.Code, answer.Text));
    }

    private async Task<Answer> SendRawAsync(string method, string path, string? body)
    {
        using var tcp = new System.Net.Sockets.TcpClient();
        await tcp.ConnectAsync("127.0.0.1", server.Server.Port, TestContext.Current.CancellationToken);
        await using var tls = new System.Net.Security.SslStream(tcp.GetStream(), false, static (_, _, _, _) => true);
        await tls.AuthenticateAsClientAsync(
            new System.Net.Security.SslClientAuthenticationOptions { TargetHost = "localhost", ClientCertificates = [server.Certificates.Client("root", "system:masters")] },
            TestContext.Current.CancellationToken);
        var text = body ?? "";
        await tls.WriteAsync(Encoding.UTF8.GetBytes(
            $"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{(body is null ? "" : $"Content-Type: application/json\r\nContent-Length: {text.Length}\r\n")}\r\n{text}"),
            TestContext.Current.CancellationToken);
        using var reader = new StreamReader(tls);
        var answer = await reader.ReadToEndAsync(TestContext.Current.CancellationToken);
        var code = int.Parse(answer.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
        return new Answer(code, answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..], [], "");
    }
}
