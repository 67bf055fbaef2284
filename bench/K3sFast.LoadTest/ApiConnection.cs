using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;

namespace K3sFast.LoadTest;

/// <summary>The administrator's connections to one server: HTTP/2 over TLS, several of them, so that no single one is the bottleneck.</summary>
internal sealed partial class ApiConnection : IDisposable
{
    // One connection carries up to 100 streams by default; eight serve 64 clients and hundreds of watches.
    private const int Connections = 8;

    private readonly HttpClient[] _clients;
    private readonly Uri _server;
    private readonly SslClientAuthenticationOptions _tls;
    private int _next;

    private ApiConnection(HttpClient[] clients, Uri server, SslClientAuthenticationOptions tls) => (_clients, _server, _tls) = (clients, server, tls);

    internal HttpClient Next => _clients[(uint)Interlocked.Increment(ref _next) % Connections];

    internal static ApiConnection FromKubeconfig(string path)
    {
        var text = File.ReadAllText(path);
        string Value(string key) => Regex.Match(text, $@"\b{key}:\s*""?([^\s""]+)").Groups[1].Value;
        string Pem(string key) => Value(key + "-data") is { Length: > 0 } data
            ? Encoding.UTF8.GetString(Convert.FromBase64String(data)) : File.ReadAllText(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path))!, Value(key)));
        using var pem = X509Certificate2.CreateFromPem(Pem("client-certificate"), Pem("client-key"));
        var certificate = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
        var authority = X509Certificate2.CreateFromPem(Pem("certificate-authority"));
        var server = new Uri(Value("server"));
        var clients = new HttpClient[Connections];
        for (var i = 0; i < Connections; i++)
        {
            var handler = new SocketsHttpHandler { EnableMultipleHttp2Connections = true, UseProxy = false, SslOptions = Tls() };
            clients[i] = new HttpClient(handler)
            {
                BaseAddress = server,
                DefaultRequestVersion = HttpVersion.Version20,
                DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
                Timeout = TimeSpan.FromMinutes(2),
            };
        }
        var tls = Tls();
        tls.TargetHost = server.Host;
        tls.ApplicationProtocols = [SslApplicationProtocol.Http2];
        return new ApiConnection(clients, server, tls);

        SslClientAuthenticationOptions Tls() => new()
        {
            ClientCertificates = [certificate],
            CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                CustomTrustStore = { authority },
            },
        };
    }

    /// <summary>Completes when every connection is open and the server says that it is ready; throws when that takes a minute.</summary>
    internal async Task WaitReadyAsync()
    {
        var waited = System.Diagnostics.Stopwatch.StartNew();
        for (var ready = 0; ready < Connections;)
        {
            try
            {
                await SendAsync(HttpMethod.Get, "/readyz");
                ready++;
            }
            catch (HttpRequestException) when (waited.Elapsed < TimeSpan.FromMinutes(1))
            {
                await Task.Delay(100);
            }
        }
    }

    /// <summary>Completes when somebody listens where the server is to be. The kernel refuses until then: asking costs the server nothing and the client next to nothing.</summary>
    internal async Task WaitListeningAsync(TimeSpan most)
    {
        var end = new DnsEndPoint(_server.Host, _server.Port);
        for (var waited = System.Diagnostics.Stopwatch.StartNew(); waited.Elapsed < most; await Task.Delay(1))
        {
            var done = new TaskCompletionSource<SocketError>(TaskCreationOptions.RunContinuationsAsynchronously);
            // A refusal is no exception here: there are hundreds of them.
            using var attempt = new SocketAsyncEventArgs { RemoteEndPoint = end };
            attempt.Completed += (_, ended) => done.SetResult(ended.SocketError);
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            if ((socket.ConnectAsync(attempt) ? await done.Task : attempt.SocketError) == SocketError.Success) return;
        }
        throw new TimeoutException($"nobody listens at {_server} after {most}");
    }

    /// <summary>One request; returns the body. Anything but 2xx throws.</summary>
    internal async Task<byte[]> SendAsync(HttpMethod method, string path, byte[]? body = null, string contentType = "application/json")
    {
        using var request = new HttpRequestMessage(method, path)
        {
            Version = HttpVersion.Version20,
            Content = body is null ? null : new ByteArrayContent(body) { Headers = { ContentType = new(contentType) } },
        };
        using var response = await Next.SendAsync(request);
        var answer = await response.Content.ReadAsByteArrayAsync();
        if (!response.IsSuccessStatusCode) throw new HttpRequestException($"{method} {path}: {(int)response.StatusCode} {Encoding.UTF8.GetString(answer)}");
        return answer;
    }

    /// <summary>Reads a whole answer and throws it away; returns its length.</summary>
    internal async Task<long> DrainAsync(string path, string accept = "application/json")
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path) { Version = HttpVersion.Version20 };
        request.Headers.TryAddWithoutValidation("Accept", accept);
        using var response = await Next.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        await using var stream = await response.Content.ReadAsStreamAsync();
        var buffer = new byte[64 * 1024];
        long bytes = 0;
        while (await stream.ReadAsync(buffer) is > 0 and var read) bytes += read;
        return bytes;
    }

    /// <summary>An open watch.</summary>
    internal async Task<Stream> WatchAsync(string path, CancellationToken cancellationToken)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, path) { Version = HttpVersion.Version20 };
        var response = await Next.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        response.EnsureSuccessStatusCode();
        return await response.Content.ReadAsStreamAsync(cancellationToken);
    }

    /// <summary>A connection of its own for what must cost the client next to nothing.</summary>
    internal RawConnection OpenRaw() => RawConnection.Open(_server, _tls);

    public void Dispose()
    {
        foreach (var client in _clients) client.Dispose();
    }
}
