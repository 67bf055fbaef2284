using System.Net;

namespace K3sFast.Network.Proxy;

/// <summary>Where a connection can be sent to.</summary>
/// <param name="Address">Of the pod.</param>
/// <param name="Port">Of the pod.</param>
/// <param name="IsLocal">It runs on this node.</param>
/// <param name="IsReady">It takes connections.</param>
/// <param name="IsServing">It would take connections, were it not terminating.</param>
/// <param name="IsTerminating">Its pod is being deleted.</param>
/// <param name="Hints">Whom it is meant for.</param>
internal sealed record Endpoint(
    IPAddress Address, ushort Port, bool IsLocal, bool IsReady = true, bool IsServing = true, bool IsTerminating = false, TopologyHints.Hints Hints = TopologyHints.Hints.None);

/// <summary>One port of one Service as one address family sees it, with everything that its rules depend on. Immutable.</summary>
internal sealed record ServicePort
{
    /// <summary>Namespace of the Service.</summary>
    internal required string Namespace { get; init; }

    /// <summary>Name of the Service.</summary>
    internal required string Name { get; init; }

    /// <summary>IP protocol number.</summary>
    internal required byte Protocol { get; init; }

    /// <summary>The Service's port.</summary>
    internal required ushort Port { get; init; }

    /// <summary>The cluster IP.</summary>
    internal required IPAddress ClusterIP { get; init; }

    /// <summary>Port on every node; 0 = none.</summary>
    internal ushort NodePort { get; init; }

    /// <summary>Addresses from outside that lead here without a source restriction.</summary>
    internal IReadOnlyList<IPAddress> ExternalIPs { get; init; } = [];

    /// <summary>Addresses of the load balancer.</summary>
    internal IReadOnlyList<IPAddress> LoadBalancerIPs { get; init; } = [];

    /// <summary>Who may use the load balancer's addresses; empty = everybody.</summary>
    internal IReadOnlyList<IPNetwork> LoadBalancerSources { get; init; } = [];

    /// <summary>A client stays with its endpoint for this long; zero = no affinity.</summary>
    internal TimeSpan Affinity { get; init; }

    /// <summary>internalTrafficPolicy: Local.</summary>
    internal bool IsInternalLocal { get; init; }

    /// <summary>externalTrafficPolicy: Local.</summary>
    internal bool IsExternalLocal { get; init; }

    /// <summary>Endpoints for connections that may go anywhere.</summary>
    internal IReadOnlyList<Endpoint> Endpoints { get; init; } = [];

    /// <summary>Endpoints for connections that must stay on this node.</summary>
    internal IReadOnlyList<Endpoint> LocalEndpoints { get; init; } = [];

    /// <summary>Endpoints that still answer, here or elsewhere, ready or not: flows to them go on.</summary>
    internal IReadOnlyList<Endpoint> ServingEndpoints { get; init; } = [];

    /// <summary>The end of its chains' names.</summary>
    internal string Id => $"{Namespace}/{Name}/{ProtocolName}/{Port}";

    internal bool HasExternal => NodePort != 0 || ExternalIPs.Count > 0 || LoadBalancerIPs.Count > 0;

    private string ProtocolName => Protocol switch { 6 => "tcp", 17 => "udp", 132 => "sctp", _ => "other" };
}
