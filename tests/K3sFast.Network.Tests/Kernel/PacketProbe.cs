using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Numerics;
using System.Runtime.InteropServices;
using K3sFast.Interop.Namespaces;

namespace K3sFast.Network.Tests.Kernel;

/// <summary>A packet that arrived: the first of a connection.</summary>
internal readonly record struct ProbePacket(IPAddress From, byte Protocol, ushort SourcePort, ushort Port);

/// <summary>
/// Sends first packets of connections out of a pod and sees those that come in: TCP, UDP and SCTP in both families, with no listener, and no module of SCTP, needed.
/// </summary>
internal sealed partial class PacketProbe : IDisposable
{
    internal const byte Tcp = 6, Udp = 17, Sctp = 132;

    private const int IPv4HeaderBytes = 20;

    private readonly Dictionary<(byte Protocol, AddressFamily Family), Socket> _sockets = [];
    private readonly byte[] _buffer = new byte[2048];

    internal PacketProbe(NetworkNamespace inside)
    {
        foreach (var protocol in Protocols)
        {
            foreach (var family in (ReadOnlySpan<AddressFamily>)[AddressFamily.InterNetwork, AddressFamily.InterNetworkV6])
                _sockets[(protocol, family)] = inside.Run(() => OpenRaw(family, protocol));
        }
    }

    internal static byte[] Protocols { get; } = [Tcp, Udp, Sctp];

    internal static string NameOf(byte protocol) => protocol switch
    {
        Tcp => "TCP",
        Udp => "UDP",
        _ => "SCTP",
    };

    internal void Send(IPAddress from, IPAddress to, byte protocol, ushort sourcePort, ushort port)
    {
        var packet = protocol switch
        {
            Tcp => Syn(sourcePort, port),
            Udp => Datagram(sourcePort, port),
            _ => Init(sourcePort, port),
        };
        if (protocol != Sctp) BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(protocol == Tcp ? 16 : 6), Checksum(from, to, protocol, packet));
        _sockets[(protocol, to.AddressFamily)].SendTo(packet, new IPEndPoint(to, 0));
    }

    /// <summary>What came in since the last time.</summary>
    internal IEnumerable<ProbePacket> Drain()
    {
        foreach (var ((protocol, family), socket) in _sockets)
        {
            while (socket.Poll(0, SelectMode.SelectRead))
            {
                EndPoint sender = new IPEndPoint(family == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any, 0);
                var length = socket.ReceiveFrom(_buffer, ref sender);
                // Only IPv4 comes with its header.
                var packet = _buffer.AsMemory(family == AddressFamily.InterNetwork ? IPv4HeaderBytes : 0);
                if (length < 8) continue;
                yield return new ProbePacket(
                    ((IPEndPoint)sender).Address, protocol, BinaryPrimitives.ReadUInt16BigEndian(packet.Span), BinaryPrimitives.ReadUInt16BigEndian(packet.Span[2..]));
            }
        }
    }

    public void Dispose()
    {
        foreach (var socket in _sockets.Values) socket.Dispose();
    }

    // .NET knows no SCTP.
    private static Socket OpenRaw(AddressFamily family, byte protocol)
    {
        const int AfInet = 2, AfInet6 = 10, SockRaw = 3, CloseOnExec = 0x80000;
        var descriptor = OpenSocket(family == AddressFamily.InterNetworkV6 ? AfInet6 : AfInet, SockRaw | CloseOnExec, protocol);
        Assert.True(descriptor >= 0, "a raw socket could not be opened");
        return new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
    }

    [LibraryImport("libc", EntryPoint = "socket")]
    private static partial int OpenSocket(int family, int type, int protocol);

    // RFC 9293 §3.1: ports, sequence, acknowledgement, offset and flags (SYN), window, checksum, urgent.
    private static byte[] Syn(ushort sourcePort, ushort port)
    {
        var packet = new byte[20];
        WritePorts(packet, sourcePort, port);
        (packet[7], packet[12], packet[13], packet[14]) = (1, 0x50, 0x02, 0x20);
        return packet;
    }

    // RFC 768: ports, length, checksum.
    private static byte[] Datagram(ushort sourcePort, ushort port)
    {
        var packet = new byte[8];
        WritePorts(packet, sourcePort, port);
        packet[5] = 8;
        return packet;
    }

    // RFC 9260 §3: ports, tag 0, CRC32c; chunk INIT (1) of 20 bytes: tag, window, streams out and in, first number.
    private static byte[] Init(ushort sourcePort, ushort port)
    {
        var packet = new byte[32];
        WritePorts(packet, sourcePort, port);
        (packet[12], packet[15], packet[19], packet[22], packet[25], packet[27], packet[31]) = (1, 20, 1, 1, 1, 1, 1);
        var crc = uint.MaxValue;
        foreach (var part in packet) crc = BitOperations.Crc32C(crc, part);
        BinaryPrimitives.WriteUInt32LittleEndian(packet.AsSpan(8), ~crc);
        return packet;
    }

    private static void WritePorts(Span<byte> packet, ushort sourcePort, ushort port)
    {
        BinaryPrimitives.WriteUInt16BigEndian(packet, sourcePort);
        BinaryPrimitives.WriteUInt16BigEndian(packet[2..], port);
    }

    // RFC 1071 over addresses, protocol, length and packet; the order of the pseudo-header's parts does not change the sum.
    private static ushort Checksum(IPAddress from, IPAddress to, byte protocol, ReadOnlySpan<byte> packet)
    {
        var sum = (uint)protocol + (uint)packet.Length + Sum(from.GetAddressBytes()) + Sum(to.GetAddressBytes()) + Sum(packet);
        while (sum > ushort.MaxValue) sum = (sum >> 16) + (sum & ushort.MaxValue);
        return sum == ushort.MaxValue ? ushort.MaxValue : (ushort)~sum;
    }

    private static uint Sum(ReadOnlySpan<byte> bytes)
    {
        var sum = 0u;
        for (var i = 0; i + 1 < bytes.Length; i += 2) sum += BinaryPrimitives.ReadUInt16BigEndian(bytes[i..]);
        return sum;
    }
}
