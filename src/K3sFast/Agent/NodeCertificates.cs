using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Configuration;
using K3sFast.Pki;
using Microsoft.Extensions.Logging;

namespace K3sFast.Agent;

/// <summary>An agent's certificates, in k3s' files: asked for at each start, and again while it runs before they end.</summary>
/// <remarks>The properties are what is good now, for any thread. Keys are made here, stay here and are kept.</remarks>
internal sealed class NodeCertificates
{
    private static readonly TimeSpan s_look = TimeSpan.FromHours(6);

    private readonly NodePaths _paths;
    private readonly NodeIdentity _node;
    private readonly ILogger _log;
    private volatile X509Certificate2 _kubelet = null!, _serving = null!, _proxy = null!, _controller = null!;

    private NodeCertificates(NodePaths paths, NodeIdentity node, ILogger log) => (_paths, _node, _log) = (paths, node, log);

    /// <summary>The node's own identity.</summary>
    public X509Certificate2 Kubelet => _kubelet;

    /// <summary>What the kubelet's API shows.</summary>
    public X509Certificate2 ServingKubelet => _serving;

    /// <summary>Reads Services for the node.</summary>
    public X509Certificate2 KubeProxy => _proxy;

    /// <summary>Keeps the node's network.</summary>
    public X509Certificate2 Controller => _controller;

    /// <summary>Whom the node believes to be the API.</summary>
    public X509Certificate2Collection ServerAuthorities { get; } = [];

    /// <summary>Whose client certificates the kubelet believes.</summary>
    public X509Certificate2Collection ClientAuthorities { get; } = [];

    /// <summary>Fetches both CAs and all certificates.</summary>
    /// <exception cref="ServerRefusedException">The server knows neither token nor node.</exception>
    public static async Task<NodeCertificates> ObtainAsync(SupervisorClient supervisor, NodePaths paths, NodeIdentity node, ILogger log, CancellationToken cancellationToken)
    {
        var certificates = new NodeCertificates(paths, node, log);
        await Task.WhenAll(
            certificates.FetchAuthoritiesAsync(supervisor, "client-ca", certificates.ClientAuthorities, cancellationToken),
            certificates.FetchAuthoritiesAsync(supervisor, "server-ca", certificates.ServerAuthorities, cancellationToken),
            certificates.SignAllAsync(supervisor, cancellationToken)).ConfigureAwait(false);
        return certificates;
    }

    /// <summary>Renews in good time, until cancelled.</summary>
    public async Task FollowAsync(SupervisorClient supervisor, TimeProvider clock, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            await Task.Delay(s_look, clock, cancellationToken).ConfigureAwait(false);
            await RenewIfDueAsync(supervisor, clock.GetUtcNow(), cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Renews when one of them has few days left; true = it did.</summary>
    public async Task<bool> RenewIfDueAsync(SupervisorClient supervisor, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var end = new[] { _kubelet, _serving, _proxy, _controller }.Min(static certificate => certificate.NotAfter);
        if (end > now.AddDays(LeafSpec.RenewDays))
            return false;
        await SignAllAsync(supervisor, cancellationToken).ConfigureAwait(false);
        _log.CertificatesRenewed(_kubelet.NotAfter.ToUniversalTime().ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture));
        return true;
    }

    private async Task SignAllAsync(SupervisorClient supervisor, CancellationToken cancellationToken)
    {
        // The first one alone: a node that is refused is refused once.
        _kubelet = await SignAsync(supervisor, "client-kubelet", cancellationToken).ConfigureAwait(false);
        var serving = SignAsync(supervisor, "serving-kubelet", cancellationToken);
        var proxy = SignAsync(supervisor, "client-kube-proxy", cancellationToken);
        var controller = SignAsync(supervisor, "client-k3s-controller", cancellationToken);
        _serving = await serving.ConfigureAwait(false);
        _proxy = await proxy.ConfigureAwait(false);
        _controller = await controller.ConfigureAwait(false);
    }

    private async Task FetchAuthoritiesAsync(SupervisorClient supervisor, string name, X509Certificate2Collection authorities, CancellationToken cancellationToken)
    {
        var pem = Encoding.UTF8.GetString(await supervisor.GetAsync($"/v1-k3s/{name}.crt", cancellationToken).ConfigureAwait(false));
        PemFiles.WriteCertificates(Path.Combine(_paths.Agent, name + ".crt"), pem);
        authorities.ImportFromPem(pem);
    }

    private async Task<X509Certificate2> SignAsync(SupervisorClient supervisor, string name, CancellationToken cancellationToken)
    {
        var certificatePath = Path.Combine(_paths.Agent, name + ".crt");
        var keyPath = Path.Combine(_paths.Agent, name + ".key");
        using var key = LeafCertificate.EnsureKey(keyPath);
        string pem;
        try
        {
            pem = await supervisor.SignAsync(name, key, _node, KnownIdentity(), cancellationToken).ConfigureAwait(false);
        }
        catch (ServerRefusedException e) when (e.StatusCode is 400 or 401)
        {
            // The certificate is of another cluster, or the node was deleted: join anew.
            pem = await supervisor.SignAsync(name, key, _node, null, cancellationToken).ConfigureAwait(false);
        }
        PemFiles.WriteCertificates(certificatePath, pem);
        return X509Certificate2.CreateFromPemFile(certificatePath, keyPath);
    }

    // The certificate of the last start, while it is good.
    private X509Certificate2? KnownIdentity()
    {
        if (_kubelet is { } known)
            return known;
        var certificate = Path.Combine(_paths.Agent, "client-kubelet.crt");
        var key = Path.Combine(_paths.Agent, "client-kubelet.key");
        if (PemFiles.IsMissing(certificate) || PemFiles.IsMissing(key))
            return null;
        try
        {
            var kept = X509Certificate2.CreateFromPemFile(certificate, key);
            return kept.NotAfter > DateTime.Now ? kept : null;
        }
        catch (CryptographicException)
        {
            return null;
        }
    }
}
