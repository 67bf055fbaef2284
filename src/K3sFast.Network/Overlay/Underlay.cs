using System.Net;
using System.Net.Sockets;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Overlay;

/// <summary>The link that carries traffic between nodes, in one address family.</summary>
/// <param name="Link">The link.</param>
/// <param name="Local">Its address.</param>
/// <param name="Networks">The networks that it reaches without a router.</param>
internal sealed record Underlay(LinkInfo Link, IPAddress Local, IReadOnlyList<IPNetwork> Networks)
{
    /// <summary>No router lies between here and the address.</summary>
    internal bool IsNextTo(IPAddress address) => Networks.Any(network => network.Contains(address));

    /// <summary>
    /// The named link, else the one that has the node's address, else the one with the default route; null when there is none, or it has no address of the
    /// family.
    /// </summary>
    internal static Underlay? Find(RouteSocket host, string interfaceName, IReadOnlyList<IPAddress> nodeIPs, AddressFamily family)
    {
        var links = host.ListLinks().ToDictionary(link => link.Index);
        var addresses = host.ListAddresses().Where(address => address.Address.AddressFamily == family && !address.Address.IsIPv6LinkLocal).ToList();
        AddressInfo? chosen;
        if (interfaceName.Length > 0)
        {
            var index = links.Values.FirstOrDefault(link => link.Name == interfaceName)?.Index;
            chosen = addresses.Where(address => address.LinkIndex == index).OrderByDescending(address => nodeIPs.Contains(address.Address)).FirstOrDefault();
        }
        else
        {
            chosen = addresses.FirstOrDefault(address => nodeIPs.Contains(address.Address)) ?? OfDefaultRoute(host, addresses, family);
        }
        if (chosen is null || !links.TryGetValue(chosen.LinkIndex, out var found)) return null;
        var networks = addresses.Where(address => address.LinkIndex == chosen.LinkIndex).Select(address => NetworkOf(address.Address, address.PrefixLength)).ToList();
        return new Underlay(found, chosen.Address, networks);
    }

    // A node behind address translation has an address that is on none of its links.
    private static AddressInfo? OfDefaultRoute(RouteSocket host, List<AddressInfo> addresses, AddressFamily family)
    {
        var route = host.ListRoutes(family == AddressFamily.InterNetworkV6)
            .Where(route => route is { Destination.PrefixLength: 0, Table: 254, LinkIndex: not 0 })
            .MinBy(route => route.Metric);
        return route is null ? null : addresses.FirstOrDefault(address => address.LinkIndex == route.LinkIndex);
    }

    private static IPNetwork NetworkOf(IPAddress address, int prefixLength)
    {
        var bytes = address.GetAddressBytes();
        for (var bit = prefixLength; bit < bytes.Length * 8; bit++) bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        return new IPNetwork(new IPAddress(bytes), prefixLength);
    }
}
