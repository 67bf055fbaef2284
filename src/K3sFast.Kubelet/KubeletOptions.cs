using System.Net;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Kubelet;

/// <summary>Everything the node agent is told by its owner. Immutable; paths are absolute.</summary>
public sealed record KubeletOptions
{
    /// <summary>Name of the Node object; also the hostname label.</summary>
    public required string NodeName { get; init; }

    /// <summary>Addresses of the node, primary first.</summary>
    public required IReadOnlyList<IPAddress> NodeIPs { get; init; }

    /// <summary>Addresses by which the world reaches the node.</summary>
    public IReadOnlyList<IPAddress> ExternalIPs { get; init; } = [];

    /// <summary>The node's hostname as addresses show it; the node name when empty.</summary>
    public string Hostname { get; init; } = "";

    /// <summary>Where pods' volumes and files live.</summary>
    public string RootDir { get; init; } = "/var/lib/kubelet";

    /// <summary>Where the runtime writes the containers' logs.</summary>
    public string PodLogsDir { get; init; } = "/var/log/pods";

    /// <summary>Socket of the container runtime (CRI runtime.v1).</summary>
    public required string ContainerdSocket { get; init; }

    /// <summary>Folder of static pod manifests; "" = none.</summary>
    public string ManifestDir { get; init; } = "";

    /// <summary>Addresses of the cluster's DNS service.</summary>
    public IReadOnlyList<IPAddress> ClusterDns { get; init; } = [];

    /// <summary>Domain of the cluster, without dots at its ends.</summary>
    public string ClusterDomain { get; init; } = "cluster.local";

    /// <summary>The host's resolver configuration, for dnsPolicy Default and as the upstream of search lists.</summary>
    public string ResolvConf { get; init; } = "/etc/resolv.conf";

    /// <summary>Cgroup below which <c>kubepods</c> is made; "/" = the hierarchy's root. Relative to each controller's mount.</summary>
    public string CgroupRoot { get; init; } = "/";

    /// <summary>Mount point of the cgroup file systems.</summary>
    public string CgroupMount { get; init; } = "/sys/fs/cgroup";

    /// <summary>Pods that the node takes.</summary>
    public int MaxPods { get; init; } = 110;

    /// <summary>Processes per pod; 0 = unlimited.</summary>
    public long PodPidsLimit { get; init; }

    /// <summary>Version that the node reports.</summary>
    public string KubeletVersion { get; init; } = "v1.36.2+k3sfast1";

    /// <summary>Labels that the node is registered with, beyond the well-known ones.</summary>
    public IReadOnlyDictionary<string, string> NodeLabels { get; init; } = new Dictionary<string, string>();

    /// <summary>Taints that the node is registered with, in the form <c>key=value:effect</c>.</summary>
    public IReadOnlyList<string> NodeTaints { get; init; } = [];

    /// <summary>Annotations that the node is registered with.</summary>
    public IReadOnlyDictionary<string, string> NodeAnnotations { get; init; } = new Dictionary<string, string>();

    /// <summary>providerID of the node; k3s's form when empty.</summary>
    public string ProviderId { get; init; } = "";

    /// <summary>Address that the kubelet's API listens on.</summary>
    public IPAddress BindAddress { get; init; } = IPAddress.Any;

    /// <summary>Port of the kubelet's API; negative = not served.</summary>
    public int Port { get; init; } = 10250;

    /// <summary>Port of the plain health check on the loopback; negative = not served.</summary>
    public int HealthzPort { get; init; } = 10248;

    /// <summary>Serving certificate with its key. Asked at each handshake, so that a renewed one is used at once.</summary>
    public Func<X509Certificate2>? ServingCertificate { get; init; }

    /// <summary>Authorities whose client certificates are believed.</summary>
    public IReadOnlyList<X509Certificate2> ClientCAs { get; init; } = [];

    /// <summary>A container's log is turned over at this size.</summary>
    public long ContainerLogMaxBytes { get; init; } = 10 * 1024 * 1024;

    /// <summary>Log files that are kept per container, the current one included.</summary>
    public int ContainerLogMaxFiles { get; init; } = 5;

    /// <summary>How often the node's Lease is renewed (upstream: a quarter of its 40 s).</summary>
    public TimeSpan LeaseRenewInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How often an unchanged node status is written anyway.</summary>
    public TimeSpan NodeStatusReportInterval { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How often the node is looked at for changes.</summary>
    public TimeSpan NodeStatusUpdateInterval { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Highest wait of the restart back-off.</summary>
    public TimeSpan MaxContainerBackOff { get; init; } = TimeSpan.FromSeconds(300);

    /// <summary>Seconds that a static pod or one without a grace period is given.</summary>
    public int DefaultGracePeriodSeconds { get; init; } = 30;

    /// <summary>Unsafe sysctls that pods may set, as exact names or prefixes ending in <c>*</c>.</summary>
    public IReadOnlyList<string> AllowedUnsafeSysctls { get; init; } = [];

    /// <summary>Folder of seccomp profiles of type Localhost.</summary>
    public string SeccompProfileRoot => Path.Combine(RootDir, "seccomp");

    internal string PrimaryIP => NodeIPs.Count > 0 ? NodeIPs[0].ToString() : "";
    internal string PodDir(string podUid) => Path.Combine(RootDir, "pods", podUid);
    internal string PodLogDir(string namespaceName, string name, string uid) => Path.Combine(PodLogsDir, $"{namespaceName}_{name}_{uid}");
}
