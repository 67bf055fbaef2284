using K3sFast.Configuration;
using K3sFast.Network;

namespace K3sFast.Server;

/// <summary>How the network agent is told about this node.</summary>
internal static class NodeNetwork
{
    public static NetworkOptions Options(ServerConfig config) => new()
    {
        NodeName = config.NodeName,
        NodeIPs = config.NodeIPs,
        ClusterCidrs = config.ClusterCidrs,
        ServiceCidrs = config.ServiceCidrs,
        CniSocketPath = config.Paths.CniSocket,
        CniConfDir = config.Paths.CniConf,
        CniBinDir = config.Paths.CniBin,
        StateDir = Path.Combine(config.Paths.Run, "network"),
        IsServiceProxyEnabled = config.HasProxy,
    };
}
