using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Whom endpoints are for, which node proxies go by: those near them, when the service's traffic distribution asks for it, or shares of all
/// zones, when its annotation does. The annotation comes first, as upstream has it. Pure.
/// </summary>
internal static class EndpointHints
{
    private const string TopologyMode = "service.kubernetes.io/topology-mode";
    // The annotation's older name; where both are, it counts.
    private const string TopologyAwareHints = "service.kubernetes.io/topology-aware-hints";
    private const string PreferSameNode = "PreferSameNode";

    /// <summary>All zones are to get shares of the endpoints.</summary>
    internal static bool WantsShares(V1Service service)
    {
        if (service.Metadata.Annotations is not { } annotations) return false;
        if (!annotations.TryGetValue(TopologyAwareHints, out var mode)) annotations.TryGetValue(TopologyMode, out mode);
        return mode is "Auto" or "auto";
    }

    /// <summary>Clients are to prefer what is near.</summary>
    internal static bool WantsNear(V1Service service) =>
        service.Spec.TrafficDistribution is "PreferClose" or "PreferSameZone" or PreferSameNode && !WantsShares(service);

    /// <summary>The hints of an endpoint that is for those near it; null = for all.</summary>
    internal static V1EndpointHints? Near(V1Service service, V1Endpoint endpoint)
    {
        if (endpoint.Conditions?.Ready != true) return null;
        var hasZone = !string.IsNullOrEmpty(endpoint.Zone);
        var isForNode = service.Spec.TrafficDistribution == PreferSameNode && !string.IsNullOrEmpty(endpoint.NodeName);
        if (!hasZone && !isForNode) return null;
        return new V1EndpointHints
        {
            ForZones = hasZone ? [new V1ForZone { Name = endpoint.Zone }] : null,
            ForNodes = isForNode ? [new V1ForNode { Name = endpoint.NodeName }] : null,
        };
    }

    internal static bool Same(V1EndpointHints? a, V1EndpointHints? b) =>
        (a?.ForZones ?? []).Select(static zone => zone.Name).SequenceEqual((b?.ForZones ?? []).Select(static zone => zone.Name))
        && (a?.ForNodes ?? []).Select(static node => node.Name).SequenceEqual((b?.ForNodes ?? []).Select(static node => node.Name));
}
