using System.Buffers.Binary;
using System.Runtime.InteropServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.NetlinkConstants;

// Kernel structs keep the kernel's names and field names.
#pragma warning disable CA1707, CS8981, IDE1006, SA1300

namespace K3sFast.Interop.Netlink;

/// <summary>linux/inet_diag.h: addresses and ports of a socket, in network order.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct inet_diag_sockid
{
    internal ushort idiag_sport;
    internal ushort idiag_dport;
    internal fixed uint idiag_src[4];
    internal fixed uint idiag_dst[4];
    internal uint idiag_if;
    internal fixed uint idiag_cookie[2];
}

/// <summary>linux/inet_diag.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct inet_diag_req_v2
{
    internal byte sdiag_family;
    internal byte sdiag_protocol;
    internal byte idiag_ext;
    internal byte pad;
    internal uint idiag_states;
    internal inet_diag_sockid id;
}

/// <summary>linux/inet_diag.h</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct inet_diag_msg
{
    internal byte idiag_family;
    internal byte idiag_state;
    internal byte idiag_timer;
    internal byte idiag_retrans;
    internal inet_diag_sockid id;
    internal uint idiag_expires;
    internal uint idiag_rqueue;
    internal uint idiag_wqueue;
    internal uint idiag_uid;
    internal uint idiag_inode;
}

/// <summary>linux/sock_diag.h, linux/inet_diag.h</summary>
internal static class SocketDiagnosticsConstants
{
    internal const ushort SOCK_DIAG_BY_FAMILY = 20, SOCK_DESTROY = 21;
}

/// <summary>The UDP sockets of a namespace that have a peer, and how to end one: its owner's next call fails with ECONNABORTED.</summary>
internal sealed unsafe class SocketDiagnostics : IDisposable
{
    private const byte Udp = 17;

    // A socket that was connected counts as established (net/tcp_states.h), whatever the protocol.
    private const uint Established = 1 << 1;

    private readonly NetlinkSocket _socket;

    internal SocketDiagnostics(NetlinkSocket socket) => _socket = socket;

    /// <summary>Opens a view on the sockets of <paramref name="inside"/>, or of the caller's namespace.</summary>
    /// <exception cref="KernelException">The kernel has none.</exception>
    internal static SocketDiagnostics Open(NetworkNamespace? inside = null) => new(NetlinkSocket.Open(NetlinkProtocol.SocketDiagnostics, inside));

    /// <summary>UDP sockets of one family with a peer that <paramref name="filter"/> accepts; it gets the peer's address (4 or 16 bytes), its port and the socket's cookie.</summary>
    internal List<inet_diag_msg> ListDatagram(bool isIPv6, DatagramFilter filter)
    {
        using var request = new NetlinkBatch();
        Begin(request, SocketDiagnosticsConstants.SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, isIPv6, "list sockets");
        request.End();
        var state = (Found: new List<inet_diag_msg>(), filter);
        _socket.Dump(request, state, static state => state.Found.Clear(), static (_, payload, state) =>
        {
            if (payload.Length < sizeof(inet_diag_msg)) return;
            var message = MemoryMarshal.Read<inet_diag_msg>(payload);
            var address = MemoryMarshal.AsBytes(new ReadOnlySpan<uint>(message.id.idiag_dst, message.idiag_family == Libc.AF_INET6 ? 4 : 1));
            var port = BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(message.id.idiag_dport) : message.id.idiag_dport;
            if (state.filter(address, port, CookieOf(message))) state.Found.Add(message);
        });
        return state.Found;
    }

    /// <summary>Ends sockets; those that are closed by now are fine.</summary>
    /// <exception cref="KernelException">EOPNOTSUPP: the kernel was built without CONFIG_INET_DIAG_DESTROY.</exception>
    internal void Destroy(IReadOnlyList<inet_diag_msg> sockets)
    {
        if (sockets.Count == 0) return;
        using var batch = new NetlinkBatch();
        foreach (var socket in sockets)
        {
            Begin(batch, SocketDiagnosticsConstants.SOCK_DESTROY, NLM_F_ACK, socket.idiag_family == Libc.AF_INET6, "end socket", Errno.ENOENT).id = socket.id;
            batch.End();
        }
        _socket.Execute(batch);
    }

    /// <summary>The number that the kernel knows a socket by; never used twice.</summary>
    internal static ulong CookieOf(in inet_diag_msg message) => message.id.idiag_cookie[0] | ((ulong)message.id.idiag_cookie[1] << 32);

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    private static ref inet_diag_req_v2 Begin(NetlinkBatch batch, ushort type, ushort flags, bool isIPv6, string operation, int toleratedErrno = 0)
    {
        batch.Begin(type, flags, operation, null, toleratedErrno);
        ref var request = ref batch.Append<inet_diag_req_v2>();
        (request.sdiag_family, request.sdiag_protocol, request.idiag_states) = ((byte)(isIPv6 ? Libc.AF_INET6 : Libc.AF_INET), Udp, Established);
        return ref request;
    }

    /// <summary>Says whether a socket is meant.</summary>
    internal delegate bool DatagramFilter(ReadOnlySpan<byte> address, ushort port, ulong cookie);
}
