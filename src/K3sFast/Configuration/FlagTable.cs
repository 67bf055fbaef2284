using static K3sFast.Configuration.FlagKind;
using static K3sFast.Configuration.FlagState;

namespace K3sFast.Configuration;

/// <summary>Every flag and environment variable of <c>k3s server</c> and <c>k3s agent</c>, by k3s's names, and which of them work here.</summary>
/// <remarks>The one place that knows a flag: the parser, the config file, the help text and the warnings all read this table.</remarks>
internal static class FlagTable
{
    public const string DefaultConfigFile = "/etc/rancher/k3s/config.yaml";
    public const string DefaultDataDir = "/var/lib/rancher/k3s";
    public const string DefaultKubeconfig = "/etc/rancher/k3s/k3s.yaml";
    public const string DefaultRunDir = "/run/k3s";

    private const string Logging = "logging";
    private const string Listener = "listener";
    private const string Cluster = "cluster";
    private const string Data = "data";
    private const string Database = "db";
    private const string Client = "client";
    private const string Flags = "flags";
    private const string Networking = "networking";
    private const string Components = "components";
    private const string Node = "agent/node";
    private const string Runtime = "agent/runtime";
    private const string AgentNet = "agent/networking";
    private const string Experimental = "experimental";
    private const string Old = "deprecated";

