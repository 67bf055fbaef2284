using System.Net;
using K3sFast.Interop;
using K3sFast.Interop.Conntrack;
using Microsoft.Extensions.Logging;

namespace K3sFast.Network.Proxy;

/// <summary>
/// Forgets UDP flows that a change made wrong: UDP has no end, so a client that keeps sending would stay with an endpoint that is gone, or with
/// the refusal it got when there was none, for as long as it sends.
/// </summary>
internal sealed class StaleFlows(ConntrackTable conntrack, ILogger logger)
{
    private const byte Udp = 17;

    /// <summary>Where flows to these addresses may be answered from now.</summary>
    /// <param name="Addresses">Destinations as clients see them; empty = any (a port of the node).</param>
    /// <param name="Port">Port as clients see it.</param>
    /// <param name="Targets">Endpoints that are right.</param>
    internal sealed record Destination(IReadOnlyList<IPAddress> Addresses, ushort Port, IReadOnlySet<(IPAddress, ushort)> Targets);

    /// <summary>Destinations that the change from <paramref name="before"/> to <paramref name="after"/> may have made flows wrong for.</summary>
    internal static void Collect(IReadOnlyList<ServicePort> before, IReadOnlyList<ServicePort> after, List<Destination> destinations)
    {
        foreach (var port in after)
        {
            if (port.Protocol != Udp) continue;
            var known = before.FirstOrDefault(other => other.Protocol == Udp && other.Port == port.Port);
            if (known is null || HasLost(known.ServingEndpoints, port.ServingEndpoints) || (known.Endpoints.Count == 0 && port.Endpoints.Count > 0)) Add(port, port.ServingEndpoints, destinations);
        }
        foreach (var port in before)
        {
            if (port.Protocol == Udp && !after.Any(other => other.Protocol == Udp && other.Port == port.Port)) Add(port, [], destinations);
        }
    }

    /// <summary>Forgets what is wrong now; answers how many flows. Failures are logged: the flows end by themselves once their client pauses.</summary>
    internal int Forget(bool isIPv6, IReadOnlyList<Destination> destinations)
    {
        if (destinations.Count == 0) return 0;
        try
        {
            var byPort = destinations.ToLookup(destination => destination.Port);
            var stale = conntrack.List(isIPv6, Udp, entry => IsStale(entry, byPort[entry.Original.DestinationPort]));
            if (stale.Count == 0) return 0;
            conntrack.Delete(stale);
            Log.FlowsForgotten(logger, stale.Count);
            return stale.Count;
        }
        catch (KernelException refused)
        {
            Log.FlowsNotForgotten(logger, refused);
            return 0;
        }
    }

    internal static bool IsStale(in ConntrackEntry entry, IEnumerable<Destination> destinations)
    {
        foreach (var destination in destinations)
        {
            if (destination.Addresses.Count > 0 && !destination.Addresses.Contains(entry.Original.Destination)) continue;
            if (destination.Targets.Contains((entry.Reply.Source, entry.Reply.SourcePort))) continue;
            var isTranslated = !entry.Reply.Source.Equals(entry.Original.Destination) || entry.Reply.SourcePort != entry.Original.DestinationPort;
            if (isTranslated || destination.Targets.Count > 0) return true;
        }
        return false;
    }

    private static void Add(ServicePort port, IReadOnlyList<Endpoint> endpoints, List<Destination> destinations)
    {
        var targets = endpoints.Select(endpoint => (endpoint.Address, endpoint.Port)).ToHashSet();
        destinations.Add(new Destination([port.ClusterIP, .. port.ExternalIPs, .. port.LoadBalancerIPs], port.Port, targets));
        if (port.NodePort != 0) destinations.Add(new Destination([], port.NodePort, targets));
    }

    private static bool HasLost(IReadOnlyList<Endpoint> before, IReadOnlyList<Endpoint> after) =>
        before.Any(endpoint => !after.Any(other => other.Port == endpoint.Port && other.Address.Equals(endpoint.Address)));
}
