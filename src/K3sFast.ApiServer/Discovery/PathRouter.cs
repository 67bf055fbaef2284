using System.Buffers;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Requests that are about no resource: discovery, version, health, metrics, OpenAPI, and the issuer's documents.</summary>
internal sealed class PathRouter(
    DiscoveryDocuments discovery, OpenApiDocuments openApi, ServiceAccountTokens tokens, ApiServerMetrics metrics, HealthChecks health, ApiServerOptions options)
{
    private readonly DiscoveryHandler _discovery = new(discovery);
    /// <summary>The state of priority and fairness; null when it is off.</summary>
    internal FlowControlDump? FlowControl { get; init; }

    private readonly OpenApiHandler _openApi = new(openApi, options.Clock);
    private readonly ComponentPages _pages = new(options);

    internal ValueTask RouteAsync(ApiCall call)
    {
        var whole = Encoding.UTF8.GetString(call.Info.Path);
        if (health.Owns(whole))
            return health.AnswerAsync(call, whole);
        if (_pages.Owns(whole))
            return _pages.AnswerAsync(call, whole);
        var path = whole.TrimEnd('/');
        // Upstream's handlers of these look at no method.
        switch (path)
        {
            case "":
                return WriteJsonAsync(call, Paths());
            case "/metrics":
                return WriteMetricsAsync(call, static (metrics, output) => metrics.Write(output), metrics);
            case "/metrics/slis":
                return WriteMetricsAsync(call, static (health, output) => health.Metrics.Write(output), health);
            case "/apis":
                return _discovery.AnswerAsync(call, path);
        }
        if (OpenApiHandler.Owns(path))
            return _openApi.AnswerAsync(call, path);
        if (call.Info.Verb is not Verb.Get)
            throw path is "/version" or "/.well-known/openid-configuration" or "/openid/v1/jwks" || discovery.Has(path) ? ResourceRouter.MethodNotAllowed() : NotFound(path);
        switch (path)
        {
            case "/version":
                ResponseFormat.CheckJson(call);
                return WriteJsonAsync(call, VersionDocument.Write(options));
            case "/.well-known/openid-configuration":
                return WriteJsonAsync(call, OpenIdConfiguration());
            case "/openid/v1/jwks":
                return WriteDocumentAsync(call, tokens.KeySet(), "application/jwk-set+json");
        }
        if (FlowControl?.Find(path) is { } dump)
            return ResponseWriter.WriteTextAsync(call, 200, dump);
        if (discovery.Has(path))
            return _discovery.AnswerAsync(call, path);
        // A version that a served group does not have is a word of the API; everything else is a page that is not there.
        return IsBelowServedGroup(path) ? throw NotFound(path) : ResponseWriter.WriteTextAsync(call, 404, "404 page not found\n");
    }

    private bool IsBelowServedGroup(string path) =>
        path.StartsWith("/api/", StringComparison.Ordinal) || path.LastIndexOf('/') is > 5 and var slash && path.StartsWith("/apis/", StringComparison.Ordinal) && discovery.Has(path[..slash]);

    private static ApiStatusException NotFound(string path) => path.StartsWith("/api", StringComparison.Ordinal)
        ? ApiStatus.NotFoundPath().ToException()
        : new ApiStatus { Code = 404, Reason = "NotFound", HasDetails = true, Message = "the server could not find the requested resource" }.ToException();

    private static ValueTask WriteMetricsAsync<TSource>(ApiCall call, Action<TSource, PooledBuffer> write, TSource source)
    {
        var buffer = new PooledBuffer(64 * 1024);
        write(source, buffer);
        return ResponseWriter.WriteBufferAsync(call, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", buffer);
    }

    private static ValueTask WriteJsonAsync(ApiCall call, byte[] document) => WriteDocumentAsync(call, document, ResponseFormat.Json);

    private static ValueTask WriteDocumentAsync(ApiCall call, byte[] document, string contentType)
    {
        var buffer = new PooledBuffer(document.Length);
        buffer.Write(document);
        return ResponseWriter.WriteBufferAsync(call, 200, contentType, buffer);
    }

    private byte[] OpenIdConfiguration() => Build(json =>
    {
        json.WriteString("issuer"u8, tokens.Issuer);
        json.WriteString("jwks_uri"u8, options.ServiceAccountKeysUrl.Length > 0 ? options.ServiceAccountKeysUrl : $"https://{options.AdvertiseAddress}:{options.Port}/openid/v1/jwks");
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

    private byte[] Paths() => Build(json =>
    {
        string[] own = ["/.well-known/openid-configuration", "/apis/", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/version"];
        json.WriteStartArray("paths"u8);
        foreach (var path in own.Concat(discovery.Paths).Concat(health.Paths).Concat(_pages.Paths).Order(StringComparer.Ordinal))
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
