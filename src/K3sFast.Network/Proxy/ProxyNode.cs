using System.Net;
using k8s.Models;

namespace K3sFast.Network.Proxy;

/// <summary>What the proxy must know of this node beside its name.</summary>
/// <param name="Zone">Its topology zone; "" = none.</param>
/// <param name="PodCidrs">Its pod networks.</param>
/// <param name="IsEligible">Load balancers may send to it: it exists and is not about to be removed.</param>
internal sealed record ProxyNode(string Zone, IReadOnlyList<IPNetwork> PodCidrs, bool IsEligible)
{
    // The cluster autoscaler's: the node is about to go.
    private const string ToBeDeletedTaint = "ToBeDeletedByClusterAutoscaler";
    private const string ZoneLabel = "topology.kubernetes.io/zone";

    /// <summary>Nothing is known yet.</summary>
    internal static ProxyNode Unknown { get; } = new("", [], false);

    /// <summary>What the node's object says; null = there is none.</summary>
    internal static ProxyNode Of(V1Node? node)
    {
        if (node is null) return Unknown;
        var cidrs = new List<IPNetwork>();
        foreach (var text in node.Spec?.PodCIDRs ?? [])
        {
            if (IPNetwork.TryParse(text, out var network)) cidrs.Add(network);
        }
        var zone = node.Metadata.Labels is { } labels && labels.TryGetValue(ZoneLabel, out var value) ? value : "";
        var isGoing = node.Metadata.DeletionTimestamp is not null || (node.Spec?.Taints?.Any(static taint => taint.Key == ToBeDeletedTaint) ?? false);
        return new ProxyNode(zone, cidrs, !isGoing);
    }

    /// <inheritdoc/>
    public bool Equals(ProxyNode? other) => other is not null && Zone == other.Zone && IsEligible == other.IsEligible && PodCidrs.SequenceEqual(other.PodCidrs);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Zone, PodCidrs.Count);
}
