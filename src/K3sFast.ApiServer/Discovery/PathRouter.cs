using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Requests that are about no resource: discovery, version, health, metrics, OpenAPI, and the issuer's documents.</summary>
internal sealed class PathRouter(DiscoveryDocuments discovery, ServiceAccountTokens tokens, RequestMetrics metrics, HealthChecks health, ApiServerOptions options)
{
    internal ValueTask RouteAsync(ApiCall call)
    {
        var path = Encoding.UTF8.GetString(call.Info.Path).TrimEnd('/');
        if (path.Length == 0)
            path = "/";
        if (health.Owns(path))
            return health.AnswerAsync(call, path);
        if (call.Info.Verb is not (Verb.Get or Verb.Head))
            throw path is "/api" or "/apis" || discovery.Find(path) is not null ? ResourceRouter.MethodNotAllowed() : NotFound(path);
        switch (path)
        {
            case "/api" or "/apis" when IsAggregated(call, out var version):
                return WriteAggregatedAsync(call, path == "/api", version);
            case "/":
                return WriteJsonAsync(call, Paths());
            case "/version":
                return WriteJsonAsync(call, Version());
            case "/metrics":
                return ResponseWriter.WriteTextAsync(call, 200, metrics.Write(), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
            case "/openapi/v3":
                return WriteJsonAsync(call, OpenApiV3.WriteIndex());
            case "/.well-known/openid-configuration":
                return WriteJsonAsync(call, OpenIdConfiguration());
            case "/openid/v1/jwks":
                return WriteDocumentAsync(call, tokens.KeySet(), "application/jwk-set+json");
        }
        if (path.StartsWith("/openapi/v3/", StringComparison.Ordinal) && OpenApiOf(path) is { } document)
            return WriteJsonAsync(call, document);
        if (discovery.Find(path) is { } found)
            return WriteJsonAsync(call, found);
        // Paths below a group that is served are words of the API; everything else is a page that is not there.
        return ResponseWriter.WriteTextAsync(call, 404, "404 page not found\n");
    }

    private static ApiStatusException NotFound(string path) => path.StartsWith("/api", StringComparison.Ordinal)
        ? ApiStatus.NotFoundPath().ToException()
        : new ApiStatus { Code = 404, Reason = "NotFound", HasDetails = true, Message = "the server could not find the requested resource" }.ToException();

    // kubectl asks for application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList first, with fallbacks behind it.
    private static bool IsAggregated(ApiCall call, out string version)
    {
        version = "";
        foreach (var clause in (call.Accept ?? "").Split(','))
        {
            if (!clause.Contains("as=APIGroupDiscoveryList", StringComparison.Ordinal) || !clause.Contains("g=apidiscovery.k8s.io", StringComparison.Ordinal)
                || !clause.TrimStart().StartsWith(ResponseFormat.Json, StringComparison.Ordinal))
                continue;
            version = clause.Contains("v=v2beta1", StringComparison.Ordinal) ? "v2beta1" : "v2";
            return true;
        }
        return false;
    }

    private ValueTask WriteAggregatedAsync(ApiCall call, bool isCore, string version)
    {
        var document = (isCore, version) switch
        {
            (true, "v2") => discovery.AggregatedCore,
            (true, _) => discovery.AggregatedCoreBeta,
            (false, "v2") => discovery.AggregatedGroups,
            (false, _) => discovery.AggregatedGroupsBeta,
        };
        call.SetHeader("Vary", "Accept");
        return WriteDocumentAsync(call, document, $"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    }

    private static byte[]? OpenApiOf(string path)
    {
        var parts = path["/openapi/v3/".Length..].Split('/');
        return parts switch
        {
            ["api", var version] => OpenApiV3.WriteGroupVersion("", version),
            ["apis", var group, var version] => OpenApiV3.WriteGroupVersion(group, version),
            _ => null,
        };
    }

    private static ValueTask WriteJsonAsync(ApiCall call, byte[] document) => WriteDocumentAsync(call, document, ResponseFormat.Json);

    private static ValueTask WriteDocumentAsync(ApiCall call, byte[] document, string contentType)
    {
        var buffer = new PooledBuffer(document.Length);
        buffer.Write(document);
        return ResponseWriter.WriteBufferAsync(call, 200, contentType, buffer);
    }

    private byte[] Version()
    {
        var text = options.GitVersion.TrimStart('v').Split('.', '+', '-');
        return Build(json =>
        {
            json.WriteString("major"u8, text[0]);
            json.WriteString("minor"u8, text.Length > 1 ? text[1] : "0");
            json.WriteString("emulationMajor"u8, text[0]);
            json.WriteString("emulationMinor"u8, text.Length > 1 ? text[1] : "0");
            json.WriteString("gitVersion"u8, options.GitVersion);
            json.WriteString("gitCommit"u8, "unknown"u8);
            json.WriteString("gitTreeState"u8, "clean"u8);
            json.WriteString("buildDate"u8, "1970-01-01T00:00:00Z"u8);
            json.WriteString("goVersion"u8, RuntimeInformation.FrameworkDescription);
            json.WriteString("compiler"u8, "nativeaot"u8);
            json.WriteString("platform"u8, $"linux/{(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "arm64" : "amd64")}");
        });
    }

    private byte[] OpenIdConfiguration() => Build(json =>
    {
        json.WriteString("issuer"u8, tokens.Issuer);
        json.WriteString("jwks_uri"u8, $"https://{options.AdvertiseAddress}:{options.Port}/openid/v1/jwks");
        json.WriteStartArray("response_types_supported"u8);
        json.WriteStringValue("id_token"u8);
        json.WriteEndArray();
        json.WriteStartArray("subject_types_supported"u8);
        json.WriteStringValue("public"u8);
        json.WriteEndArray();
        json.WriteStartArray("id_token_signing_alg_values_supported"u8);
        foreach (var algorithm in tokens.Algorithms)
            json.WriteStringValue(algorithm);
        json.WriteEndArray();
    });

    private static byte[] Paths() => Build(static json =>
    {
        json.WriteStartArray("paths"u8);
        foreach (var path in (ReadOnlySpan<string>)[
            "/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/", "/healthz", "/healthz/etcd", "/healthz/ping", "/livez", "/livez/etcd",
            "/livez/ping", "/metrics", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/readyz", "/readyz/etcd", "/readyz/ping", "/version"])
            json.WriteStringValue(path);
        json.WriteEndArray();
    });

    private static byte[] Build(Action<Utf8JsonWriter> write)
    {
        var output = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(output);
        json.WriteStartObject();
        write(json);
        json.WriteEndObject();
        json.Flush();
        return output.WrittenSpan.ToArray();
    }
}
