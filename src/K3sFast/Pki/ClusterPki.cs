using System.Net;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Configuration;
using K3sFast.Datastore;
using K3sFast.Supervisor;

namespace K3sFast.Pki;

/// <summary>All keys, certificates, kubeconfigs and the token of a server, in k3s's files.</summary>
/// <remarks>Made by <see cref="Ensure"/>, which is idempotent and keeps whatever is still good. Immutable afterwards.</remarks>
internal sealed class ClusterPki : IDisposable
{
    private ClusterPki(ServerConfig config, CertificateAuthority serverCa, CertificateAuthority clientCa, CertificateAuthority requestHeaderCa, DateTimeOffset now)
    {
        ServerCa = serverCa;
        ClientCa = clientCa;
        RequestHeaderCa = requestHeaderCa;
        var tls = config.Paths.Tls;
        var agent = config.Paths.Agent;
        ServiceAccountKeyPath = Path.Combine(tls, "service.key");
        ServiceAccountKeys = new(ServiceAccountKeyPath);
        LeafCertificate Client(string name, string user, string group = "") => LeafCertificate.Ensure(tls, new(name, user, group), clientCa, now);

        Admin = Client("client-admin", "system:admin", "system:masters");
        Supervisor = Client("client-supervisor", "system:k3s-supervisor", "system:masters");
        ApiServerToKubelet = Client("client-kube-apiserver", "system:apiserver", "system:masters");
        ControllerManager = Client("client-controller", "system:kube-controller-manager");
        Scheduler = Client("client-scheduler", "system:kube-scheduler");
        CloudController = Client("client-k3s-cloud-controller", "k3s-cloud-controller-manager");
        AuthProxy = LeafCertificate.Ensure(tls, new("client-auth-proxy", "system:auth-proxy", ""), requestHeaderCa, now);
        ServingApi = LeafCertificate.Ensure(tls, ServingSpec(config), serverCa, now);

        KubeProxy = LeafCertificate.Ensure(agent, new("client-kube-proxy", "system:kube-proxy", ""), clientCa, now);
        K3sController = LeafCertificate.Ensure(agent, new("client-k3s-controller", "system:k3s-controller", ""), clientCa, now);
        Kubelet = LeafCertificate.Ensure(agent, new("client-kubelet", "system:node:" + config.NodeName, "system:nodes"), clientCa, now);
        ServingKubelet = EnsureServingKubelet(config, now);
    }

    public CertificateAuthority ServerCa { get; }
    public CertificateAuthority ClientCa { get; }
    public CertificateAuthority RequestHeaderCa { get; }
    public LeafCertificate Admin { get; }
    public LeafCertificate Supervisor { get; }
    /// <summary>What the API server shows to kubelets.</summary>
    public LeafCertificate ApiServerToKubelet { get; }
    public LeafCertificate ControllerManager { get; }
    public LeafCertificate Scheduler { get; }
    public LeafCertificate CloudController { get; }
    public LeafCertificate AuthProxy { get; }
    public LeafCertificate ServingApi { get; }
    public LeafCertificate KubeProxy { get; }
    public LeafCertificate K3sController { get; }
    public LeafCertificate Kubelet { get; }
    public LeafCertificate ServingKubelet { get; }
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
        pki.ServiceAccountKeys.Made.GetAwaiter().GetResult();
        return pki;
    }

    /// <summary>The same, but returns while <see cref="ServiceAccountKeys"/> may still be in the making.</summary>
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
            pki.WriteKubeconfigs(config);
            // Nothing is served before the names of keys and secrets are on disk.
            FileFlush.FlushAbove(pki.ServerCa.CertificatePath);
            FileFlush.FlushAbove(Path.Combine(config.Paths.Cred, "passwd"));
            return pki;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ConfigurationException($"cannot write certificates below {tls}: {e.Message}", e);
        }
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

    private void WriteKubeconfigs(ServerConfig config)
    {
        var url = Kubeconfig.ServerUrl(config);
        var cred = config.Paths.Cred;
        void Write(string directory, string name, LeafCertificate client) =>
            Kubeconfig.WriteComponent(Path.Combine(directory, name + ".kubeconfig"), url, ServerCa.CertificatePath, client.CertificatePath, client.KeyPath);
        Write(cred, "admin", Admin);
        Write(cred, "supervisor", Supervisor);
        Write(cred, "api-server", ApiServerToKubelet);
        Write(cred, "controller", ControllerManager);
        Write(cred, "scheduler", Scheduler);
        Write(cred, "cloud-controller", CloudController);
        Write(config.Paths.Agent, "kubelet", Kubelet);
        Write(config.Paths.Agent, "kubeproxy", KubeProxy);
        Write(config.Paths.Agent, "k3scontroller", K3sController);
        Kubeconfig.WriteAdmin(config, ServerCa, Admin);
    }
}
