using System.Net;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using K3sFast.Network.Proxy;

namespace K3sFast.Network;

/// <summary>Everything the network agent is told by its owner. Immutable; paths are absolute.</summary>
public sealed record NetworkOptions
{
    /// <summary>Name of this node's Node object, where the pod CIDRs are read from.</summary>
    public required string NodeName { get; init; }

    /// <summary>Addresses of this node, primary first.</summary>
    public required IReadOnlyList<IPAddress> NodeIPs { get; init; }

    /// <summary>Where all pods of the cluster live, one network per family: traffic that leaves it is masqueraded.</summary>
    public required IReadOnlyList<IPNetwork> ClusterCidrs { get; init; }

    /// <summary>Where cluster IPs live, one network per family.</summary>
    public required IReadOnlyList<IPNetwork> ServiceCidrs { get; init; }

    /// <summary>Unix socket between the CNI plugin and the agent.</summary>
    public string CniSocketPath { get; init; } = "/run/k3s/cni.sock";

    /// <summary>Where the container runtime looks for the network's configuration.</summary>
    public required string CniConfDir { get; init; }

    /// <summary>Where the container runtime looks for plugins; ours is written there.</summary>
    public required string CniBinDir { get; init; }

    /// <summary>A CNI network list that is installed instead of ours; empty: ours.</summary>
    public string CniConfTemplate { get; init; } = "";

    /// <summary>False leaves pods' links and the traffic between nodes to another CNI (<c>--flannel-backend=none</c>).</summary>
    public bool HasPodNetwork { get; init; } = true;

    /// <summary>How pods of other nodes are reached; null: they are not, or somebody else sees to it.</summary>
    public OverlayOptions? Overlay { get; init; }

    /// <summary>Where address allocations are remembered across restarts (not across reboots: pods do not survive those either).</summary>
    public string StateDir { get; init; } = "/run/k3s/network";

    /// <summary>MTU of pods' links; 0 = that of the uplink.</summary>
    public int Mtu { get; init; }

    /// <summary>False leaves Services to somebody else (<c>--disable-kube-proxy</c>).</summary>
    public bool IsServiceProxyEnabled { get; init; } = true;

    /// <summary>How Services are carried.</summary>
    public ProxyOptions Proxy { get; init; } = new();

    /// <summary>False leaves NetworkPolicies alone, and takes out what an earlier run wrote for them (<c>--disable-network-policy</c>).</summary>
    public bool IsNetworkPolicyEnabled { get; init; } = true;

    /// <summary>Pods' IPv6 traffic that leaves the cluster is masqueraded as well (<c>--flannel-ipv6-masq</c>); IPv4 always is.</summary>
    public bool IsIPv6Masqueraded { get; init; }

    /// <summary>Network namespace that the agent works in; null = that of the process. Tests put several nodes into one process with it.</summary>
    internal NetworkNamespace? HostNamespace { get; init; }

    /// <summary>Room for what the kernel tells of links and routes before it is read, in bytes. Tests make it small.</summary>
    internal int RouteEventQueueBytes { get; init; } = RouteEvents.ReceiveQueueBytes;
}

/// <summary>How traffic between nodes is carried. Immutable.</summary>
public sealed record OverlayOptions
{
    /// <summary>vxlan, host-gw or wireguard-native.</summary>
    public required string Backend { get; init; }

    /// <summary>VXLAN network identifier: flannel's.</summary>
    public int Vni { get; init; } = 1;

    /// <summary>UDP port of VXLAN: flannel's, which is Linux's own and not IANA's 4789.</summary>
    public ushort Port { get; init; } = 8472;

    /// <summary>Name of the link that carries the traffic; empty: the one with the node's address.</summary>
    public string Interface { get; init; } = "";

    /// <summary>Addresses that other nodes reach this one by, instead of its own; at most one per family counts.</summary>
    public IReadOnlyList<IPAddress> ExternalIPs { get; init; } = [];

    /// <summary>MTU of the link that carries the traffic; 0 = its own.</summary>
    public int UnderlayMtu { get; init; }

    /// <summary>VXLAN: peers on the same network are reached by plain routes, and only those behind a router by the device.</summary>
    public bool IsDirectRoutingOn { get; init; }

    /// <summary>UDP port of WireGuard, and that for IPv6: flannel's.</summary>
    public (ushort IPv4, ushort IPv6) WireGuardPorts { get; init; } = (51820, 51821);

    /// <summary>How often WireGuard sends something, so that nodes behind address translation stay reachable; 0 = never. The default is k3s' own.</summary>
    public int WireGuardKeepaliveSeconds { get; init; } = 25;

    /// <summary>A secret of 32 bytes that all nodes have, beside WireGuard's keys; empty: none.</summary>
    public ReadOnlyMemory<byte> WireGuardSharedKey { get; init; }

    /// <summary>Where flannel's users look for the node's subnet.</summary>
    public string SubnetFile { get; init; } = "/run/flannel/subnet.env";

    /// <summary>Where WireGuard's private key is kept.</summary>
    public string KeyDir { get; init; } = "";
}
