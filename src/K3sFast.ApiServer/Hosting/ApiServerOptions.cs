using System.Net.Security;
using System.Security.Authentication;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiMachinery;
using K3sFast.Datastore.Transformers;

namespace K3sFast.ApiServer;

/// <summary>Everything the API server needs to be told. Certificates and keys are handed over loaded; files are the caller's business.</summary>
public sealed record ApiServerOptions
{
    /// <summary>Where to listen; the unspecified address listens on all.</summary>
    public IPAddress BindAddress { get; init; } = IPAddress.Any;

    /// <summary>The TLS port; 0 takes a free one (<see cref="ApiServer.Port"/> tells which).</summary>
    public int Port { get; init; } = 6443;

    /// <summary>The address that clients inside the cluster are sent to: the endpoint of the kubernetes Service.</summary>
    public IPAddress AdvertiseAddress { get; init; } = IPAddress.Loopback;

    /// <summary>The serving certificate with its private key.</summary>
    public required X509Certificate2 ServingCertificate { get; init; }

    /// <summary>Intermediates that are sent with the serving certificate.</summary>
    public X509Certificate2Collection ServingChain { get; init; } = [];

    /// <summary>The CA of our serving certificates: published for pods, and trusted for kubelets.</summary>
    public required X509Certificate2Collection ServerAuthorities { get; init; }

    /// <summary>Certificates for clients that ask for certain names; all others are shown <see cref="ServingCertificate"/>.</summary>
    public IReadOnlyList<NamedCertificate> NamedCertificates { get; init; } = [];

    /// <summary>The CAs whose client certificates are users.</summary>
    public required X509Certificate2Collection ClientAuthorities { get; init; }

    /// <summary>Credentials that are believed besides those.</summary>
    public AuthenticationOptions Authentication { get; init; } = new();

    /// <summary>Who says what a user may do.</summary>
    public AuthorizationOptions Authorization { get; init; } = new();

    /// <summary>What is recorded of requests.</summary>
    public AuditOptions Audit { get; init; } = new();

    /// <summary>The certificate by which we are known to kubelets (group system:masters, or bound to system:kubelet-api-admin).</summary>
    public X509Certificate2? KubeletClientCertificate { get; init; }

    /// <summary>RSA or EC keys of service-account tokens: the first signs, all verify.</summary>
    public required IReadOnlyList<AsymmetricAlgorithm> ServiceAccountKeys { get; init; }

    /// <summary>The issuer of service-account tokens; null makes it of the cluster domain.</summary>
    public string? ServiceAccountIssuer { get; init; }

    /// <summary>Further issuers whose tokens our keys signed and that are still believed.</summary>
    public IReadOnlyList<string> FormerServiceAccountIssuers { get; init; } = [];

    /// <summary>Where the discovery document says our keys are; "" = at the advertised address.</summary>
    public string ServiceAccountKeysUrl { get; init; } = "";

    /// <summary>How long tokens of service accounts live.</summary>
    public ServiceAccountTokenOptions ServiceAccountTokens { get; init; } = new();

    /// <summary>The audiences that tokens for us may name; null is the issuer and "k3s".</summary>
    public IReadOnlyList<string>? ServiceAccountAudiences { get; init; }

    /// <summary>The file that <see cref="ClientAuthorities"/> are read from again when it changes; "" = they stay as they are.</summary>
    public string ClientAuthoritiesFile { get; init; } = "";

    /// <summary>The name by which clients outside reach the server; "" = its address.</summary>
    public string ExternalHostname { get; init; } = "";

    /// <summary>Patterns of origins whose browsers may use the API.</summary>
    public IReadOnlyList<string> AllowedOrigins { get; init; } = [];

    /// <summary>What every answer says in Strict-Transport-Security; "" = nothing.</summary>
    public string StrictTransportSecurity { get; init; } = "";

    /// <summary>The versions of TLS that are spoken.</summary>
    public SslProtocols TlsVersions { get; init; } = SslProtocols.Tls12 | SslProtocols.Tls13;

    /// <summary>The cipher suites that are spoken up to TLS 1.2; empty = OpenSSL's own choice.</summary>
    public IReadOnlyList<TlsCipherSuite> CipherSuites { get; init; } = [];

    /// <summary>How long a stopping server goes on serving while it says that it is not ready, so that load balancers notice.</summary>
    public TimeSpan ShutdownDelay { get; init; }

    /// <summary>The range of Service addresses.</summary>
    public IPNetwork ServiceCidr { get; init; } = new(new IPAddress([10, 43, 0, 0]), 16);

    /// <summary>The range of the other address family, for dual-stack Services.</summary>
    public IPNetwork? SecondaryServiceCidr { get; init; }

    /// <summary>First and last node port.</summary>
    public (int First, int Last) NodePortRange { get; init; } = (30000, 32767);

