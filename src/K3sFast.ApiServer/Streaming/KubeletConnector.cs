using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Where a node's kubelet listens.</summary>
internal readonly record struct KubeletAddress(string Node, string Host, int Port);

/// <summary>Connections to kubelets: TLS, our client certificate, their certificate checked against the cluster's server CA.</summary>
internal sealed class KubeletConnector : IDisposable
{
    private const int DefaultPort = 10250;
    private static readonly TimeSpan s_connectTimeout = TimeSpan.FromSeconds(10);

    private readonly ResourceStorage _nodes;
    private readonly X509Certificate2? _certificate;
    private readonly X509Certificate2Collection _authorities;

    internal KubeletConnector(ResourceStorage nodes, ApiServerOptions options)
    {
        _nodes = nodes;
        _certificate = options.KubeletClientCertificate;
        _authorities = options.ServerAuthorities;
        Http = new HttpMessageInvoker(new SocketsHttpHandler
        {
            ConnectTimeout = s_connectTimeout,
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            PooledConnectionIdleTimeout = TimeSpan.FromSeconds(30),
            SslOptions = SslOptions(null),
        });
    }

    /// <summary>For requests that are answered, not upgraded.</summary>
    internal HttpMessageInvoker Http { get; }

    /// <summary>The kubelet of a node by its addresses: InternalIP first, as k3s asks.</summary>
    internal KubeletAddress Find(string nodeName)
    {
        using var stored = _nodes.Get("", nodeName) ?? throw ApiStatus.NotFound("", "nodes", nodeName).ToException();
        using var node = _nodes.Decode(stored);
        var status = node.Root["status"u8];
        var port = (int)status["daemonEndpoints"u8]["kubeletEndpoint"u8]["Port"u8].AsInt64(DefaultPort);
        if (port is <= 0 or > 65535)
            port = DefaultPort;
        foreach (var wanted in (ReadOnlySpan<string>)["InternalIP", "ExternalIP", "Hostname"])
        {
            foreach (var address in status["addresses"u8].Elements)
            {
                if (address["type"u8].AsString() == wanted)
                    return new KubeletAddress(nodeName, address["address"u8].AsString(), port);
            }
        }
        throw ApiStatus.InternalError($"no preferred addresses found; known addresses: [] of node {nodeName}").ToException();
    }

    /// <summary>A connection of its own, for a stream that takes it over.</summary>
    internal async Task<Stream> ConnectAsync(KubeletAddress address, CancellationToken cancel)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timeout.CancelAfter(s_connectTimeout);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(address.Host, address.Port, timeout.Token).ConfigureAwait(false);
            var tls = new SslStream(new NetworkStream(socket, ownsSocket: true), leaveInnerStreamOpen: false);
            try
            {
                await tls.AuthenticateAsClientAsync(SslOptions(address.Host), timeout.Token).ConfigureAwait(false);
                return tls;
            }
            catch
            {
                await tls.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
        catch (Exception error) when (error is SocketException or IOException or System.Security.Authentication.AuthenticationException
            || error is OperationCanceledException && !cancel.IsCancellationRequested)
        {
            socket.Dispose();
            throw DialFailed(address, error);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>500 in upstream's words for a kubelet that does not answer.</summary>
    internal static ApiStatusException DialFailed(KubeletAddress address, Exception error)
    {
        var why = error switch
        {
            SocketException { SocketErrorCode: SocketError.ConnectionRefused } => "connect: connection refused",
            SocketException { SocketErrorCode: SocketError.HostUnreachable } => "connect: no route to host",
            OperationCanceledException => "i/o timeout",
            HttpRequestException { InnerException: { } inner } => inner.Message,
            _ => error.Message,
        };
        return ApiStatus.InternalError($"error dialing backend: dial tcp {address.Host}:{address.Port}: {why}").ToException();
    }

    public void Dispose() => Http.Dispose();

    private SslClientAuthenticationOptions SslOptions(string? host)
    {
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = host,
            CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck },
        };
        options.CertificateChainPolicy.CustomTrustStore.AddRange(_authorities);
        if (_certificate is not null)
            options.ClientCertificates = [_certificate];
        return options;
    }
}
