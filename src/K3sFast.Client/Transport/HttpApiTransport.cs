using System.Buffers;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Runtime.CompilerServices;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;

namespace K3sFast.Client;

/// <summary>The transport over HTTP/2 (or 1.1) and TLS, with a client certificate or a bearer token. Owns its connection pool.</summary>
public sealed class HttpApiTransport : IApiTransport, IDisposable
{
    private static readonly MediaTypeWithQualityHeaderValue s_json = new("application/json");

    // Immutable after construction
    private readonly HttpClient _http;

    /// <summary>
    /// A client of the server at <paramref name="server"/> (https). The server's certificate must chain to <paramref name="serverCa"/>;
    /// null trusts the system's roots.
    /// </summary>
    public HttpApiTransport(Uri server, X509Certificate2Collection? serverCa, X509Certificate2? clientCertificate = null, string? bearerToken = null)
        : this(server, serverCa, clientCertificate is null ? null : () => clientCertificate, bearerToken)
    {
    }

    /// <summary>As the other, with a client certificate that is asked for at each connection: a renewed one is used within half a day.</summary>
    public HttpApiTransport(Uri server, X509Certificate2Collection? serverCa, Func<X509Certificate2>? clientCertificate, string? bearerToken = null)
    {
        var handler = new SocketsHttpHandler
        {
            EnableMultipleHttp2Connections = true,
            // A dead server is noticed by unanswered pings, not by a watch that stays silent for ever.
            KeepAlivePingDelay = TimeSpan.FromSeconds(30),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(15),
            ConnectTimeout = TimeSpan.FromSeconds(10),
            UseProxy = false,
        };
        if (clientCertificate is not null)
        {
            handler.SslOptions.LocalCertificateSelectionCallback = (_, _, _, _, _) => clientCertificate();
            handler.PooledConnectionLifetime = TimeSpan.FromHours(12);
        }
        if (serverCa is not null)
        {
            handler.SslOptions.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            handler.SslOptions.CertificateChainPolicy.CustomTrustStore.AddRange(serverCa);
        }
        _http = new HttpClient(handler)
        {
            BaseAddress = server,
            Timeout = Timeout.InfiniteTimeSpan,
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionOrLower,
        };
        if (bearerToken is not null) _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", bearerToken);
    }

    /// <inheritdoc/>
    public async ValueTask<ApiResponse> SendAsync(ApiRequest request, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        using var message = Message(request);
        using var response = await _http.SendAsync(message, HttpCompletionOption.ResponseContentRead, cancellationToken).ConfigureAwait(false);
        var body = await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
        RestClientMetrics.Answered(_http.BaseAddress!.Authority, request.Method, (int)response.StatusCode, started);
        return new ApiResponse((int)response.StatusCode, body);
    }

    /// <inheritdoc/>
    public async ValueTask<EncodedList> ListAsync(string pathAndQuery, CancellationToken cancellationToken)
    {
        var response = await SendAsync(new ApiRequest("GET", pathAndQuery), cancellationToken).ConfigureAwait(false);
        return response.IsSuccess ? ListReader.Read(response.Body) : throw ApiException.From(response);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<WatchFrame> WatchAsync(string pathAndQuery, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var message = Message(new ApiRequest("GET", pathAndQuery));
        using var response = await _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
        if (!response.IsSuccessStatusCode)
        {
            var body = await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false);
            throw ApiException.From(new ApiResponse((int)response.StatusCode, body));
        }
        var reader = PipeReader.Create(await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false));
        try
        {
            while (true)
            {
                var read = await reader.ReadAsync(cancellationToken).ConfigureAwait(false);
                var buffer = read.Buffer;
                while (buffer.PositionOf((byte)'\n') is { } newline)
                {
                    var line = buffer.Slice(0, newline);
                    // An owned copy: the frame outlives the pipe's buffer.
                    var frame = line.IsEmpty ? null : line.ToArray();
                    buffer = buffer.Slice(buffer.GetPosition(1, newline));
                    if (frame is not null) yield return ListReader.ReadFrame(frame);
                }
                reader.AdvanceTo(buffer.Start, buffer.End);
                if (read.IsCompleted) yield break;
            }
        }
        finally
        {
            await reader.CompleteAsync().ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private static HttpRequestMessage Message(ApiRequest request)
    {
        var message = new HttpRequestMessage(new HttpMethod(request.Method), request.PathAndQuery);
        message.Headers.Accept.Add(s_json);
        if (!request.Body.IsEmpty)
        {
            message.Content = new ReadOnlyMemoryContent(request.Body);
            message.Content.Headers.ContentType = new MediaTypeHeaderValue(request.ContentType ?? "application/json");
        }
        return message;
    }
}

/// <summary>Cuts a list's and a watch frame's JSON into the encoded objects it carries, without decoding them.</summary>
internal static class ListReader
{
    internal static EncodedList Read(ReadOnlyMemory<byte> json)
    {
        var reader = new Utf8JsonReader(json.Span);
        var items = new List<EncodedObject>();
        var resourceVersion = "";
        string? next = null;
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("metadata"u8)) ReadMetadata(ref reader, ref resourceVersion, ref next);
            else if (reader.ValueTextEquals("items"u8)) ReadItems(ref reader, json, items);
            else
            {
                reader.Read();
                reader.Skip();
            }
        }
        return new EncodedList(resourceVersion, items, next);
    }

    /// <summary><c>{"type":"ADDED","object":{...}}</c>. An ERROR event throws the Status that it carries.</summary>
    internal static WatchFrame ReadFrame(ReadOnlyMemory<byte> json)
    {
        var reader = new Utf8JsonReader(json.Span);
        var type = WatchFrameType.Added;
        var isError = false;
        ReadOnlyMemory<byte> item = default;
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("type"u8))
            {
                reader.Read();
                if (reader.ValueTextEquals("MODIFIED"u8)) type = WatchFrameType.Modified;
                else if (reader.ValueTextEquals("DELETED"u8)) type = WatchFrameType.Deleted;
                else if (reader.ValueTextEquals("BOOKMARK"u8)) type = WatchFrameType.Bookmark;
                else isError = reader.ValueTextEquals("ERROR"u8);
            }
            else
            {
                reader.Read();
                var start = (int)reader.TokenStartIndex;
                reader.Skip();
                item = json[start..(int)reader.BytesConsumed];
            }
        }
        if (isError) throw ApiException.From(new ApiResponse(0, item));
        return new WatchFrame(type, new JsonEncodedObject(item));
    }

    private static void ReadMetadata(ref Utf8JsonReader reader, ref string resourceVersion, ref string? next)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject) return;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isVersion = reader.ValueTextEquals("resourceVersion"u8);
            var isContinue = reader.ValueTextEquals("continue"u8);
            reader.Read();
            if (isVersion) resourceVersion = reader.GetString() ?? "";
            else if (isContinue) next = reader.GetString() is { Length: > 0 } token ? token : null;
            else reader.Skip();
        }
    }

    private static void ReadItems(ref Utf8JsonReader reader, ReadOnlyMemory<byte> json, List<EncodedObject> items)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray) return;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var start = (int)reader.TokenStartIndex;
            reader.Skip();
            items.Add(new JsonEncodedObject(json[start..(int)reader.BytesConsumed]));
        }
    }
}
