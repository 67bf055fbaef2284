using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Abstractions;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Kestrel as a bare transport: TLS with HTTP/1.1 and HTTP/2 on one port, client certificates asked for but judged by us, and nothing of the
/// frameworks above it.
/// </summary>
internal sealed class KestrelHost : IAsyncDisposable
{
    // Upstream's http.Server reads this many bytes of request line and headers: MaxHeaderBytes and the slack that Go adds.
    private const int MaxHeaderBytes = (1024 * 1024) + 4096;

    // Upstream counts bytes of headers, not headers; each has at least a name, a colon and a line end.
    private const int MaxHeaders = MaxHeaderBytes / 4;

    private readonly WebApplication _application;
    private readonly IServer _server;
    private readonly NamedCertificates? _named;
    private readonly ApiServerOptions _options;
    private readonly CipherSuitesPolicy? _ciphers;
    private SslStreamCertificateContext _certificate;

    internal KestrelHost(ApiServerOptions options, ILoggerFactory loggers)
    {
        _options = options;
        _ciphers = options.CipherSuites.Count == 0 ? null : CiphersOf(options.CipherSuites);
        _certificate = ContextOf(options.ServingCertificate, options.ServingChain);
        _named = options.NamedCertificates.Count == 0 ? null : new NamedCertificates(options.NamedCertificates, options.Clock, loggers.CreateLogger<KestrelHost>());
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(Configure);
        // What was received is decrypted and parsed by the thread that received it, and what is sent, by the one that encrypted it: two wake-ups of other threads
        // less per request. Requests run elsewhere all the same, so none of them can hold up a connection.
        builder.WebHost.UseSockets(static sockets => sockets.UnsafePreferInlineScheduling = true);
        _application = builder.Build();
        _server = _application.Services.GetRequiredService<IServer>();
    }

    internal int Port { get; private set; }

    internal async Task StartAsync(IHttpApplication<HttpApiCall> application, CancellationToken cancel)
    {
        try
        {
            await _server.StartAsync(application, cancel).ConfigureAwait(false);
        }
        catch (IOException error)
        {
            throw new ApiServerStartException(
                $"cannot listen on {_options.BindAddress}:{_options.Port}: {error.InnerException?.Message ?? error.Message}; stop the program that has the port, or choose another with --https-listen-port", error);
        }
        var address = _server.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault() ?? "";
        Port = int.Parse(address[(address.LastIndexOf(':') + 1)..].TrimEnd('/'), System.Globalization.CultureInfo.InvariantCulture);
    }

    /// <summary>New connections get this certificate; those that stand keep theirs.</summary>
    internal void UseCertificate(X509Certificate2 certificate, X509Certificate2Collection chain) => Volatile.Write(ref _certificate, ContextOf(certificate, chain));

    /// <summary>Follows the files of certificates by name until cancelled.</summary>
    internal IEnumerable<Task> Follow(CancellationToken cancel) => _named?.Follow(cancel) ?? [];

    internal Task StopAsync(CancellationToken cancel) => _server.StopAsync(cancel);

    public async ValueTask DisposeAsync() => await _application.DisposeAsync().ConfigureAwait(false);

