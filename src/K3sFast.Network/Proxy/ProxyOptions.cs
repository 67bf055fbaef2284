using System.Net;

namespace K3sFast.Network.Proxy;

/// <summary>What carries Services: <c>--proxy-mode</c> with upstream's words and two of our own.</summary>
public enum ProxyMode
{
    /// <summary>nf_tables; <c>iptables</c> and <c>nftables</c>.</summary>
    Nftables,

    /// <summary>Programs in the kernel; <c>ebpf</c>.</summary>
    Ebpf,

    /// <summary>The kernel's virtual servers; <c>ipvs</c>.</summary>
    Ipvs,

    /// <summary>A relay in this process; <c>userspace</c>.</summary>
    Userspace,
}

/// <summary>How the proxy tells connections of this node's pods from those of others: <c>--detect-local-mode</c>.</summary>
public enum LocalDetection
{
    /// <summary>By a source in the pods' network of the cluster.</summary>
    ClusterCidr,

    /// <summary>By a source in the pod network of this node.</summary>
    NodeCidr,

    /// <summary>By the bridge that they come in by.</summary>
    BridgeInterface,

    /// <summary>By the start of the name of the link that they come in by.</summary>
    InterfaceNamePrefix,
}

/// <summary>What <c>--kube-proxy-arg</c> says. The defaults are those of k3s. Immutable.</summary>
public sealed record ProxyOptions
{
    /// <summary>What carries Services.</summary>
    public ProxyMode Mode { get; init; }

    /// <summary>What fails is counted under the name of kube-proxy's iptables mode too, which was asked for (or is its default).</summary>
    public bool HasIptablesMetrics { get; init; }

    /// <summary>Node ports answer on this node's addresses in these networks only; empty: on all.</summary>
    public IReadOnlyList<IPNetwork> NodePortNetworks { get; init; } = [];

    /// <summary>Node ports answer on the node's own addresses only (<c>nodeport-addresses=primary</c>).</summary>
    public bool IsNodePortPrimaryOnly { get; init; }

    /// <summary>Node ports answer on 127.0.0.1 too.</summary>
    public bool HasLocalhostNodePorts { get; init; } = true;

    /// <summary>How connections of pods are recognized.</summary>
    public LocalDetection LocalDetection { get; init; }

    /// <summary>Pods' networks for <see cref="LocalDetection.ClusterCidr"/>; null: the cluster's.</summary>
    public IReadOnlyList<IPNetwork>? ClusterCidrs { get; init; }

    /// <summary>The bridge, or the start of links' names, for the detection modes that ask for one.</summary>
    public string Interface { get; init; } = "";

    /// <summary>Everything that goes to a cluster IP is masqueraded.</summary>
    public bool IsMasqueradeAll { get; init; }

    /// <summary>Bit of the packet's mark that says "masquerade when leaving": 0 to 31.</summary>
    public int MasqueradeBit { get; init; } = 14;

    /// <summary>Services may name external IPs: whoever may write a Service can then catch the nodes' traffic to any address.</summary>
    public bool AllowsExternalIPs { get; init; }

    /// <summary>How often the kernel is looked at for what somebody else removed.</summary>
    public TimeSpan SyncPeriod { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Changes are gathered for so long after the last one was written.</summary>
    public TimeSpan MinSyncPeriod { get; init; } = TimeSpan.Zero;

    /// <summary>Where /healthz and /livez are answered; null = nowhere.</summary>
    public IPEndPoint? HealthAddress { get; init; }

    /// <summary>Where /metrics and /proxyMode are answered; null = nowhere.</summary>
    public IPEndPoint? MetricsAddress { get; init; }

    /// <summary>An address that cannot be bound ends the agent, instead of being tried again.</summary>
    public bool IsBindFailureFatal { get; init; }

    /// <summary>The setting that makes connection tracking take TCP packets outside the window for what they are.</summary>
    internal const string LiberalSetting = "net/netfilter/nf_conntrack_tcp_be_liberal";

    /// <summary>Settings of connection tracking under net/netfilter, by name.</summary>
    public IReadOnlyDictionary<string, string> ConntrackSettings { get; init; } = new Dictionary<string, string>();

    /// <summary>Connection tracking takes packets outside the window for what they are: nothing of a connection is invalid then, and nothing need be dropped.</summary>
    internal bool IsConntrackLiberal => ConntrackSettings.TryGetValue(LiberalSetting, out var value) && value != "0";

    /// <summary>How IPVS is to work.</summary>
    public IpvsOptions Ipvs { get; init; } = new();
}

/// <summary>What <c>--ipvs-…</c> says. Immutable.</summary>
public sealed record IpvsOptions
{
    /// <summary>The kernel's scheduler: rr, wrr, lc, sh…</summary>
    public string Scheduler { get; init; } = "rr";

    /// <summary>Virtual servers in these networks are somebody else's.</summary>
    public IReadOnlyList<IPNetwork> ExcludedNetworks { get; init; } = [];

    /// <summary>Links answer for their own addresses only.</summary>
    public bool IsStrictArp { get; init; }

    /// <summary>Idle time of TCP connections, of those that were ended, and of UDP flows; zero leaves the kernel's.</summary>
    public (TimeSpan Tcp, TimeSpan TcpFin, TimeSpan Udp) Timeouts { get; init; }
}
