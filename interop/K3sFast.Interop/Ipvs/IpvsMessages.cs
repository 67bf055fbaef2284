using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using K3sFast.Interop.Netlink;
using static K3sFast.Interop.Ipvs.IpvsConstants;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Ipvs;

/// <summary>Writes and reads IPVS' messages: <c>nlmsghdr | genlmsghdr | a nested server | a nested destination</c>. Addresses fill 16 bytes whatever their family.</summary>
internal static class IpvsMessages
{
    // A persistent server's mask: each client for himself. For IPv6 it is a length.
    private const uint OneClient = 0xffffffff, OneClient6 = 128;

    internal static void AddServer(NetlinkBatch batch, ushort family, IpvsServer server) => WriteServer(batch, family, IPVS_CMD_NEW_SERVICE, "add virtual server", server, isWhole: true, Errno.EEXIST);

    internal static void SetServer(NetlinkBatch batch, ushort family, IpvsServer server) => WriteServer(batch, family, IPVS_CMD_SET_SERVICE, "change virtual server", server, isWhole: true, 0);

    internal static void DeleteServer(NetlinkBatch batch, ushort family, IpvsServer server) => WriteServer(batch, family, IPVS_CMD_DEL_SERVICE, "delete virtual server", server, isWhole: false, Errno.ESRCH);

    internal static void AddDestination(NetlinkBatch batch, ushort family, IpvsServer server, IpvsDestination destination) =>
        WriteDestination(batch, family, IPVS_CMD_NEW_DEST, "add destination", server, destination, isWhole: true, Errno.EEXIST);

    internal static void SetDestination(NetlinkBatch batch, ushort family, IpvsServer server, IpvsDestination destination) =>
        WriteDestination(batch, family, IPVS_CMD_SET_DEST, "change destination", server, destination, isWhole: true, Errno.ENOENT);

    internal static void DeleteDestination(NetlinkBatch batch, ushort family, IpvsServer server, IpvsDestination destination) =>
        WriteDestination(batch, family, IPVS_CMD_DEL_DEST, "delete destination", server, destination, isWhole: false, Errno.ENOENT);