    private void Configure(KestrelServerOptions kestrel)
    {
        kestrel.AddServerHeader = false;
        kestrel.AllowSynchronousIO = false;
        // The body limit is ours, per request, with upstream's words.
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Limits.MaxRequestHeadersTotalSize = MaxHeaderBytes;
        kestrel.Limits.MaxRequestHeaderCount = MaxHeaders;
        kestrel.Limits.MaxRequestLineSize = MaxHeaderBytes;
        // Kestrel wants room for a whole request line and head; bodies are held back by it just the same.
        kestrel.Limits.MaxRequestBufferSize = MaxHeaderBytes;
        kestrel.Limits.Http2.MaxRequestHeaderFieldSize = MaxHeaderBytes;
        // Slow bodies are bounded by the request's deadline, slow readers by their own patience.
        kestrel.Limits.MinRequestBodyDataRate = null;
        kestrel.Limits.MinResponseDataRate = null;
        // Upstream's http.Server.
        kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(90);
        kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(32);
        kestrel.Limits.Http2.MaxStreamsPerConnection = _options.Http2MaxStreamsPerConnection;
        // A client that vanished without a word is noticed by unanswered pings.
        kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(30);
        kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(15);
        kestrel.Listen(new IPEndPoint(_options.BindAddress, _options.Port), listen =>
        {
            listen.Protocols = HttpProtocols.Http1AndHttp2;
            listen.Use(next => connection => LingeringClose.ServeAsync(connection, next, _options.Clock));
            if (_named is not null)
                listen.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = OptionsOf });
            else
                listen.UseHttps(Configure);
            listen.Use(static next => connection => GatheredOutput.ServeAsync(connection, next));
        });
    }

    private void Configure(HttpsConnectionAdapterOptions https)
    {
        https.ServerCertificate = _options.ServingCertificate;
        https.ClientCertificateMode = ClientCertificateMode.AllowCertificate;
        // Any certificate may be shown; what it is worth is decided per request, with upstream's 401.
        https.ClientCertificateValidation = static (certificate, chain, _) =>
        {
            ClientChain.Remember(certificate, chain);
            return true;
        };
        https.SslProtocols = _options.TlsVersions;
        https.CheckCertificateRevocation = false;
        https.OnAuthenticate = (_, tls) => Configure(tls, Volatile.Read(ref _certificate));
    }

    private void Configure(SslServerAuthenticationOptions tls, SslStreamCertificateContext certificate)
    {
        tls.ServerCertificateContext = certificate;
        // A resumed session does not show the client's certificate again; authentication would depend on the session cache.
        tls.AllowTlsResume = false;
        tls.CipherSuitesPolicy = _ciphers;
    }

    // The same for a server with certificates by name, which is asked when the client has said what name it wants.
    private ValueTask<SslServerAuthenticationOptions> OptionsOf(TlsHandshakeCallbackContext handshake)
    {
        var local = (handshake.Connection.LocalEndPoint as IPEndPoint)?.Address;
        var tls = new SslServerAuthenticationOptions
        {
            ClientCertificateRequired = true,
            RemoteCertificateValidationCallback = static (_, certificate, chain, _) =>
            {
                if (certificate is X509Certificate2 shown)
                    ClientChain.Remember(shown, chain);
                return true;
            },
            EnabledSslProtocols = _options.TlsVersions,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        Configure(tls, _named!.Find(handshake.ClientHelloInfo.ServerName, local) ?? Volatile.Read(ref _certificate));
        return new(tls);
    }

    // Those of TLS 1.3 cannot be chosen there, and are all on.
    [System.Diagnostics.CodeAnalysis.SuppressMessage("Interoperability", "CA1416", Justification = "The product runs on Linux.")]
    private static CipherSuitesPolicy CiphersOf(IReadOnlyList<TlsCipherSuite> suites) => new(
        [TlsCipherSuite.TLS_AES_128_GCM_SHA256, TlsCipherSuite.TLS_AES_256_GCM_SHA384, TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256, .. suites]);

    private static SslStreamCertificateContext ContextOf(X509Certificate2 certificate, X509Certificate2Collection chain)
    {
        if (!certificate.HasPrivateKey)
            throw new ApiServerStartException($"the serving certificate {certificate.Subject} has no private key: check the key file beside it");
        return SslStreamCertificateContext.Create(certificate, chain, offline: true);
    }
}

/// <summary>Kestrel's requests into the pipeline, with one context object per connection or stream.</summary>
internal sealed class ApiServerApp(RequestPipeline pipeline, CancellationToken stopping) : IHttpApplication<HttpApiCall>
{
    public HttpApiCall CreateContext(IFeatureCollection contextFeatures)
    {
        HttpApiCall call;
        if (contextFeatures is IHostContextContainer<HttpApiCall> container)
            call = container.HostContext ??= new HttpApiCall();
        else
            call = new HttpApiCall();
        call.Begin(contextFeatures, stopping);
        return call;
    }

    public Task ProcessRequestAsync(HttpApiCall context) => pipeline.HandleAsync(context);

    public void DisposeContext(HttpApiCall context, Exception? exception)
    {
    }
}
