using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Where a node's kubelet listens.</summary>
internal readonly record struct KubeletAddress(string Node, string Host, int Port);

/// <summary>Connections to kubelets: TLS, our client certificate, their certificate checked against the cluster's server CA.</summary>
internal sealed class KubeletConnector : IDisposable
{
    private const int DefaultPort = 10250;

    private readonly ResourceStorage _nodes;
    private readonly X509Certificate2? _certificate;
    private readonly X509Certificate2Collection _authorities;
    private readonly BackendDialer _dialer;
    private readonly Lazy<HttpMessageInvoker> _unverified;

    internal KubeletConnector(ResourceStorage nodes, ApiServerOptions options, BackendDialer dialer)
    {
        _nodes = nodes;
        _certificate = options.KubeletClientCertificate;
        _authorities = options.ServerAuthorities;
        _dialer = dialer;
        Http = dialer.MakeHttp(TlsOptions(isVerified: true));
        _unverified = new Lazy<HttpMessageInvoker>(() => dialer.MakeHttp(TlsOptions(isVerified: false)));
    }

    /// <summary>For requests that are answered, not upgraded.</summary>
    internal HttpMessageInvoker Http { get; }

    /// <summary>The same, for the reader of a log who asked not to check the kubelet's certificate. Ours is shown all the same, as upstream does.</summary>
    internal HttpMessageInvoker UnverifiedHttp => _unverified.Value;

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
        var known = new List<string>();
        foreach (var address in status["addresses"u8].Elements)
            known.Add(string.Create(CultureInfo.InvariantCulture, $"{{{address["type"u8].AsString()} {address["address"u8].AsString()}}}"));
        throw ApiStatus.Unknown($"no preferred addresses found; known addresses: [{string.Join(' ', known)}]").ToException();
    }

    /// <summary>A connection of its own, for a stream that takes it over.</summary>
    internal Task<Stream> ConnectAsync(KubeletAddress address, CancellationToken cancel) =>
        _dialer.ConnectAsync(address.Host, address.Port, TlsOptions(isVerified: true), cancel);

    public void Dispose()
    {
        Http.Dispose();
        if (_unverified.IsValueCreated)
            _unverified.Value.Dispose();
    }

    private SslClientAuthenticationOptions TlsOptions(bool isVerified)
    {
        var options = isVerified
            ? new SslClientAuthenticationOptions
            {
                CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck },
            }
            : BackendDialer.UnverifiedTls();
        options.CertificateChainPolicy?.CustomTrustStore.AddRange(_authorities);
        if (_certificate is not null)
            options.ClientCertificates = [_certificate];
        return options;
    }
}