    /// <summary>Admission plugins that are on beside those that always are; k3s has NodeRestriction here.</summary>
    public IReadOnlyList<string> EnabledAdmissionPlugins { get; init; } = ["NodeRestriction"];

    /// <summary>Admission plugins that are off though they are on by default.</summary>
    public IReadOnlyList<string> DisabledAdmissionPlugins { get; init; } = [];

    /// <summary>Path of an AdmissionConfiguration; "" is none.</summary>
    public string AdmissionControlConfigFile { get; init; } = "";

    /// <summary>How long pods stay on a node that is not ready, unless they say so themselves.</summary>
    public long DefaultNotReadyTolerationSeconds { get; init; } = 300;

    /// <summary>How long pods stay on a node that cannot be reached, unless they say so themselves.</summary>
    public long DefaultUnreachableTolerationSeconds { get; init; } = 300;

    /// <summary>The DNS domain of the cluster.</summary>
    public string ClusterDomain { get; init; } = "cluster.local";

    /// <summary>What /version says, for example v1.36.2+k3sfast1.</summary>
    public string GitVersion { get; init; } = "v1.36.2+k3sfast1";

    /// <summary>The commit that /version names.</summary>
    public string GitCommit { get; init; } = "unknown";

    /// <summary>When that commit was made, RFC 3339.</summary>
    public string BuildDate { get; init; } = "1970-01-01T00:00:00Z";

    /// <summary>Bytes of the datastore on disk, for /metrics; null when nobody can tell.</summary>
    public Func<long>? StoreSizeBytes { get; init; }

    /// <summary>The form in which values are stored: encryption at rest; null = as they are, and what is stored encrypted is refused.</summary>
    public IValueTransformer? ValueTransformer { get; init; }

    /// <summary>How long events are kept.</summary>
    public TimeSpan EventTtl { get; init; } = TimeSpan.FromHours(1);

    /// <summary>The name of the host, by which this server is known among others.</summary>
    public string Hostname { get; init; } = Environment.MachineName;

    /// <summary>Longest body that is read: upstream's limit.</summary>
    public int MaxRequestBodyBytes { get; init; } = 3 * 1024 * 1024;

    /// <summary>Reading requests that are served at once; together with the next, the seats of priority and fairness. 0 = no limit, without fairness.</summary>
    public int MaxRequestsInFlight { get; init; } = 400;

    /// <summary>Writing requests that are served at once.</summary>
    public int MaxMutatingRequestsInFlight { get; init; } = 200;

    /// <summary>Requests wait in fair queues by FlowSchema and PriorityLevelConfiguration objects; else the two limits alone hold.</summary>
    public bool EnablePriorityAndFairness { get; init; } = true;

    /// <summary>How long a request may take that is not long-running.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>The part of requests after which an HTTP/2 connection is asked to close.</summary>
    public double GoAwayChance { get; init; }

    /// <summary>Streams on one HTTP/2 connection; watches are streams.</summary>
    public int Http2MaxStreamsPerConnection { get; init; } = 250;

    /// <summary>Deletions of one collection that are under way at once. Upstream's default is one; with one, ten thousand objects take ten thousand flushes.</summary>
    public int DeleteCollectionWorkers { get; init; } = 16;

    /// <summary>A watch without a timeout of its own ends after this time at least, and twice this time at most.</summary>
    public TimeSpan MinRequestTimeout { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>How long a stopping server waits for requests in flight before it cuts them.</summary>
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Which group versions and resources are served, other than by default.</summary>
    public RuntimeConfig RuntimeConfig { get; init; } = RuntimeConfig.Default;

    /// <summary>Feature gates that are not as by default. They hold for the process, from the making of the server on.</summary>
    public FeatureGates FeatureGates { get; init; } = FeatureGates.Default;

    /// <summary>The flags of kube-apiserver that were given, with their values, for /flagz.</summary>
    public IReadOnlyDictionary<string, string> Flags { get; init; } = new Dictionary<string, string>();

    /// <summary>Who answers the paths by which nodes join; null = nobody.</summary>
    public ISupervisorPaths? Supervisor { get; init; }

    /// <summary>Roles and bindings that the cluster is born with beside upstream's, in the table's form: see <c>BootstrapPolicy</c>.</summary>
    public IReadOnlyList<string> FurtherRoles { get; init; } = [];

    /// <summary>The clock.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Opens connections to kubelets, pods and endpoints in another way than over this machine's network: host, port, cancellation.</summary>
    public Func<string, int, CancellationToken, ValueTask<Stream>>? DialBackend { get; init; }

    /// <summary>Plugins that admission asks after all others.</summary>
    internal IReadOnlyList<AdmissionPlugin> MoreAdmission { get; init; } = [];

    internal string Issuer => ServiceAccountIssuer ?? $"https://kubernetes.default.svc.{ClusterDomain}";
}

/// <summary>The API server cannot start; the message says what, where, and what to do.</summary>
public sealed class ApiServerStartException(string message, Exception? inner = null) : Exception(message, inner);