    /// <summary>Rows in the order in which <c>--help</c> prints them.</summary>
    public static FlagSpec[] Server { get; } =
    [
        new("config", Text, Works, Data, "Load configuration from FILE") { Short = "c", Environment = ["K3S_CONFIG_FILE"], Default = DefaultConfigFile },
        new("debug", Switch, Works, Logging, "Turn on debug logs") { Environment = ["K3S_DEBUG"] },
        new("v", Number, Works, Logging, "Number for the log level verbosity (4 and above: debug)") { Default = "0" },
        new("vmodule", Text, NotYet, Logging, "Comma-separated list of FILE_PATTERN=LOG_LEVEL settings"),
        new("log", Text, Works, Logging, "Log to file") { Short = "l" },
        new("alsologtostderr", Switch, Works, Logging, "Log to standard error as well as file (if set)"),
        new("data-dir", Text, Works, Data, "Folder to hold state") { Short = "d", Environment = ["K3S_DATA_DIR"], Default = DefaultDataDir },
        new("run-dir", Text, Works, Data, "Folder for sockets and run-time state (k3sfast only; default /run/k3s, or /run/k3s-<hash> when --data-dir is moved)")
            { Environment = ["K3SFAST_RUN_DIR"] },

        new("bind-address", Text, Works, Listener, "k3s bind address") { Default = "0.0.0.0" },
        new("https-listen-port", Number, Works, Listener, "HTTPS listen port") { Default = "6443" },
        new("supervisor-port", Number, NotYet, Listener, "Supervisor listen port") { IsHidden = true, Environment = ["K3S_SUPERVISOR_PORT"] },
        new("apiserver-port", Number, NotYet, Listener, "API server listen port") { IsHidden = true, Environment = ["K3S_APISERVER_PORT"] },
        new("apiserver-bind-address", Text, NotYet, Listener, "API server bind address") { IsHidden = true, Environment = ["K3S_APISERVER_BIND_ADDRESS"] },
        new("advertise-address", Text, Works, Listener, "IPv4/IPv6 address that apiserver uses to advertise to members of the cluster (default: node-external-ip/node-ip)"),
        new("advertise-port", Number, Works, Listener, "Port that apiserver uses to advertise to members of the cluster (default: listen-port)"),
        new("tls-san", CommaList, Works, Listener, "Add additional hostnames or IPv4/IPv6 addresses as Subject Alternative Names on the server TLS cert"),
        new("tls-san-security", Switch, Works, Listener, "Only the names told by flags are put on the server TLS cert") { Default = "true" },

        new("cluster-cidr", CommaList, Works, Networking, "IPv4/IPv6 network CIDRs to use for pod IPs") { Default = "10.42.0.0/16" },
        new("service-cidr", CommaList, Works, Networking, "IPv4/IPv6 network CIDRs to use for service IPs") { Default = "10.43.0.0/16" },
        new("service-node-port-range", Text, Works, Networking, "Port range to reserve for services with NodePort visibility") { Default = "30000-32767" },
        new("cluster-dns", CommaList, Works, Networking, "IPv4/IPv6 Cluster IP for the DNS service (default: the tenth address of service-cidr)"),
        new("cluster-domain", Text, Works, Networking, "Cluster Domain") { Default = "cluster.local" },
        new("flannel-backend", Text, Works, Networking, "Backend for traffic between nodes (valid values: 'none', 'vxlan', 'host-gw', 'wireguard-native')") { Default = "vxlan" },
        new("flannel-ipv6-masq", Switch, Works, Networking, "Enable IPv6 masquerading for pod"),
        new("flannel-external-ip", Switch, Works, Networking, "Use node external IP addresses for traffic between nodes"),
        new("egress-selector-mode", Text, NotYet, Networking, "One of 'agent', 'cluster', 'pod', 'disabled'") { Default = "agent" },
        new("servicelb-namespace", Text, NotYet, Networking, "Namespace of the pods for the servicelb component") { Default = "kube-system" },

        new("write-kubeconfig", Text, Works, Client, "Write kubeconfig for admin client to this file")
            { Short = "o", Environment = ["K3S_KUBECONFIG_OUTPUT"], Default = DefaultKubeconfig },
        new("write-kubeconfig-mode", Text, Works, Client, "Write kubeconfig with this mode") { Environment = ["K3S_KUBECONFIG_MODE"], Default = "0600" },
        new("write-kubeconfig-group", Text, Works, Client, "Write kubeconfig with this group") { Environment = ["K3S_KUBECONFIG_GROUP"] },
        new("helm-job-image", Text, NotYet, Client, "Default image to use for helm jobs"),
        new("helm-job-tolerations", Text, NotYet, Client, "Tolerations of helm jobs, a JSON list"),
        new("helm-controller-arg", List, NotYet, Flags, "Customized flag for the helm controller"),

        new("token", Text, Works, Cluster, "Shared secret used to join a server or agent to a cluster") { Short = "t", Environment = ["K3S_TOKEN"] },
        new("token-file", Text, Works, Cluster, "File containing the token") { Environment = ["K3S_TOKEN_FILE"] },
        new("agent-token", Text, Works, Cluster, "Shared secret used to join agents to the cluster, but not servers") { Environment = ["K3S_AGENT_TOKEN"] },
        new("agent-token-file", Text, Works, Cluster, "File containing the agent secret") { Environment = ["K3S_AGENT_TOKEN_FILE"] },
        new("server", Text, Refused, Cluster, "Server to connect to, used to join a cluster") { Short = "s", Environment = ["K3S_URL"] },
        new("cluster-init", Switch, Refused, Cluster, "Initialize a new cluster using embedded etcd") { Environment = ["K3S_CLUSTER_INIT"] },
        new("cluster-reset", Switch, Refused, Cluster, "Forget all peers and become sole member of a new cluster") { Environment = ["K3S_CLUSTER_RESET"] },
        new("cluster-reset-restore-path", Text, Refused, Database, "Path to snapshot file to be restored"),

        new("kube-apiserver-arg", List, Works, Flags, "Customized flag for kube-apiserver process"),
        new("kube-controller-manager-arg", List, Works, Flags, "Customized flag for kube-controller-manager process"),
        new("kube-controller-arg", List, Works, Flags, "Old name of kube-controller-manager-arg") { IsHidden = true },
        new("kube-scheduler-arg", List, Works, Flags, "Customized flag for kube-scheduler process"),
        new("kube-cloud-controller-manager-arg", List, NotYet, Flags, "Customized flag for kube-cloud-controller-manager process"),
        new("kube-cloud-controller-arg", List, NotYet, Flags, "Old name of kube-cloud-controller-manager-arg") { IsHidden = true },
        new("etcd-arg", List, NotYet, Flags, "Customized flag for etcd process"),
        new("kubelet-arg", List, Works, Flags, "Customized flag for kubelet process (root-dir, pod-logs-dir, max-pods, port, healthz-port, address, ...)"),
        new("kube-proxy-arg", List, Works, Flags, "Customized flag for kube-proxy process"),

        new("datastore-endpoint", Text, Works, Database, "Specify etcd, MySQL, PostgreSQL, or SQLite (default) data source name") { Environment = ["K3S_DATASTORE_ENDPOINT"] },
        new("datastore-cafile", Text, Works, Database, "TLS Certificate Authority file used to secure datastore backend communication") { Environment = ["K3S_DATASTORE_CAFILE"] },
        new("datastore-certfile", Text, Works, Database, "TLS certification file used to secure datastore backend communication") { Environment = ["K3S_DATASTORE_CERTFILE"] },
        new("datastore-keyfile", Text, Works, Database, "TLS key file used to secure datastore backend communication") { Environment = ["K3S_DATASTORE_KEYFILE"] },
        new("kine-tls", Switch, NotYet, Database, "TLS on the kine socket") { IsHidden = true },
        new("etcd-expose-metrics", Switch, NotYet, Database, "Expose etcd metrics to client interface"),
        new("etcd-disable-snapshots", Switch, NotYet, Database, "Disable automatic etcd snapshots"),
        new("etcd-snapshot-name", Text, NotYet, Database, "Set the base name of etcd snapshots") { Default = "etcd-snapshot" },
        new("etcd-snapshot-schedule-cron", Text, NotYet, Database, "Snapshot interval time in cron spec") { Default = "0 */12 * * *" },
        new("etcd-snapshot-retention", Number, NotYet, Database, "Number of snapshots to retain") { Default = "5" },
        new("etcd-snapshot-dir", Text, NotYet, Database, "Directory to save db snapshots"),
        new("etcd-snapshot-compress", Switch, NotYet, Database, "Compress etcd snapshot"),
        new("etcd-snapshot-reconcile-interval", Text, NotYet, Database, "Snapshot reconcile interval") { Default = "10m" },
        .. S3(),

        new("default-local-storage-path", Text, NotYet, Components, "Default local storage path for local provisioner storage class"),
        new("disable", CommaList, Works, Components, "Do not deploy packaged components and delete any deployed components (coredns, servicelb, traefik, local-storage, metrics-server, runtimes)"),
        new("disable-scheduler", Switch, Works, Components, "Disable Kubernetes default scheduler"),
        new("disable-cloud-controller", Switch, Works, Components, "Disable k3s default cloud controller manager"),
        new("disable-kube-proxy", Switch, Works, Components, "Disable running kube-proxy"),
        new("disable-network-policy", Switch, Works, Components, "Disable k3s default network policy controller"),
        new("disable-helm-controller", Switch, Works, Components, "Disable Helm controller"),
        new("disable-apiserver", Switch, Refused, Components, "Disable running api server") { IsHidden = true },
        new("disable-controller-manager", Switch, Works, Components, "Disable running kube-controller-manager") { IsHidden = true },
        new("disable-etcd", Switch, Refused, Components, "Disable running etcd") { IsHidden = true },
        new("disable-agent", Switch, Works, Components, "Do not run a local agent and register a local kubelet") { IsHidden = true },
        new("embedded-registry", Switch, NotYet, Components, "Enable embedded distributed container registry"),
        new("supervisor-metrics", Switch, NotYet, Components, "Serve internal metrics on the supervisor port"),
        new("secrets-encryption", Switch, Refused, Experimental, "Enable secret encryption at rest"),
        new("secrets-encryption-provider", Text, NotYet, Experimental, "Secret encryption provider (valid values: 'aescbc', 'secretbox')") { Default = "aescbc" },
        new("enable-pprof", Switch, NotYet, Experimental, "Enable pprof endpoint on supervisor port"),
        new("rootless", Switch, Refused, Experimental, "Run rootless"),
        new("prefer-bundled-bin", Switch, Works, Experimental, "Prefer bundled userspace binaries over host binaries (k3sfast executes none)"),
        new("selinux", Switch, NotYet, Node, "Enable SELinux in containerd") { Environment = ["K3S_SELINUX"] },
        new("lb-server-port", Number, Works, Node, "Local port for supervisor client load-balancer") { Environment = ["K3S_LB_SERVER_PORT"], Default = "6444" },

        new("node-name", Text, Works, Node, "Node name (default: the host name)") { Environment = ["K3S_NODE_NAME"] },
        new("with-node-id", Switch, Works, Node, "Append id to node name"),
        new("node-label", List, Works, Node, "Registering and starting kubelet with set of labels"),
        new("node-taint", List, Works, Node, "Registering kubelet with set of taints"),
        new("image-credential-provider-bin-dir", Text, NotYet, Node, "The path to the directory where credential provider plugin binaries are located"),
        new("image-credential-provider-config", Text, NotYet, Node, "The path to the credential provider plugin config file"),
        new("protect-kernel-defaults", Switch, NotYet, Node, "Kernel tuning behavior: error if kernel tunables are different than kubelet defaults"),
        new("node-ip", CommaList, Works, AgentNet, "IPv4/IPv6 addresses to advertise for node") { Short = "i" },
        new("node-external-ip", CommaList, Works, AgentNet, "IPv4/IPv6 external IP addresses to advertise for node"),
        new("node-internal-dns", CommaList, NotYet, AgentNet, "Internal DNS addresses to advertise for node"),
        new("node-external-dns", CommaList, NotYet, AgentNet, "External DNS addresses to advertise for node"),
        new("resolv-conf", Text, Works, AgentNet, "Kubelet resolv.conf file") { Environment = ["K3S_RESOLV_CONF"] },
        new("flannel-iface", Text, Works, AgentNet, "Override default interface for traffic between nodes"),
        new("flannel-conf", Text, Works, AgentNet, "Override default flannel config file"),
        new("flannel-cni-conf", Text, Works, AgentNet, "Override default flannel cni config file"),
        new("vpn-auth", Text, NotYet, AgentNet, "Credentials for the VPN provider") { Environment = ["K3S_VPN_AUTH"] },
        new("vpn-auth-file", Text, NotYet, AgentNet, "File containing credentials for the VPN provider") { Environment = ["K3S_VPN_AUTH_FILE"] },
        new("private-registry", Text, NotYet, Runtime, "Private registry configuration file") { Default = "/etc/rancher/k3s/registries.yaml" },
        new("system-default-registry", Text, NotYet, Runtime, "Private registry to be used for all system images") { Environment = ["K3S_SYSTEM_DEFAULT_REGISTRY"] },
        new("airgap-extra-registry", List, NotYet, Runtime, "Additional registry to tag airgap images as being sourced from") { IsHidden = true },
        new("pause-image", Text, Works, Runtime, "Customized pause image for containerd sandbox (default: k3sfast's own, built in)"),
        new("snapshotter", Text, Works, Runtime, "Override default containerd snapshotter") { Default = "overlayfs" },
        new("container-runtime-endpoint", Text, Works, Runtime, "Disable embedded containerd and use the CRI socket at the given path"),
        new("image-service-endpoint", Text, NotYet, Runtime, "Disable embedded containerd image service and use remote image service socket at the given path"),
        new("default-runtime", Text, Works, Runtime, "Set the default runtime in containerd") { Default = "runc" },
        new("nonroot-devices", Switch, Works, Runtime, "Allows non-root pods to access devices"),
        new("disable-default-registry-endpoint", Switch, NotYet, Runtime, "Disables containerd fallback default registry endpoint when a mirror is configured for that registry"),
        new("docker", Switch, Refused, Runtime, "Use cri-dockerd instead of containerd"),

        new("no-flannel", Switch, Deprecated, Old, "Use --flannel-backend=none") { IsHidden = true, Successor = "flannel-backend=none" },
        new("no-deploy", List, Deprecated, Old, "Use --disable") { IsHidden = true, Successor = "disable" },
        new("cluster-secret", Text, Deprecated, Old, "Use --token") { IsHidden = true, Successor = "token", Environment = ["K3S_CLUSTER_SECRET"] },
        new("disable-selinux", Switch, Deprecated, Old, "SELinux is off unless --selinux is given") { IsHidden = true, Successor = "selinux" },
    ];

