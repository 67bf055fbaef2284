using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using K3sFast.Interop.Namespaces;
using static K3sFast.Interop.Netlink.NetlinkConstants;
using static K3sFast.Interop.Netlink.RouteConstants;

namespace K3sFast.Interop.Netlink;

/// <summary>What somebody did to the links and routes of a namespace.</summary>
/// <param name="Kind">What was changed.</param>
/// <param name="LinkIndex">The link it was changed on; 0 = the event does not say.</param>
public readonly record struct RouteEvent(RouteEventKind Kind, int LinkIndex);

/// <summary>Kinds of changes.</summary>
public enum RouteEventKind
{
    /// <summary>More happened than could be told: look at everything.</summary>
    Lost,

    /// <summary>A link is new, or changed, or went up or down.</summary>
    LinkChanged,

    /// <summary>A link is gone.</summary>
    LinkDeleted,

    /// <summary>A neighbour or forwarding entry is gone.</summary>
    NeighbourDeleted,

    /// <summary>A route is gone.</summary>
    RouteDeleted,

    /// <summary>An address came or went; not those that IPv6 gives to every link.</summary>
    AddressChanged,
}

/// <summary>Tells of changes to links, addresses, neighbours and routes, whoever made them: rtnetlink's multicast groups.</summary>
/// <remarks>One reader.</remarks>
public sealed class RouteEvents : IDisposable
{
    // A burst of a thousand routes is some 100 KB; what does not fit is told as Lost.
    internal const int ReceiveQueueBytes = 1024 * 1024;

    // linux/rtnetlink.h
    private const byte RT_SCOPE_LINK = 253;

    private const uint Groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

    private readonly Socket _socket;
    private readonly byte[] _receive = new byte[32 * 1024];

    private RouteEvents(Socket socket) => _socket = socket;

    /// <summary>Begins to listen in <paramref name="inside"/>, or in the caller's namespace.</summary>
    /// <exception cref="KernelException">Out of descriptors.</exception>
    public static RouteEvents Open(NetworkNamespace? inside = null) => Open(inside, ReceiveQueueBytes);

    /// <summary>The same with a queue of another size; the kernel takes twice what is said.</summary>
    internal static RouteEvents Open(NetworkNamespace? inside, int receiveQueueBytes) => inside is null ? OpenHere(receiveQueueBytes) : inside.Run(() => OpenHere(receiveQueueBytes));

    /// <summary>Waits for a datagram of events and adds them to <paramref name="events"/>.</summary>
    public async ValueTask ReadAsync(List<RouteEvent> events, CancellationToken cancellationToken)
    {
        try
        {
            var length = await _socket.ReceiveAsync(_receive, SocketFlags.None, cancellationToken).ConfigureAwait(false);
            Parse(_receive.AsSpan(0, length), events);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.NoBufferSpaceAvailable)
        {
            events.Add(new RouteEvent(RouteEventKind.Lost, 0));
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _socket.Dispose();

    internal static void Parse(ReadOnlySpan<byte> datagram, List<RouteEvent> events)
    {
        while (datagram.Length >= Unsafe.SizeOf<nlmsghdr>())
        {
            var header = MemoryMarshal.Read<nlmsghdr>(datagram);
            var length = (int)header.nlmsg_len;
            if (length < Unsafe.SizeOf<nlmsghdr>() || length > datagram.Length) return;
            if (Read(header.nlmsg_type, datagram[Unsafe.SizeOf<nlmsghdr>()..length]) is { } found) events.Add(found);
            datagram = Align(length) <= datagram.Length ? datagram[Align(length)..] : default;
        }
    }

    private static RouteEvent? Read(ushort type, ReadOnlySpan<byte> payload)
    {
        switch (type)
        {
            case RTM_NEWLINK or RTM_DELLINK when payload.Length >= Unsafe.SizeOf<ifinfomsg>():
                var link = MemoryMarshal.Read<ifinfomsg>(payload);
                // Forwarding tables of bridges tell their links' changes under their own family.
                if (link.ifi_family != 0) return null;
                return new RouteEvent(type == RTM_DELLINK ? RouteEventKind.LinkDeleted : RouteEventKind.LinkChanged, link.ifi_index);
            case RTM_NEWADDR or RTM_DELADDR when payload.Length >= Unsafe.SizeOf<ifaddrmsg>():
                var address = MemoryMarshal.Read<ifaddrmsg>(payload);
                // IPv6 gives every link that comes up an address of its own, which is good on that link alone.
                if (address is { ifa_family: (byte)Libc.AF_INET6, ifa_scope: RT_SCOPE_LINK }) return null;
                return new RouteEvent(RouteEventKind.AddressChanged, (int)address.ifa_index);
            case RTM_DELNEIGH when payload.Length >= Unsafe.SizeOf<ndmsg>():
                return new RouteEvent(RouteEventKind.NeighbourDeleted, MemoryMarshal.Read<ndmsg>(payload).ndm_ifindex);
            case RTM_DELROUTE when payload.Length >= Unsafe.SizeOf<rtmsg>():
                var index = 0;
                for (var attributes = new NetlinkAttributes(payload[Unsafe.SizeOf<rtmsg>()..]); attributes.Next();)
                {
                    if (attributes.Type == RTA_OIF) index = (int)attributes.U32;
                }
                return new RouteEvent(RouteEventKind.RouteDeleted, index);
            default:
                return null;
        }
    }

    private static unsafe RouteEvents OpenHere(int size)
    {
        var descriptor = Libc.Socket(Libc.AF_NETLINK, Libc.SOCK_RAW | Libc.SOCK_CLOEXEC, (int)NetlinkProtocol.Route);
        if (descriptor < 0) throw KernelException.OfLastCall("open netlink socket for events");
        // Owned from here on.
        var handle = new SafeSocketHandle(descriptor, ownsHandle: true);
        var address = new sockaddr_nl { nl_family = Libc.AF_NETLINK, nl_groups = Groups };
        using (var borrowed = new FileDescriptor(descriptor, ownsHandle: false))
        {
            if (Libc.SetSockOpt(borrowed, Libc.SOL_SOCKET, Libc.SO_RCVBUFFORCE, &size, sizeof(int)) != 0)
                _ = Libc.SetSockOpt(borrowed, Libc.SOL_SOCKET, Libc.SO_RCVBUF, &size, sizeof(int));
            if (Libc.Bind(borrowed, &address, (uint)sizeof(sockaddr_nl)) != 0)
            {
                handle.Dispose();
                throw KernelException.OfLastCall("bind netlink socket for events");
            }
        }
        return new RouteEvents(new Socket(handle));
    }
}
