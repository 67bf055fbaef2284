using System.Net;
using System.Net.NetworkInformation;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.Netlink.RouteConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>Links, addresses and routes of one network namespace: carries out batches and answers what is there.</summary>
/// <remarks>Any thread; a request costs one syscall for sending and one per 32 KB of answer.</remarks>
public sealed class RouteSocket : IDisposable
{
    private readonly NetlinkSocket _socket;

    internal RouteSocket(NetlinkSocket socket) => _socket = socket;

    /// <summary>Opens a socket into <paramref name="inside"/>, or into the caller's namespace.</summary>
    public static RouteSocket Open(NetworkNamespace? inside = null) => new(NetlinkSocket.Open(NetlinkProtocol.Route, inside));

    /// <summary>Carries out a batch; see <see cref="NetlinkSocket.Execute"/>.</summary>
    public void Execute(NetlinkBatch batch) => _socket.Execute(batch);

    /// <summary>Closes the socket.</summary>
    public void Dispose() => _socket.Dispose();

    /// <summary>The link of that name; null = there is none.</summary>
    public LinkInfo? FindLink(string name)
    {
        using var request = new NetlinkBatch();
        // A single object is acknowledged after it, which ends the exchange as NLMSG_DONE ends a dump.
        request.Begin(RTM_GETLINK, NLM_F_ACK, "get link", name);
        request.Append<ifinfomsg>();
        request.Text(IFLA_IFNAME, name);
        request.U32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        request.End();
        try
        {
            var found = Collect<LinkInfo>(request, static (_, payload, links) => ReadLink(payload, links));
            return found.Count > 0 ? found[0] : null;
        }
        catch (KernelException e) when (e.Errno == Errno.ENODEV)
        {
            return null;
        }
    }

    /// <summary>All links.</summary>
    public IReadOnlyList<LinkInfo> ListLinks()
    {
        using var request = new NetlinkBatch();
        request.Begin(RTM_GETLINK, NLM_F_DUMP, "list links");
        request.Append<ifinfomsg>();
        request.U32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        request.End();
        return Collect<LinkInfo>(request, static (_, payload, links) => ReadLink(payload, links));
    }

