using System.Globalization;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using K3sFast.Interop;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;

namespace K3sFast.Network.Overlay;

/// <summary>
/// VXLAN as flannel has it: one device per node (flannel.1), which learns nothing. A peer is three entries: a route to its subnet by the subnet's first
/// address, that address' MAC, and that MAC's node. No packet is ever flooded, nobody is ever asked. With direct routing, a peer that no router lies before
/// is one plain route.
/// </summary>
internal sealed class VxlanBackend(
    RouteSocket host, NetworkNamespace? hostNamespace, OverlayOptions options, IReadOnlyList<IPNetwork> clusterCidrs, string nodeName, bool isIPv6) : OverlayBackend
{
    // Ethernet, IP, UDP and VXLAN around a packet: 14 + 20 (or 40) + 8 + 8 bytes.
    private const int OverheadIPv4 = 50, OverheadIPv6 = 70;

    // Linux before this sends bad UDP checksums for what is masqueraded into a VXLAN whose checksums are left to the device.
    private static readonly Version s_fixedChecksums = new(5, 7);

    private readonly string _name = isIPv6 ? $"flannel-v6.{options.Vni}" : $"flannel.{options.Vni}";

    private Underlay? _underlay;

    internal override string Type => "vxlan";

    internal override IEnumerable<int> WatchedLinks => options.IsDirectRoutingOn && _underlay is { } underlay ? [LinkIndex, underlay.Link.Index] : [LinkIndex];

    /// <summary>The same for the same node, so that a device that is made again changes nothing for its peers.</summary>
    internal PhysicalAddress Address { get; } = AddressOf(nodeName, options.Vni, isIPv6);

    internal override string Data => $$"""{"VNI":{{options.Vni}},"VtepMAC":"{{Text(Address)}}"}""";

    internal override bool EnsureDevice(Underlay underlay, IPNetwork subnet)
    {
        _underlay = underlay;
        Mtu = (options.UnderlayMtu > 0 ? options.UnderlayMtu : underlay.Link.Mtu) - (isIPv6 ? OverheadIPv6 : OverheadIPv4);
        using var batch = new NetlinkBatch();
        var link = host.FindLink(_name);
        var isNew = link is null || !IsRight(link, underlay);
        if (isNew)
        {
            Replaced = link is null ? null : (_name, Describe(link));
            batch.DeleteLink(_name);
            batch.AddVxlan(new VxlanSpec(_name, Address, options.Vni, options.Port, underlay.Link.Index, underlay.Local, Mtu));
            host.Execute(batch);
            batch.Clear();
            link = host.FindLink(_name) ?? throw new KernelException("get link " + _name, Errno.ENODEV);
        }
        LinkIndex = link!.Index;
        if (link.Mtu != Mtu) batch.SetLinkMtu(LinkIndex, Mtu);
        if (!link.IsUp) batch.SetLinkUp(LinkIndex);
        var wanted = subnet.BaseAddress;
        var present = host.ListAddresses().Where(address => address.LinkIndex == LinkIndex && !address.Address.IsIPv6LinkLocal).ToList();
        foreach (var address in present.Where(address => !address.Address.Equals(wanted))) batch.DeleteAddress(LinkIndex, address.Address, address.PrefixLength);
        // Adding it again would be an event, and an event makes us look again.
        if (!present.Exists(address => address.Address.Equals(wanted))) batch.AddAddress(LinkIndex, wanted, wanted.GetAddressBytes().Length * 8);
        host.Execute(batch);
        Sysctl.TryWrite($"net/ipv6/conf/{_name}/accept_ra", "0", hostNamespace);
        if (isNew && Environment.OSVersion.Version < s_fixedChecksums) SwitchChecksumsOff();
        return isNew;
    }

    private static string Describe(LinkInfo link) => link.Vxlan is { } found
        ? string.Create(CultureInfo.InvariantCulture, $"VXLAN network {found.Vni} from {found.Local} on link {found.UnderlayIndex}, port {found.Port}, MAC {Text(link.Address)}{(found.IsLearning ? ", learning" : "")}")
        : link.Kind.Length > 0 ? link.Kind : "a device";

    internal override IReadOnlyList<KernelEntry> EntriesOf(OverlayPeer peer, out string? refusal)
    {
        refusal = null;
        if (options.IsDirectRoutingOn && _underlay!.IsNextTo(peer.PublicIP)) return [new RouteEntry(new RouteSpec(peer.Subnet, _underlay.Link.Index, peer.PublicIP))];
        if (ReadAddress(peer.Data) is not { } address)
        {
            refusal = $"its backend data is not that of VXLAN network {options.Vni}: {peer.Data}";
            return [];
        }
        var gateway = peer.Subnet.BaseAddress;
        return
        [
            new NeighbourEntry(new NeighbourSpec(LinkIndex, gateway, address)),
            new NeighbourEntry(new NeighbourSpec(LinkIndex, peer.PublicIP, address) { IsForwardingEntry = true }),
            new RouteEntry(new RouteSpec(peer.Subnet, LinkIndex, gateway) { IsOnLink = true }),
        ];
    }

    internal override IReadOnlyList<KernelEntry> ReadEntries(RouteSocket host)
    {
        var entries = new List<KernelEntry>();
        foreach (var neighbour in host.ListNeighbours(LinkIndex))
        {
            if (neighbour.IsPermanent && (neighbour.Spec.IsForwardingEntry || neighbour.Spec.Destination.AddressFamily == Family)) entries.Add(new NeighbourEntry(neighbour.Spec));
        }
        var routes = host.ListRoutes(isIPv6);
        if (options.IsDirectRoutingOn) entries.AddRange(HostGatewayBackend.ReadDirectRoutes(routes, clusterCidrs, _underlay!.Link.Index));
        foreach (var route in routes)
        {
            if (route.LinkIndex == LinkIndex && route.Gateway is not null && route.Table == 254)
                entries.Add(new RouteEntry(new RouteSpec(route.Destination, LinkIndex, route.Gateway) { IsOnLink = true, Protocol = route.Protocol }));
        }
        return entries;
    }

    /// <summary>The MAC in a peer's annotation; null when it is of another network, or none.</summary>
    internal PhysicalAddress? ReadAddress(string data)
    {
        try
        {
            using var document = JsonDocument.Parse(data);
            var root = document.RootElement;
            if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("VtepMAC", out var text) || text.ValueKind != JsonValueKind.String) return null;
            if (root.TryGetProperty("VNI", out var vni) && (!vni.TryGetInt32(out var number) || number != options.Vni)) return null;
            return PhysicalAddress.TryParse(text.GetString(), out var address) && address.GetAddressBytes().Length == 6 ? address : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private AddressFamily Family => isIPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;

    private bool IsRight(LinkInfo link, Underlay underlay) =>
        link.Vxlan is { IsLearning: false } vxlan && vxlan.Vni == options.Vni && vxlan.Port == options.Port && vxlan.UnderlayIndex == underlay.Link.Index
        && underlay.Local.Equals(vxlan.Local) && link.Address.Equals(Address);

    private void SwitchChecksumsOff()
    {
        using var ethtool = EthtoolSocket.TryOpen(hostNamespace);
        ethtool?.SetFeature(LinkIndex, "tx-checksum-ip-generic", isOn: false);
    }

    private static PhysicalAddress AddressOf(string nodeName, int vni, bool isIPv6)
    {
        var bytes = SHA256.HashData(Encoding.UTF8.GetBytes($"{nodeName}\n{vni}\n{(isIPv6 ? 6 : 4)}")).AsSpan(0, 6).ToArray();
        // Locally administered, not a group (IEEE 802).
        bytes[0] = (byte)((bytes[0] & 0xFC) | 0x02);
        return new PhysicalAddress(bytes);
    }

    private static string Text(PhysicalAddress address) => string.Join(':', address.GetAddressBytes().Select(static part => part.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));
}