    // What k3s's agent takes of the rows above.
    private static readonly string[] s_agent =
    [
        "config", "debug", "v", "vmodule", "log", "alsologtostderr", "data-dir", "run-dir", "token", "token-file", "server", "bind-address",
        "kubelet-arg", "kube-proxy-arg", "enable-pprof", "rootless", "prefer-bundled-bin", "selinux", "lb-server-port",
        "node-name", "with-node-id", "node-label", "node-taint", "image-credential-provider-bin-dir", "image-credential-provider-config", "protect-kernel-defaults",
        "node-ip", "node-external-ip", "node-internal-dns", "node-external-dns", "resolv-conf", "flannel-iface", "flannel-conf", "flannel-cni-conf",
        "vpn-auth", "vpn-auth-file", "private-registry", "airgap-extra-registry", "pause-image", "snapshotter", "container-runtime-endpoint",
        "image-service-endpoint", "default-runtime", "nonroot-devices", "disable-default-registry-endpoint", "docker",
        "no-flannel", "cluster-secret", "disable-selinux",
    ];

    private static readonly FlagSpec s_noLoadBalancer = new("disable-apiserver-lb", Switch, Works, Cluster, "Disable the agent's client-side load-balancer and connect directly to the configured server address");

    /// <summary>Flags of <c>k3sfast server</c>.</summary>
    public static FlagSet ServerFlags { get; } = new(Server);

