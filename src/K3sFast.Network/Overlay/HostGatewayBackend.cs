using System.Net;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Overlay;

/// <summary>No overlay at all: peers are routers on the same network. Nothing is put around a packet, and no peer behind a router can be reached.</summary>
internal sealed class HostGatewayBackend(IReadOnlyList<IPNetwork> clusterCidrs, bool isIPv6) : OverlayBackend
{
    private Underlay? _underlay;

    internal override string Type => "host-gw";

    internal override string Data => "null";

    internal override bool EnsureDevice(Underlay underlay, IPNetwork subnet)
    {
        var isNew = _underlay is null || _underlay.Link.Index != underlay.Link.Index;
        (_underlay, LinkIndex, Mtu) = (underlay, underlay.Link.Index, underlay.Link.Mtu);
        return isNew;
    }

    internal override IReadOnlyList<KernelEntry> EntriesOf(OverlayPeer peer, out string? refusal)
    {
        if (!_underlay!.IsNextTo(peer.PublicIP))
        {
            refusal = $"its address {peer.PublicIP} is not on a network of {_underlay.Link.Name} ({string.Join(", ", _underlay.Networks)}), and host-gw goes over no router: use --flannel-backend=vxlan";
            return [];
        }
        refusal = null;
        return [new RouteEntry(new RouteSpec(peer.Subnet, LinkIndex, peer.PublicIP))];
    }

    internal override IReadOnlyList<KernelEntry> ReadEntries(RouteSocket host) =>
        [.. ReadDirectRoutes(host.ListRoutes(isIPv6), clusterCidrs, LinkIndex)];

    /// <summary>Our routes to peers' pods over no device of ours.</summary>
    internal static IEnumerable<KernelEntry> ReadDirectRoutes(IEnumerable<RouteInfo> routes, IReadOnlyList<IPNetwork> clusterCidrs, int linkIndex) => routes
        .Where(route => route is { Protocol: RouteSpec.OwnProtocol, Gateway: not null, Table: 254 } && route.LinkIndex == linkIndex
            && clusterCidrs.Any(cluster => cluster.BaseAddress.AddressFamily == route.Destination.BaseAddress.AddressFamily && cluster.Contains(route.Destination.BaseAddress)))
        .Select(static route => new RouteEntry(new RouteSpec(route.Destination, route.LinkIndex, route.Gateway)));
}