    /// <summary>Idle times in seconds; 0 leaves the kernel's.</summary>
    internal static void SetTimeouts(NetlinkBatch batch, ushort family, uint tcp, uint tcpFin, uint udp)
    {
        GenericNetlink.Begin(batch, family, IPVS_CMD_SET_CONFIG, IPVS_GENL_VERSION, NLM_F_ACK, "set timeouts of virtual servers");
        batch.U32(IPVS_CMD_ATTR_TIMEOUT_TCP, tcp);
        batch.U32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcpFin);
        batch.U32(IPVS_CMD_ATTR_TIMEOUT_UDP, udp);
        batch.End();
    }

    internal static void ListServers(NetlinkBatch batch, ushort family)
    {
        GenericNetlink.Begin(batch, family, IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION, NLM_F_DUMP, "list virtual servers");
        batch.End();
    }

    internal static void ListDestinations(NetlinkBatch batch, ushort family, IpvsServer server)
    {
        GenericNetlink.Begin(batch, family, IPVS_CMD_GET_DEST, IPVS_GENL_VERSION, NLM_F_DUMP, "list destinations", server.Address.ToString());
        NestServer(batch, server, isWhole: false);
        batch.End();
    }

    /// <summary>Reads a server out of an answer; null = there is none in it, or one by mark, which is nobody's here.</summary>
    internal static IpvsServer? ReadServer(ReadOnlySpan<byte> payload)
    {
        if (payload.Length < Unsafe.SizeOf<genlmsghdr>()) return null;
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<genlmsghdr>()..]); attributes.Next();)
        {
            if (attributes.Type != IPVS_CMD_ATTR_SERVICE) continue;
            var (isIPv6, protocol, port, scheduler, flags, timeout) = (false, (byte)0, (ushort)0, "", 0u, 0u);
            ReadOnlySpan<byte> address = default;
            for (var server = new NetlinkAttributes(attributes.Payload); server.Next();)
            {
                switch (server.Type)
                {
                    case IPVS_SVC_ATTR_AF: isIPv6 = server.U8 == Libc.AF_INET6; break;
                    case IPVS_SVC_ATTR_PROTOCOL: protocol = server.U8; break;
                    case IPVS_SVC_ATTR_ADDR: address = server.Payload; break;
                    case IPVS_SVC_ATTR_PORT: port = server.U16BigEndian; break;
                    case IPVS_SVC_ATTR_SCHED_NAME: scheduler = server.Text; break;
                    case IPVS_SVC_ATTR_FLAGS: flags = server.U32; break;
                    case IPVS_SVC_ATTR_TIMEOUT: timeout = server.U32; break;
                    default: break;
                }
            }
            if (protocol == 0 || ReadAddress(address, isIPv6) is not { } read) return null;
            var persistence = (flags & IP_VS_SVC_F_PERSISTENT) != 0 ? TimeSpan.FromSeconds(timeout) : TimeSpan.Zero;
            return new IpvsServer(protocol, new IPEndPoint(read, port), scheduler, persistence, (flags & IP_VS_SVC_F_SCHED1) != 0);
        }
        return null;
    }

    /// <summary>Reads a destination out of an answer; null = there is none in it.</summary>
    internal static IpvsDestination? ReadDestination(ReadOnlySpan<byte> payload, bool isIPv6)
    {
        if (payload.Length < Unsafe.SizeOf<genlmsghdr>()) return null;
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<genlmsghdr>()..]); attributes.Next();)
        {
            if (attributes.Type != IPVS_CMD_ATTR_DEST) continue;
            var (port, weight, active) = ((ushort)0, 0, 0);
            ReadOnlySpan<byte> address = default;
            for (var destination = new NetlinkAttributes(attributes.Payload); destination.Next();)
            {
                switch (destination.Type)
                {
                    case IPVS_DEST_ATTR_ADDR: address = destination.Payload; break;
                    case IPVS_DEST_ATTR_PORT: port = destination.U16BigEndian; break;
                    case IPVS_DEST_ATTR_WEIGHT: weight = (int)destination.U32; break;
                    case IPVS_DEST_ATTR_ACTIVE_CONNS: active = (int)destination.U32; break;
                    default: break;
                }
            }
            return ReadAddress(address, isIPv6) is { } read ? new IpvsDestination(new IPEndPoint(read, port), weight, active) : null;
        }
        return null;
    }

    private static IPAddress? ReadAddress(ReadOnlySpan<byte> bytes, bool isIPv6)
    {
        var length = isIPv6 ? 16 : 4;
        return bytes.Length >= length ? new IPAddress(bytes[..length]) : null;
    }

    private static void WriteServer(NetlinkBatch batch, ushort family, byte command, string operation, IpvsServer server, bool isWhole, int tolerated)
    {
        Begin(batch, family, command, operation, server.Address, tolerated);
        NestServer(batch, server, isWhole);
        batch.End();
    }

    private static void WriteDestination(NetlinkBatch batch, ushort family, byte command, string operation, IpvsServer server, in IpvsDestination destination, bool isWhole, int tolerated)
    {
        Begin(batch, family, command, operation, destination.Address, tolerated);
        NestServer(batch, server, isWhole: false);
        var nested = batch.BeginNested(IPVS_CMD_ATTR_DEST);
        WriteAddress(batch, IPVS_DEST_ATTR_ADDR, destination.Address.Address);
        batch.U16BigEndian(IPVS_DEST_ATTR_PORT, (ushort)destination.Address.Port);
        if (isWhole)
        {
            batch.U32(IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_MASQ);
            batch.U32(IPVS_DEST_ATTR_WEIGHT, (uint)destination.Weight);
            batch.U32(IPVS_DEST_ATTR_U_THRESH, 0);
            batch.U32(IPVS_DEST_ATTR_L_THRESH, 0);
        }
        batch.U16(IPVS_DEST_ATTR_ADDR_FAMILY, RouteBatch.Family(destination.Address.Address));
        batch.EndNested(nested);
        batch.End();
    }

    private static void Begin(NetlinkBatch batch, ushort family, byte command, string operation, IPEndPoint subject, int tolerated)
    {
        batch.Begin(family, NLM_F_ACK, operation, subject.ToString(), tolerated);
        ref var header = ref batch.Append<genlmsghdr>();
        (header.cmd, header.version) = (command, IPVS_GENL_VERSION);
    }

    private static void NestServer(NetlinkBatch batch, IpvsServer server, bool isWhole)
    {
        var nested = batch.BeginNested(IPVS_CMD_ATTR_SERVICE);
        batch.U16(IPVS_SVC_ATTR_AF, RouteBatch.Family(server.Address.Address));
        batch.U16(IPVS_SVC_ATTR_PROTOCOL, server.Protocol);
        WriteAddress(batch, IPVS_SVC_ATTR_ADDR, server.Address.Address);
        batch.U16BigEndian(IPVS_SVC_ATTR_PORT, (ushort)server.Address.Port);
        if (isWhole)
        {
            var flags = (server.Persistence > TimeSpan.Zero ? IP_VS_SVC_F_PERSISTENT : 0) | (server.IsSourceHashed ? IP_VS_SVC_F_SCHED1 : 0);
            batch.Text(IPVS_SVC_ATTR_SCHED_NAME, server.Scheduler);
            // struct ip_vs_flags: the flags, and which of them are meant.
            Span<byte> both = stackalloc byte[8];
            BitConverter.TryWriteBytes(both, flags);
            BitConverter.TryWriteBytes(both[4..], uint.MaxValue);
            batch.Bytes(IPVS_SVC_ATTR_FLAGS, both);
            batch.U32(IPVS_SVC_ATTR_TIMEOUT, (uint)server.Persistence.TotalSeconds);
            batch.U32(IPVS_SVC_ATTR_NETMASK, server.Address.AddressFamily == AddressFamily.InterNetworkV6 ? OneClient6 : OneClient);
        }
        batch.EndNested(nested);
    }

    // union nf_inet_addr
    private static void WriteAddress(NetlinkBatch batch, ushort type, IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        address.TryWriteBytes(bytes, out _);
        batch.Bytes(type, bytes);
    }
}