    /// <summary>Flags of <c>k3sfast agent</c>.</summary>
    public static FlagSet AgentFlags { get; } = new([
        .. Server.Where(static flag => s_agent.Contains(flag.Name)).Select(static flag => flag.Name == "server" ? flag with { State = Works, Help = "Server to connect to" } : flag),
        s_noLoadBalancer,
    ]);

    /// <summary>Flags of either: for commands that look for what a node left, whatever it was.</summary>
    public static FlagSet AnyFlags { get; } = new([.. Server.Select(static flag => flag with { State = Works }), s_noLoadBalancer]);

    private static FlagSpec[] S3() =>
    [
        new("etcd-s3", Switch, NotYet, Database, "Enable backup to S3"),
        new("etcd-s3-endpoint", Text, NotYet, Database, "S3 endpoint url") { Default = "s3.amazonaws.com" },
        new("etcd-s3-endpoint-ca", Text, NotYet, Database, "S3 custom CA cert to connect to S3 endpoint"),
        new("etcd-s3-skip-ssl-verify", Switch, NotYet, Database, "Disables S3 SSL certificate validation"),
        new("etcd-s3-access-key", Text, NotYet, Database, "S3 access key"),
        new("etcd-s3-secret-key", Text, NotYet, Database, "S3 secret key"),
        new("etcd-s3-session-token", Text, NotYet, Database, "S3 session token"),
        new("etcd-s3-bucket", Text, NotYet, Database, "S3 bucket name"),
        new("etcd-s3-bucket-lookup-type", Text, NotYet, Database, "S3 bucket lookup type, one of 'auto', 'dns', 'path'") { Default = "auto" },
        new("etcd-s3-region", Text, NotYet, Database, "S3 region / bucket location") { Default = "us-east-1" },
        new("etcd-s3-folder", Text, NotYet, Database, "S3 folder"),
        new("etcd-s3-retention", Number, NotYet, Database, "S3 retention limit") { Default = "5" },
        new("etcd-s3-proxy", Text, NotYet, Database, "Proxy server to use when connecting to S3"),
        new("etcd-s3-config-secret", Text, NotYet, Database, "Name of secret in the kube-system namespace used to configure S3"),
        new("etcd-s3-insecure", Switch, NotYet, Database, "Disables S3 over HTTPS"),
        new("etcd-s3-timeout", Text, NotYet, Database, "S3 timeout") { Default = "5m0s" },
    ];
}
