using System.Net;
using System.Net.NetworkInformation;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Interop.Netlink;

/// <summary>A pair of joined links: one end here, one in another namespace.</summary>
/// <param name="Name">Name of the end here; at most 15 bytes.</param>
/// <param name="Address">Its MAC address.</param>
/// <param name="PeerName">Name of the other end.</param>
/// <param name="PeerAddress">Its MAC address.</param>
/// <param name="Peer">The namespace of the other end.</param>
/// <param name="Mtu">MTU of both.</param>
public sealed record VethSpec(string Name, PhysicalAddress Address, string PeerName, PhysicalAddress PeerAddress, NetworkNamespace Peer, int Mtu);

/// <summary>A VXLAN device that learns nothing by itself: who carries it fills its forwarding table.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Address">Its MAC address.</param>
/// <param name="Vni">Network identifier, 24 bits.</param>
/// <param name="Port">UDP port.</param>
/// <param name="UnderlayIndex">Link that carries the packets.</param>
/// <param name="Local">Source address of the packets.</param>
/// <param name="Mtu">MTU of the device.</param>
public sealed record VxlanSpec(string Name, PhysicalAddress Address, int Vni, ushort Port, int UnderlayIndex, IPAddress Local, int Mtu);

/// <summary>linux/rtnetlink.h: how far a destination is.</summary>
public enum RouteScope : byte
{
    /// <summary>Anywhere.</summary>
    Universe = 0,

    /// <summary>On the link.</summary>
    Link = 253,

    /// <summary>This host.</summary>
    Host = 254,
}

/// <summary>linux/rtnetlink.h: what becomes of a packet.</summary>
public enum RouteType : byte
{
    /// <summary>Sent on.</summary>
    Unicast = 1,

    /// <summary>Delivered here.</summary>
    Local = 2,

    /// <summary>Dropped silently.</summary>
    Blackhole = 6,

    /// <summary>Answered with "unreachable".</summary>
    Unreachable = 7,
}

/// <summary>A route. <see cref="Protocol"/> says who made it: routes of ours carry our number, so that they can be told apart.</summary>
/// <param name="Destination">Where to.</param>
/// <param name="LinkIndex">Through which link; 0 = none (blackhole).</param>
/// <param name="Gateway">Next hop; null = on the link.</param>
/// <param name="Scope">Distance.</param>
public sealed record RouteSpec(IPNetwork Destination, int LinkIndex, IPAddress? Gateway = null, RouteScope Scope = RouteScope.Universe)
{
    /// <summary>RTPROT of our routes: a number that neither rtnetlink.h nor iproute2's rt_protos gives to anybody.</summary>
    public const byte OwnProtocol = 107;

    /// <summary>The gateway is taken to be on the link whatever the addresses say.</summary>
    public bool IsOnLink { get; init; }

    /// <summary>Source address that packets of this host get; null = the kernel chooses.</summary>
    public IPAddress? PreferredSource { get; init; }

    /// <summary>What becomes of the packet.</summary>
    public RouteType Type { get; init; } = RouteType.Unicast;

    /// <summary>Who made it (RTPROT_*).</summary>
    public byte Protocol { get; init; } = OwnProtocol;

    /// <summary>Routing table; 254 = main.</summary>
    public int Table { get; init; } = 254;

    /// <summary>Lower wins; 0 = the family's default.</summary>
    public int Metric { get; init; }
}

/// <summary>A permanent neighbour: the MAC address behind an IP address on a link, never asked for.</summary>
/// <param name="LinkIndex">The link.</param>
/// <param name="Destination">The address.</param>
/// <param name="Address">The MAC address.</param>
public sealed record NeighbourSpec(int LinkIndex, IPAddress Destination, PhysicalAddress Address)
{
    /// <summary>For a bridge's or VXLAN's forwarding table: MAC to remote address.</summary>
    public bool IsForwardingEntry { get; init; }
}

/// <summary>A policy rule: packets with the mark look into the table.</summary>
/// <param name="IsIPv6">Family.</param>
/// <param name="Priority">Lower is asked first.</param>
/// <param name="Mark">Value of the mark.</param>
/// <param name="Mask">Bits of the mark that count.</param>
/// <param name="Table">The table.</param>
public sealed record RuleSpec(bool IsIPv6, int Priority, uint Mark, uint Mask, int Table);

/// <summary>A link as the kernel describes it.</summary>
/// <param name="Index">ifindex.</param>
/// <param name="Name">Its name.</param>
/// <param name="Kind">Kind of a virtual link ("veth"); "" for a device.</param>
/// <param name="Mtu">MTU.</param>
/// <param name="IsUp">Administratively up.</param>
/// <param name="IsLoopback">The loopback.</param>
/// <param name="Address">MAC address.</param>
public sealed record LinkInfo(int Index, string Name, string Kind, int Mtu, bool IsUp, bool IsLoopback, PhysicalAddress Address)
{
    /// <summary>What a VXLAN device is; null = the link is none.</summary>
    public VxlanInfo? Vxlan { get; init; }
}

/// <summary>A VXLAN device as the kernel describes it.</summary>
/// <param name="Vni">Network identifier.</param>
/// <param name="Port">UDP port.</param>
/// <param name="UnderlayIndex">Link that carries the packets; 0 = any.</param>
/// <param name="Local">Source address of the packets; null = any.</param>
/// <param name="IsLearning">It learns from what it receives.</param>
public sealed record VxlanInfo(int Vni, ushort Port, int UnderlayIndex, IPAddress? Local, bool IsLearning);

/// <summary>A neighbour or an entry of a forwarding table as the kernel describes it.</summary>
/// <param name="Spec">What it says.</param>
/// <param name="IsPermanent">Somebody put it there; else the kernel found out.</param>
public sealed record NeighbourInfo(NeighbourSpec Spec, bool IsPermanent);

/// <summary>An address of a link.</summary>
public sealed record AddressInfo(int LinkIndex, IPAddress Address, int PrefixLength);

/// <summary>A route as the kernel describes it.</summary>
public sealed record RouteInfo(IPNetwork Destination, int LinkIndex, IPAddress? Gateway, byte Protocol, int Table, RouteType Type, RouteScope Scope, int Metric);