    /// <summary>All addresses of both families.</summary>
    public IReadOnlyList<AddressInfo> ListAddresses()
    {
        using var request = new NetlinkBatch();
        request.Begin(RTM_GETADDR, NLM_F_DUMP, "list addresses");
        request.Append<ifaddrmsg>();
        request.End();
        return Collect<AddressInfo>(request, static (_, payload, addresses) =>
        {
            if (payload.Length < Unsafe.SizeOf<ifaddrmsg>()) return;
            var header = MemoryMarshal.Read<ifaddrmsg>(payload);
            IPAddress? local = null, address = null;
            for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<ifaddrmsg>()..]); attributes.Next();)
            {
                if (attributes.Type == IFA_LOCAL) local = attributes.Address;
                if (attributes.Type == IFA_ADDRESS) address = attributes.Address;
            }
            // On a point-to-point link IFA_ADDRESS is the other end's; IPv6 has no IFA_LOCAL otherwise.
            if ((local ?? address) is { } own) addresses.Add(new AddressInfo((int)header.ifa_index, own, header.ifa_prefixlen));
        });
    }

    /// <summary>All routes of one family, every table.</summary>
    public IReadOnlyList<RouteInfo> ListRoutes(bool isIPv6)
    {
        using var request = new NetlinkBatch();
        request.Begin(RTM_GETROUTE, NLM_F_DUMP, "list routes");
        ref var header = ref request.Append<rtmsg>();
        header.rtm_family = isIPv6 ? (byte)Libc.AF_INET6 : (byte)Libc.AF_INET;
        request.End();
        return Collect<RouteInfo>(request, static (_, payload, routes) => ReadRoute(payload, routes));
    }

    /// <summary>Neighbours of both families on a link, and its forwarding table.</summary>
    public IReadOnlyList<NeighbourInfo> ListNeighbours(int linkIndex)
    {
        var found = new List<NeighbourInfo>();
        foreach (var family in (ReadOnlySpan<byte>)[Libc.AF_INET, Libc.AF_INET6, AF_BRIDGE])
        {
            using var request = new NetlinkBatch();
            request.Begin(RTM_GETNEIGH, NLM_F_DUMP, "list neighbours");
            ref var header = ref request.Append<ndmsg>();
            header.ndm_family = family;
            request.End();
            found.AddRange(Collect<NeighbourInfo>(request, static (_, payload, neighbours) => ReadNeighbour(payload, neighbours)).Where(neighbour => neighbour.Spec.LinkIndex == linkIndex));
        }
        return found;
    }

    // What names no address is nobody's business here: a forwarding entry of the device itself, or one that is being asked for.
    internal static void ReadNeighbour(ReadOnlySpan<byte> payload, List<NeighbourInfo> neighbours)
    {
        if (payload.Length < Unsafe.SizeOf<ndmsg>()) return;
        var header = MemoryMarshal.Read<ndmsg>(payload);
        IPAddress? destination = null;
        PhysicalAddress? address = null;
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<ndmsg>()..]); attributes.Next();)
        {
            if (attributes.Type == NDA_DST) destination = attributes.Address;
            if (attributes.Type == NDA_LLADDR) address = new PhysicalAddress(attributes.Payload.ToArray());
        }
        if (destination is null || address is null) return;
        var spec = new NeighbourSpec(header.ndm_ifindex, destination, address) { IsForwardingEntry = header.ndm_family == AF_BRIDGE };
        neighbours.Add(new NeighbourInfo(spec, (header.ndm_state & NUD_PERMANENT) != 0));
    }

    internal static void ReadLink(ReadOnlySpan<byte> payload, List<LinkInfo> links)
    {
        if (payload.Length < Unsafe.SizeOf<ifinfomsg>()) return;
        var header = MemoryMarshal.Read<ifinfomsg>(payload);
        var (name, kind, mtu, address) = ("", "", 0, PhysicalAddress.None);
        ReadOnlySpan<byte> data = default;
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<ifinfomsg>()..]); attributes.Next();)
        {
            switch (attributes.Type)
            {
                case IFLA_IFNAME: name = attributes.Text; break;
                case IFLA_MTU: mtu = (int)attributes.U32; break;
                case IFLA_ADDRESS: address = new PhysicalAddress(attributes.Payload.ToArray()); break;
                case IFLA_LINKINFO:
                    for (var info = new NetlinkAttributes(attributes.Payload); info.Next();)
                    {
                        if (info.Type == IFLA_INFO_KIND) kind = info.Text;
                        else if (info.Type == IFLA_INFO_DATA) data = info.Payload;
                    }
                    break;
                default: break;
            }
        }
        links.Add(new LinkInfo(header.ifi_index, name, kind, mtu, (header.ifi_flags & IFF_UP) != 0, (header.ifi_flags & IFF_LOOPBACK) != 0, address)
        {
            Vxlan = kind == "vxlan" ? ReadVxlan(data) : null,
        });
    }

    private static VxlanInfo ReadVxlan(ReadOnlySpan<byte> data)
    {
        var (vni, port, link, isLearning) = (0, (ushort)0, 0, false);
        IPAddress? local = null;
        for (var attributes = new NetlinkAttributes(data); attributes.Next();)
        {
            switch (attributes.Type)
            {
                case IFLA_VXLAN_ID: vni = (int)attributes.U32; break;
                case IFLA_VXLAN_PORT: port = attributes.U16BigEndian; break;
                case IFLA_VXLAN_LINK: link = (int)attributes.U32; break;
                case IFLA_VXLAN_LOCAL or IFLA_VXLAN_LOCAL6: local = attributes.Address; break;
                case IFLA_VXLAN_LEARNING: isLearning = attributes.U8 != 0; break;
                default: break;
            }
        }
        return new VxlanInfo(vni, port, link, local, isLearning);
    }

    internal static void ReadRoute(ReadOnlySpan<byte> payload, List<RouteInfo> routes)
    {
        if (payload.Length < Unsafe.SizeOf<rtmsg>()) return;
        var header = MemoryMarshal.Read<rtmsg>(payload);
        var destination = header.rtm_family == Libc.AF_INET6 ? IPAddress.IPv6Any : IPAddress.Any;
        IPAddress? gateway = null;
        var (link, table, metric) = (0, (int)header.rtm_table, 0);
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<rtmsg>()..]); attributes.Next();)
        {
            switch (attributes.Type)
            {
                case RTA_DST: destination = attributes.Address ?? destination; break;
                case RTA_GATEWAY: gateway = attributes.Address; break;
                case RTA_OIF: link = (int)attributes.U32; break;
                case RTA_TABLE: table = (int)attributes.U32; break;
                case RTA_PRIORITY: metric = (int)attributes.U32; break;
                default: break;
            }
        }
        // The kernel keeps no bits behind the prefix; what does is not a route.
        if (!IPNetwork.TryParse($"{destination}/{header.rtm_dst_len}", out var network)) return;
        routes.Add(new RouteInfo(network, link, gateway, header.rtm_protocol, table, (RouteType)header.rtm_type, (RouteScope)header.rtm_scope, metric));
    }

    /// <summary>What a dump brings, read message by message.</summary>
    internal List<T> Collect<T>(NetlinkBatch request, NetlinkSocket.MessageHandler<List<T>> handler)
    {
        var found = new List<T>();
        _socket.Dump(request, found, static list => list.Clear(), handler);
        return found;
    }
}
