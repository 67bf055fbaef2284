using System.Net;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Configuration;
using K3sFast.Datastore;
using K3sFast.Supervisor;

namespace K3sFast.Pki;

/// <summary>All keys, certificates, kubeconfigs and the token of a server, in k3s's files.</summary>
/// <remarks>
/// Made by <see cref="Ensure"/>, which is idempotent and keeps whatever is still good. What the server itself needs comes first (<see cref="Begin"/>); client certificates
/// and kubeconfigs, which are for programs beside it, may come later (<see cref="FinishAsync"/>). Immutable afterwards.
/// </remarks>
internal sealed class ClusterPki : IDisposable
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private Task? _finish;

    private ClusterPki(ServerConfig config, CertificateAuthority serverCa, CertificateAuthority clientCa, CertificateAuthority requestHeaderCa, DateTimeOffset now)
    {
        ServerCa = serverCa;
        ClientCa = clientCa;
        RequestHeaderCa = requestHeaderCa;
        var tls = config.Paths.Tls;
        ServiceAccountKeyPath = Path.Combine(tls, "service.key");
        ServiceAccountKeys = new(ServiceAccountKeyPath);
        ApiServerToKubelet = LeafCertificate.Ensure(tls, new("client-kube-apiserver", "system:apiserver", "system:masters"), clientCa, now);
        ServingApi = LeafCertificate.Ensure(tls, ServingSpec(config), serverCa, now);
    }

    public CertificateAuthority ServerCa { get; }
    public CertificateAuthority ClientCa { get; }
    public CertificateAuthority RequestHeaderCa { get; }
    /// <summary>What the API server shows to kubelets.</summary>
    public LeafCertificate ApiServerToKubelet { get; }
    public LeafCertificate ServingApi { get; }
    /// <summary>What nodes must show to join.</summary>
    public JoinSecrets JoinSecrets { get; private set; } = null!;
    /// <summary>May hold several PEM keys: the first signs, all verify.</summary>
    public string ServiceAccountKeyPath { get; }
    /// <summary>The file's keys, in its order.</summary>
    public ServiceAccountKeys ServiceAccountKeys { get; }

    /// <summary>Makes or renews everything, then writes token and kubeconfigs.</summary>
    /// <exception cref="ConfigurationException">A file is corrupt, expired or cannot be written; nothing good was replaced.</exception>
    public static ClusterPki Ensure(ServerConfig config, TimeProvider clock)
    {
        var pki = Begin(config, clock);
        pki.FinishAsync(config, clock).GetAwaiter().GetResult();
        pki.ServiceAccountKeys.Made.GetAwaiter().GetResult();
        return pki;
    }

    /// <summary>What the server itself needs. <see cref="ServiceAccountKeys"/> may still be in the making when it returns, and the rest is left to <see cref="FinishAsync"/>.</summary>
    /// <exception cref="ConfigurationException">A file is corrupt, expired or cannot be written; nothing good was replaced.</exception>
    public static ClusterPki Begin(ServerConfig config, TimeProvider clock)
    {
        var now = clock.GetUtcNow();
        var tls = config.Paths.Tls;
        try
        {
            var pki = new ClusterPki(config, CertificateAuthority.Open(tls, "server-ca", now), CertificateAuthority.Open(tls, "client-ca", now),
                CertificateAuthority.Open(tls, "request-header-ca", now), now);
            File.Copy(pki.ServerCa.CertificatePath, Path.Combine(config.Paths.Agent, "server-ca.crt"), overwrite: true);
            File.Copy(pki.ClientCa.CertificatePath, Path.Combine(config.Paths.Agent, "client-ca.crt"), overwrite: true);
            pki.JoinSecrets = ServerToken.Ensure(config.Paths, config.Token, config.AgentToken, pki.ServerCa);
            // Nothing is served before the names of keys and secrets are on disk.
            FileFlush.FlushAbove(pki.ServerCa.CertificatePath);
            FileFlush.FlushAbove(Path.Combine(config.Paths.Cred, "passwd"));
            // A cluster that nobody has a kubeconfig of is waited for until there is one; else what is there is good enough until the server runs.
            if (PemFiles.IsMissing(config.KubeconfigPath))
                _ = pki.FinishAsync(config, clock);
            return pki;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotWrite(tls, e);
        }
    }

    /// <summary>Makes or renews client certificates and writes kubeconfigs, on another thread; who calls again is answered the same.</summary>
    /// <returns>Fails with <see cref="ConfigurationException"/>: a file is corrupt or cannot be written; nothing good was replaced.</returns>
    public Task FinishAsync(ServerConfig config, TimeProvider clock)
    {
        lock (_gate) return _finish ??= Task.Run(() => Finish(config, clock.GetUtcNow()));
    }

    /// <summary>All names that the API's serving certificate answers to.</summary>
    public static LeafSpec ServingSpec(ServerConfig config)
    {
        var domain = config.ClusterDomain;
        var names = new List<string> { "kubernetes", "kubernetes.default", "kubernetes.default.svc", $"kubernetes.default.svc.{domain}", "localhost", config.NodeName };
        var addresses = new List<IPAddress> { IPAddress.Loopback, IPAddress.IPv6Loopback };
        foreach (var network in config.ServiceCidrs)
            addresses.Add(ServerConfig.Nth(network, 1));
        addresses.Add(config.AdvertiseAddress);
        addresses.AddRange(config.NodeIPs);
        addresses.AddRange(config.NodeExternalIPs);
        foreach (var san in config.TlsSans)
        {
            if (IPAddress.TryParse(san, out var address))
                addresses.Add(address);
            else
                names.Add(san);
        }
        return new("serving-kube-apiserver", "kube-apiserver", "")
        {
            IsClient = false,
            IsServing = true,
            DnsNames = [.. names.Distinct()],
            Addresses = [.. addresses.Distinct()],
        };
    }

    /// <summary>The kubelet's serving certificate, made anew when it has few days left. The caller disposes it.</summary>
    public X509Certificate2 RenewServingKubelet(ServerConfig config, DateTimeOffset now) => EnsureServingKubelet(config, now).Load();

    public void Dispose()
    {
        ServerCa.Dispose();
        ClientCa.Dispose();
        RequestHeaderCa.Dispose();
    }

    private LeafCertificate EnsureServingKubelet(ServerConfig config, DateTimeOffset now) => LeafCertificate.Ensure(config.Paths.Agent, new("serving-kubelet", config.NodeName, "")
    {
        IsClient = false,
        IsServing = true,
        DnsNames = [config.NodeName, "localhost"],
        Addresses = [.. config.NodeIPs.Union(config.NodeExternalIPs).Union([IPAddress.Loopback])],
    }, ServerCa, now);

    private void Finish(ServerConfig config, DateTimeOffset now)
    {
        string tls = config.Paths.Tls, agent = config.Paths.Agent, cred = config.Paths.Cred;
        var url = Kubeconfig.ServerUrl(config);
        try
        {
            Write(cred, "api-server", ApiServerToKubelet);
            Write(cred, "supervisor", Client(tls, "client-supervisor", "system:k3s-supervisor", "system:masters"));
            Write(cred, "controller", Client(tls, "client-controller", "system:kube-controller-manager"));
            Write(cred, "scheduler", Client(tls, "client-scheduler", "system:kube-scheduler"));
            Write(cred, "cloud-controller", Client(tls, "client-k3s-cloud-controller", "k3s-cloud-controller-manager"));
            Write(agent, "kubelet", Client(agent, "client-kubelet", "system:node:" + config.NodeName, "system:nodes"));
            Write(agent, "kubeproxy", Client(agent, "client-kube-proxy", "system:kube-proxy"));
            Write(agent, "k3scontroller", Client(agent, "client-k3s-controller", "system:k3s-controller"));
            LeafCertificate.Ensure(tls, new("client-auth-proxy", "system:auth-proxy", ""), RequestHeaderCa, now);
            EnsureServingKubelet(config, now);
            var admin = Client(tls, "client-admin", "system:admin", "system:masters");
            Write(cred, "admin", admin);
            FileFlush.FlushAbove(admin.CertificatePath);
            // Last: who waits for this file finds everything.
            Kubeconfig.WriteAdmin(config, ServerCa, admin);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CannotWrite(tls, e);
        }

        LeafCertificate Client(string directory, string name, string user, string group = "") => LeafCertificate.Ensure(directory, new(name, user, group), ClientCa, now);

        void Write(string directory, string name, LeafCertificate client) =>
            Kubeconfig.WriteComponent(Path.Combine(directory, name + ".kubeconfig"), url, ServerCa.CertificatePath, client.CertificatePath, client.KeyPath);
    }

    private static ConfigurationException CannotWrite(string directory, Exception why) => new($"cannot write certificates below {directory}: {why.Message}", why);
}
