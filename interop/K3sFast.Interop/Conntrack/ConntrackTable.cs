using System.Net;
using System.Runtime.CompilerServices;
using K3sFast.Interop.Namespaces;
using K3sFast.Interop.Netlink;
using static K3sFast.Interop.Netlink.NetlinkConstants;

namespace K3sFast.Interop.Conntrack;

/// <summary>One direction of a connection as its first packet looked, or as its answers look.</summary>
public readonly record struct ConntrackTuple(IPAddress Source, IPAddress Destination, byte Protocol, ushort SourcePort, ushort DestinationPort);

/// <summary>A tracked connection: <see cref="Original"/> before translation; the answers come from <see cref="Reply"/>'s source.</summary>
public readonly record struct ConntrackEntry(ConntrackTuple Original, ConntrackTuple Reply);

/// <summary>The kernel's connection tracking (ctnetlink, linux/netfilter/nfnetlink_conntrack.h): read and forget connections.</summary>
/// <remarks>Any thread. Reading costs time with the number of tracked connections of the machine: some 100 ms for 100,000.</remarks>
public sealed class ConntrackTable : IDisposable
{
    private const byte NFNL_SUBSYS_CTNETLINK = 1, IPCTNL_MSG_CT_GET = 1, IPCTNL_MSG_CT_DELETE = 2;
    private const ushort CTA_TUPLE_ORIG = 1, CTA_TUPLE_REPLY = 2, CTA_TUPLE_IP = 1, CTA_TUPLE_PROTO = 2;
    private const ushort CTA_IP_V4_SRC = 1, CTA_IP_V4_DST = 2, CTA_IP_V6_SRC = 3, CTA_IP_V6_DST = 4;
    private const ushort CTA_PROTO_NUM = 1, CTA_PROTO_SRC_PORT = 2, CTA_PROTO_DST_PORT = 3;

    private readonly NetlinkSocket _socket;

    internal ConntrackTable(NetlinkSocket socket) => _socket = socket;

    /// <summary>Opens the table of <paramref name="inside"/>, or of the caller's namespace.</summary>
    public static ConntrackTable Open(NetworkNamespace? inside = null) => new(NetlinkSocket.Open(NetlinkProtocol.Netfilter, inside));

    /// <summary>Connections of one family and protocol that <paramref name="filter"/> accepts.</summary>
    public IReadOnlyList<ConntrackEntry> List(bool isIPv6, byte protocol, Func<ConntrackEntry, bool> filter)
    {
        using var request = new NetlinkBatch();
        request.Begin((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET, NLM_F_DUMP, "conntrack list");
        ref var header = ref request.Append<nfgenmsg>();
        header.nfgen_family = Family(isIPv6);
        request.End();
        var state = (Found: new List<ConntrackEntry>(), protocol, filter);
        _socket.Dump(request, state, static state => state.Found.Clear(), static (_, payload, state) =>
        {
            if (TryRead(payload, state.protocol, out var entry) && state.filter(entry)) state.Found.Add(entry);
        });
        return state.Found;
    }

    /// <summary>Forgets connections: their next packet is looked at as a new connection's first. Those that are gone already are fine.</summary>
    /// <exception cref="KernelException">Refused for another reason.</exception>
    public void Delete(IReadOnlyList<ConntrackEntry> entries)
    {
        // So many at a time keep the request below the default send queue.
        const int chunk = 500;
        using var batch = new NetlinkBatch();
        for (var start = 0; start < entries.Count; start += chunk)
        {
            batch.Clear();
            for (var i = start; i < Math.Min(start + chunk, entries.Count); i++) WriteDelete(batch, entries[i].Original);
            _socket.Execute(batch);
        }
    }

    /// <summary>Closes the socket.</summary>
    public void Dispose() => _socket.Dispose();

    internal static void WriteDelete(NetlinkBatch batch, in ConntrackTuple tuple)
    {
        var isIPv6 = tuple.Source.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        batch.Begin((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE, NLM_F_ACK, "conntrack delete", null, Errno.ENOENT);
        ref var header = ref batch.Append<nfgenmsg>();
        header.nfgen_family = Family(isIPv6);
        var original = batch.BeginNested(CTA_TUPLE_ORIG);
        var ip = batch.BeginNested(CTA_TUPLE_IP);
        RouteBatch.Address(batch, isIPv6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, tuple.Source);
        RouteBatch.Address(batch, isIPv6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, tuple.Destination);
        batch.EndNested(ip);
        var proto = batch.BeginNested(CTA_TUPLE_PROTO);
        batch.U8(CTA_PROTO_NUM, tuple.Protocol);
        batch.U16BigEndian(CTA_PROTO_SRC_PORT, tuple.SourcePort);
        batch.U16BigEndian(CTA_PROTO_DST_PORT, tuple.DestinationPort);
        batch.EndNested(proto);
        batch.EndNested(original);
        batch.End();
    }

    private static byte Family(bool isIPv6) => isIPv6 ? (byte)Libc.AF_INET6 : (byte)Libc.AF_INET;

    // Addresses are made only for connections of the protocol: most of a table is TCP and is passed over.
    internal static bool TryRead(ReadOnlySpan<byte> payload, byte protocol, out ConntrackEntry entry)
    {
        entry = default;
        if (payload.Length < Unsafe.SizeOf<nfgenmsg>()) return false;
        ConntrackTuple original = default, reply = default;
        for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<nfgenmsg>()..]); attributes.Next();)
        {
            if (attributes.Type == CTA_TUPLE_ORIG && !TryReadTuple(attributes.Payload, protocol, out original)) return false;
            if (attributes.Type == CTA_TUPLE_REPLY && !TryReadTuple(attributes.Payload, protocol, out reply)) return false;
        }
        entry = new ConntrackEntry(original, reply);
        return original.Source is not null && reply.Source is not null;
    }

    private static bool TryReadTuple(ReadOnlySpan<byte> payload, byte protocol, out ConntrackTuple tuple)
    {
        ReadOnlySpan<byte> source = default, destination = default;
        var (number, sourcePort, destinationPort) = ((byte)0, (ushort)0, (ushort)0);
        for (var parts = new NetlinkAttributes(payload); parts.Next();)
        {
            if (parts.Type == CTA_TUPLE_IP)
            {
                for (var ip = new NetlinkAttributes(parts.Payload); ip.Next();)
                {
                    if (ip.Type is CTA_IP_V4_SRC or CTA_IP_V6_SRC) source = ip.Payload;
                    if (ip.Type is CTA_IP_V4_DST or CTA_IP_V6_DST) destination = ip.Payload;
                }
            }
            else if (parts.Type == CTA_TUPLE_PROTO)
            {
                for (var proto = new NetlinkAttributes(parts.Payload); proto.Next();)
                {
                    if (proto.Type == CTA_PROTO_NUM) number = proto.U8;
                    if (proto.Type == CTA_PROTO_SRC_PORT) sourcePort = proto.U16BigEndian;
                    if (proto.Type == CTA_PROTO_DST_PORT) destinationPort = proto.U16BigEndian;
                }
            }
        }
        tuple = default;
        if (number != protocol || source.Length is not (4 or 16) || destination.Length != source.Length) return false;
        tuple = new ConntrackTuple(new IPAddress(source), new IPAddress(destination), number, sourcePort, destinationPort);
        return true;
    }
}
