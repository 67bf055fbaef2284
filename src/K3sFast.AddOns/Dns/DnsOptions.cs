using System.Net;

namespace K3sFast.AddOns.Dns;

/// <summary>How the built-in cluster DNS is set up.</summary>
public sealed record DnsOptions
{
    /// <summary>This node's name: names the EndpointSlice.</summary>
    public required string NodeName { get; init; }

    /// <summary>Addresses of this node that the server binds and that the Service leads to; one per family.</summary>
    public required IReadOnlyList<IPAddress> NodeIPs { get; init; }

    /// <summary>Cluster addresses of Service kube-dns (<c>--cluster-dns</c>); one per family.</summary>
    public required IReadOnlyList<IPAddress> ClusterDns { get; init; }

    /// <summary>
    /// The address that the API server of this process is listed with in Service default/kubernetes: while it is, the others take this DNS for alive.
    /// Null = there is none.
    /// </summary>
    public IPAddress? ServerAddress { get; init; }

    /// <summary>
    /// Other nodes reach this one's own addresses from elsewhere only through the pods' network (<c>--flannel-external-ip</c>): the server binds and
    /// publishes what the node has there, once it has it.
    /// </summary>
    public bool IsReachedThroughPodNetwork { get; init; }

    /// <summary>Nothing is bound or followed before the cluster has a node: for a server that is none itself.</summary>
    public bool AwaitsNodes { get; init; }

    /// <summary>The cluster's domain.</summary>
    public string ClusterDomain { get; init; } = "cluster.local";

    /// <summary>Port on the node, UDP and TCP. Port 53 is the host's own resolver's.</summary>
    public int Port { get; init; } = 10053;

    /// <summary>Where the host's resolvers are read from.</summary>
    public string ResolvConf { get; init; } = "/etc/resolv.conf";

    /// <summary>Threads that answer over UDP, each with a socket of its own.</summary>
    public int UdpThreads { get; init; } = Math.Clamp(Environment.ProcessorCount, 1, 4);
}
