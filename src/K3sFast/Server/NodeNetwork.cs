using K3sFast.Configuration;
using K3sFast.Network;

namespace K3sFast.Server;

/// <summary>How the network agent is told about this node.</summary>
internal static class NodeNetwork
{
    /// <summary>flannel's; a node with a data directory of its own has one of its own.</summary>
    public const string DefaultSubnetFile = "/run/flannel/subnet.env";

    public static NetworkOptions Options(NodeConfig config, ClusterSettings cluster)
    {
        var overlay = Overlay(config, cluster);
        return new()
        {
            NodeName = config.NodeName,
            NodeIPs = config.NodeIPs,
            ClusterCidrs = cluster.ClusterCidrs,
            ServiceCidrs = cluster.ServiceCidrs,
            CniSocketPath = config.Paths.CniSocket,
            CniConfDir = config.Paths.CniConf,
            CniBinDir = config.Paths.CniBin,
            CniConfTemplate = config.FlannelCniConf,
            StateDir = StateDir(config),
            HasPodNetwork = overlay is not null,
            Overlay = overlay,
            IsServiceProxyEnabled = cluster.HasProxy,
            Proxy = config.Proxy,
            IsNetworkPolicyEnabled = cluster.HasNetworkPolicy,
            IsIPv6Masqueraded = cluster.FlannelIPv6Masq,
        };
    }

    /// <summary>Where address allocations are remembered.</summary>
    public static string StateDir(NodeConfig config) => Path.Combine(config.Paths.Run, "network");

    /// <summary>True when pods' links and the traffic between nodes are ours.</summary>
    public static bool HasPodNetwork(NodeConfig config, ClusterSettings cluster) => Overlay(config, cluster) is not null;

    private static OverlayOptions? Overlay(NodeConfig config, ClusterSettings cluster)
    {
        if (cluster.FlannelBackend == "none")
            return null;
        var options = new OverlayOptions
        {
            Backend = cluster.FlannelBackend,
            Interface = config.FlannelInterface,
            ExternalIPs = cluster.FlannelExternalIP ? config.NodeExternalIPs : [],
            KeyDir = Path.GetDirectoryName(config.Paths.FlannelConf)!,
            SubnetFile = config.Paths.IsDefaultData ? DefaultSubnetFile : Path.Combine(config.Paths.Run, "flannel", "subnet.env"),
        };
        return config.FlannelConf.Length > 0 ? FlannelConf.Read(config.FlannelConf, options) : options;
    }
}
