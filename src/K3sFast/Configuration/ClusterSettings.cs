using System.Net;

namespace K3sFast.Configuration;

/// <summary>What every node of a cluster must agree on: servers have it from their flags, agents are told by a server.</summary>
internal sealed record ClusterSettings
{
    public required IReadOnlyList<IPNetwork> ClusterCidrs { get; init; }
    public required IReadOnlyList<IPNetwork> ServiceCidrs { get; init; }
    public required IReadOnlyList<IPAddress> ClusterDns { get; init; }
    public required string ClusterDomain { get; init; }
    public string FlannelBackend { get; init; } = "vxlan";
    public bool FlannelIPv6Masq { get; init; }
    public bool FlannelExternalIP { get; init; }
    public bool HasProxy { get; init; } = true;
    public bool HasNetworkPolicy { get; init; } = true;
    /// <summary>Port of the API and the supervisor on every server.</summary>
    public int HttpsPort { get; init; } = 6443;

    public static ClusterSettings Of(ServerConfig config) => new()
    {
        ClusterCidrs = config.ClusterCidrs,
        ServiceCidrs = config.ServiceCidrs,
        ClusterDns = config.ClusterDns,
        ClusterDomain = config.ClusterDomain,
        FlannelBackend = config.FlannelBackend,
        FlannelIPv6Masq = config.FlannelIPv6Masq,
        FlannelExternalIP = config.FlannelExternalIP,
        HasProxy = config.HasProxy,
        HasNetworkPolicy = config.HasNetworkPolicy,
        HttpsPort = config.HttpsPort,
    };
}
