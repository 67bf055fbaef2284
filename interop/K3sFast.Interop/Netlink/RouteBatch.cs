using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.Netlink.RouteConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>Writes rtnetlink requests from specs. Each asks for its acknowledgement: send with <see cref="NetlinkSocket.Execute"/>.</summary>
public static class RouteBatch
{
    /// <summary>Makes a veth pair, its far end straight in the other namespace; the end here is up, the far end waits to be brought up.</summary>
    public static void AddVeth(this NetlinkBatch batch, VethSpec spec)
    {
        batch.Begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "add link", spec.Name);
        WriteLink(batch, spec.Name, spec.Address, spec.Mtu);
        var info = BeginKind(batch, "veth", out var data);
        var peer = batch.BeginNested(VETH_INFO_PEER);
        // The kernel configures the far end before the two are joined, and refuses to open half a pair (ENOTCONN).
        WriteLink(batch, spec.PeerName, spec.PeerAddress, spec.Mtu, isUp: false);
        batch.U32(IFLA_NET_NS_FD, (uint)spec.Peer.Descriptor);
        batch.EndNested(peer);
        EndKind(batch, info, data);
        batch.End();
    }

    /// <summary>Makes a VXLAN device, up.</summary>
    public static void AddVxlan(this NetlinkBatch batch, VxlanSpec spec)
    {
        batch.Begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "add link", spec.Name);
        WriteLink(batch, spec.Name, spec.Address, spec.Mtu);
        var info = BeginKind(batch, "vxlan", out var data);
        batch.U32(IFLA_VXLAN_ID, (uint)spec.Vni);
        batch.U32(IFLA_VXLAN_LINK, (uint)spec.UnderlayIndex);
        Address(batch, spec.Local.AddressFamily == AddressFamily.InterNetworkV6 ? IFLA_VXLAN_LOCAL6 : IFLA_VXLAN_LOCAL, spec.Local);
        batch.U8(IFLA_VXLAN_LEARNING, 0);
        batch.U16BigEndian(IFLA_VXLAN_PORT, spec.Port);
        EndKind(batch, info, data);
        batch.End();
    }

    /// <summary>Makes a WireGuard device, up; keys and peers come by <see cref="WireGuardSocket"/>.</summary>
    public static void AddWireGuard(this NetlinkBatch batch, string name, int mtu)
    {
        batch.Begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "add link", name);
        ref var link = ref batch.Append<ifinfomsg>();
        (link.ifi_flags, link.ifi_change) = (IFF_UP, IFF_UP);
        batch.Text(IFLA_IFNAME, name);
        batch.U32(IFLA_MTU, (uint)mtu);
        var info = batch.BeginNested(IFLA_LINKINFO);
        batch.Text(IFLA_INFO_KIND, "wireguard");
        batch.EndNested(info);
        batch.End();
    }

    /// <summary>Makes a dummy device, up.</summary>
    public static void AddDummy(this NetlinkBatch batch, string name, PhysicalAddress address, int mtu)
    {
        batch.Begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "add link", name);
        WriteLink(batch, name, address, mtu);
        EndKind(batch, BeginKind(batch, "dummy", out var data), data);
        batch.End();
    }

    /// <summary>Removes a link (of a veth pair: both ends); one that is not there is fine.</summary>
    public static void DeleteLink(this NetlinkBatch batch, string name)
    {
        batch.Begin(RTM_DELLINK, NLM_F_ACK, "delete link", name, Errno.ENODEV);
        batch.Append<ifinfomsg>();
        batch.Text(IFLA_IFNAME, name);
        batch.End();
    }

    /// <summary>Brings a link up.</summary>
    public static void SetLinkUp(this NetlinkBatch batch, int linkIndex)
    {
        batch.Begin(RTM_NEWLINK, NLM_F_ACK, "set link up");
        ref var link = ref batch.Append<ifinfomsg>();
        (link.ifi_index, link.ifi_flags, link.ifi_change) = (linkIndex, IFF_UP, IFF_UP);
        batch.End();
    }

    /// <summary>Changes a link's MTU.</summary>
    public static void SetLinkMtu(this NetlinkBatch batch, int linkIndex, int mtu)
    {
        batch.Begin(RTM_NEWLINK, NLM_F_ACK, "set link mtu");
        batch.Append<ifinfomsg>().ifi_index = linkIndex;
        batch.U32(IFLA_MTU, (uint)mtu);
        batch.End();
    }

    /// <summary>Takes an address off a link; one that is not there is fine.</summary>
    public static void DeleteAddress(this NetlinkBatch batch, int linkIndex, IPAddress address, int prefixLength)
    {
        batch.Begin(RTM_DELADDR, NLM_F_ACK, "delete address", null, Errno.EADDRNOTAVAIL);
        ref var header = ref batch.Append<ifaddrmsg>();
        header.ifa_family = Family(address);
        header.ifa_prefixlen = (byte)prefixLength;
        header.ifa_index = (uint)linkIndex;
        Address(batch, IFA_LOCAL, address);
        batch.End();
    }

    /// <summary>Gives a link an address, usable at once (no duplicate detection: the caller knows that it is unique).</summary>
    public static void AddAddress(this NetlinkBatch batch, int linkIndex, IPAddress address, int prefixLength)
    {
        batch.Begin(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, "add address");
        ref var header = ref batch.Append<ifaddrmsg>();
        header.ifa_family = Family(address);
        header.ifa_prefixlen = (byte)prefixLength;
        header.ifa_flags = IFA_F_NODAD;
        header.ifa_scope = (byte)RouteScope.Universe;
        header.ifa_index = (uint)linkIndex;
        Address(batch, IFA_LOCAL, address);
        Address(batch, IFA_ADDRESS, address);
        batch.End();
    }

    /// <summary>Adds a route, or replaces the one to the same destination.</summary>
    public static void ReplaceRoute(this NetlinkBatch batch, RouteSpec spec) =>
        Route(batch, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, "replace route", spec, 0);

    /// <summary>Removes a route; one that is not there is fine.</summary>
    public static void DeleteRoute(this NetlinkBatch batch, RouteSpec spec) => Route(batch, RTM_DELROUTE, NLM_F_ACK, "delete route", spec, Errno.ESRCH);

    /// <summary>Adds a permanent neighbour, or replaces it.</summary>
    public static void ReplaceNeighbour(this NetlinkBatch batch, NeighbourSpec spec) =>
        Neighbour(batch, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, "replace neighbour", spec, 0);

    /// <summary>Removes a neighbour; one that is not there is fine.</summary>
    public static void DeleteNeighbour(this NetlinkBatch batch, NeighbourSpec spec) =>
        Neighbour(batch, RTM_DELNEIGH, NLM_F_ACK, "delete neighbour", spec, Errno.ENOENT);

    /// <summary>Adds a policy rule; one that is there is fine.</summary>
    public static void AddRule(this NetlinkBatch batch, RuleSpec spec) => Rule(batch, RTM_NEWRULE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, "add rule", spec, Errno.EEXIST);

    /// <summary>Removes a policy rule; one that is not there is fine.</summary>
    public static void DeleteRule(this NetlinkBatch batch, RuleSpec spec) => Rule(batch, RTM_DELRULE, NLM_F_ACK, "delete rule", spec, Errno.ENOENT);

    internal static byte Family(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6 ? (byte)Libc.AF_INET6 : (byte)Libc.AF_INET;

    internal static void Address(NetlinkBatch batch, ushort type, IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        batch.Bytes(type, bytes[..length]);
    }

    // ifi_change is what the kernel looks at: only the up flag is set, the rest stays as the driver has it.
    private static void WriteLink(NetlinkBatch batch, string name, PhysicalAddress address, int mtu, bool isUp = true)
    {
        ref var link = ref batch.Append<ifinfomsg>();
        if (isUp) (link.ifi_flags, link.ifi_change) = (IFF_UP, IFF_UP);
        batch.Text(IFLA_IFNAME, name);
        batch.U32(IFLA_MTU, (uint)mtu);
        batch.Bytes(IFLA_ADDRESS, address.GetAddressBytes());
    }

    private static int BeginKind(NetlinkBatch batch, string kind, out int data)
    {
        var info = batch.BeginNested(IFLA_LINKINFO);
        batch.Text(IFLA_INFO_KIND, kind);
        data = batch.BeginNested(IFLA_INFO_DATA);
        return info;
    }

    private static void EndKind(NetlinkBatch batch, int info, int data)
    {
        batch.EndNested(data);
        batch.EndNested(info);
    }

    private static void Route(NetlinkBatch batch, ushort type, ushort flags, string operation, RouteSpec spec, int tolerated)
    {
        batch.Begin(type, flags, operation, null, tolerated);
        ref var header = ref batch.Append<rtmsg>();
        header.rtm_family = Family(spec.Destination.BaseAddress);
        header.rtm_dst_len = (byte)spec.Destination.PrefixLength;
        header.rtm_table = spec.Table < 256 ? (byte)spec.Table : RT_TABLE_COMPAT;
        header.rtm_protocol = spec.Protocol;
        header.rtm_scope = (byte)spec.Scope;
        header.rtm_type = (byte)spec.Type;
        header.rtm_flags = spec.IsOnLink ? RTNH_F_ONLINK : 0;
        if (spec.Destination.PrefixLength > 0) Address(batch, RTA_DST, spec.Destination.BaseAddress);
        if (spec.LinkIndex != 0) batch.U32(RTA_OIF, (uint)spec.LinkIndex);
        if (spec.Gateway is not null) Address(batch, RTA_GATEWAY, spec.Gateway);
        if (spec.PreferredSource is not null) Address(batch, RTA_PREFSRC, spec.PreferredSource);
        if (spec.Metric != 0) batch.U32(RTA_PRIORITY, (uint)spec.Metric);
        if (spec.Table >= 256) batch.U32(RTA_TABLE, (uint)spec.Table);
        batch.End();
    }

    private static void Neighbour(NetlinkBatch batch, ushort type, ushort flags, string operation, NeighbourSpec spec, int tolerated)
    {
        batch.Begin(type, flags, operation, null, tolerated);
        ref var header = ref batch.Append<ndmsg>();
        header.ndm_family = spec.IsForwardingEntry ? AF_BRIDGE : Family(spec.Destination);
        header.ndm_ifindex = spec.LinkIndex;
        header.ndm_state = NUD_PERMANENT;
        header.ndm_flags = spec.IsForwardingEntry ? NTF_SELF : (byte)0;
        Address(batch, NDA_DST, spec.Destination);
        batch.Bytes(NDA_LLADDR, spec.Address.GetAddressBytes());
        batch.End();
    }

    private static void Rule(NetlinkBatch batch, ushort type, ushort flags, string operation, RuleSpec spec, int tolerated)
    {
        batch.Begin(type, flags, operation, null, tolerated);
        ref var header = ref batch.Append<fib_rule_hdr>();
        header.family = spec.IsIPv6 ? (byte)Libc.AF_INET6 : (byte)Libc.AF_INET;
        header.table = spec.Table < 256 ? (byte)spec.Table : RT_TABLE_COMPAT;
        header.action = FR_ACT_TO_TBL;
        batch.U32(FRA_PRIORITY, (uint)spec.Priority);
        batch.U32(FRA_FWMARK, spec.Mark);
        batch.U32(FRA_FWMASK, spec.Mask);
        batch.U32(FRA_TABLE, (uint)spec.Table);
        batch.End();
    }
}
