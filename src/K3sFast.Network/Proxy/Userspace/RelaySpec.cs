using System.Net;

namespace K3sFast.Network.Proxy.Userspace;

/// <summary>What is to be done with what comes in at one address and port. Immutable.</summary>
/// <param name="Service">Whose it is, for messages.</param>
/// <param name="Protocol">IP protocol number.</param>
/// <param name="Address">Where.</param>
/// <param name="Inside">Endpoints for pods and the node itself.</param>
/// <param name="Outside">Endpoints for everybody else.</param>
/// <param name="Sources">Who may come in; empty = everybody.</param>
/// <param name="Affinity">How long a client stays with its endpoint; zero = not at all.</param>
internal sealed record RelaySpec(
    string Service, byte Protocol, IPEndPoint Address, IReadOnlyList<Endpoint> Inside, IReadOnlyList<Endpoint> Outside, IReadOnlyList<IPNetwork> Sources, TimeSpan Affinity)
{
    /// <summary>All places that a service port is reached at, in one family.</summary>
    /// <param name="port">The service port.</param>
    /// <param name="nodeAddresses">Where node ports answer.</param>
    /// <param name="nodeIPs">Addresses of the node itself.</param>
    internal static IEnumerable<RelaySpec> Of(ServicePort port, IReadOnlyList<IPAddress> nodeAddresses, IReadOnlyList<IPAddress> nodeIPs)
    {
        var inside = port.IsInternalLocal ? port.LocalEndpoints : port.Endpoints;
        if (inside.Count > 0) yield return new RelaySpec(port.Id, port.Protocol, new IPEndPoint(port.ClusterIP, port.Port), inside, inside, [], port.Affinity);
        if (port.Endpoints.Count == 0) yield break;
        var outside = port.IsExternalLocal ? port.LocalEndpoints : port.Endpoints;
        foreach (var address in port.ExternalIPs) yield return new RelaySpec(port.Id, port.Protocol, new IPEndPoint(address, port.Port), port.Endpoints, outside, [], port.Affinity);
        var sources = port.LoadBalancerSources.ToList();
        if (sources.Exists(source => nodeIPs.Any(source.Contains))) sources.AddRange(port.LoadBalancerIPs.Select(static address => new IPNetwork(address, address.GetAddressBytes().Length * 8)));
        foreach (var address in port.LoadBalancerIPs) yield return new RelaySpec(port.Id, port.Protocol, new IPEndPoint(address, port.Port), port.Endpoints, outside, sources, port.Affinity);
        if (port.NodePort == 0) yield break;
        foreach (var address in nodeAddresses)
        {
            if (address.AddressFamily == port.ClusterIP.AddressFamily) yield return new RelaySpec(port.Id, port.Protocol, new IPEndPoint(address, port.NodePort), port.Endpoints, outside, [], port.Affinity);
        }
    }
}
