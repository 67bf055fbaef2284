using System.Buffers.Binary;
using System.Net;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Network.Proxy.Ebpf;

// Keys and values of the maps of native/bpf/sockets.c, byte for byte.

/// <summary>16 bytes of an address as they lie in memory; IPv4 is ::ffff:a.b.c.d.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct SocketAddress(ulong First, ulong Second)
{
    internal static SocketAddress Of(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6)
        {
            address.TryWriteBytes(bytes, out _);
        }
        else
        {
            bytes.Clear();
            bytes[10] = bytes[11] = 0xff;
            address.TryWriteBytes(bytes[12..], out _);
        }
        return MemoryMarshal.Read<SocketAddress>(bytes);
    }

    /// <summary>Of an address in network order, 4 or 16 bytes.</summary>
    internal static SocketAddress Of(ReadOnlySpan<byte> address)
    {
        if (address.Length == 16) return MemoryMarshal.Read<SocketAddress>(address);
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        bytes[10] = bytes[11] = 0xff;
        address.CopyTo(bytes[12..]);
        return MemoryMarshal.Read<SocketAddress>(bytes);
    }
}

/// <summary>struct endpoint: 20 bytes, the port in network order.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 4)]
internal readonly record struct SocketEndpoint(SocketAddress Address, ushort Port, ushort Protocol)
{
    internal static SocketEndpoint Of(IPAddress address, ushort port, byte protocol) => Of(SocketAddress.Of(address), port, protocol);

    /// <summary>A port of the node's own addresses of one family.</summary>
    internal static SocketEndpoint OfNode(bool isIPv6, ushort port, byte protocol) => Of(isIPv6 ? new SocketAddress(ulong.MaxValue, ulong.MaxValue) : default, port, protocol);

    internal static SocketEndpoint Of(SocketAddress address, ushort port, byte protocol) =>
        new(address, BitConverter.IsLittleEndian ? BinaryPrimitives.ReverseEndianness(port) : port, protocol);
}

/// <summary>struct frontend: 24 bytes.</summary>
/// <param name="Service">Number of the service port; clients' affinities are noted under it.</param>
/// <param name="Pool">Number of the endpoints to choose from.</param>
/// <param name="Count">How many; 0 refuses.</param>
/// <param name="AffinitySeconds">A client stays for so long; 0 = no affinity.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct SocketFrontend(ulong Service, ulong Pool, uint Count, uint AffinitySeconds);

/// <summary>struct slot_key: 16 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct SlotKey(ulong Pool, ulong Slot);

/// <summary>struct member_key: 32 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct MemberKey(ulong Pool, SocketEndpoint Backend, uint Zero = 0)
{
    /// <summary>Takes connections.</summary>
    internal const byte Usable = 1;

    /// <summary>Still answers: flows to it go on, and nothing else goes there.</summary>
    internal const byte Lingering = 2;
}

/// <summary>struct peer: 40 bytes.</summary>
/// <param name="Service">What a socket connected to, as its owner sees it.</param>
/// <param name="Backend">What it got.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct SocketPeer(SocketEndpoint Service, SocketEndpoint Backend);

/// <summary>struct settings: 24 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct SocketSettings(ulong HostNamespace, uint IsScoped, uint HasErrorCodes, uint HasLocalhostPorts, uint Zero = 0);

/// <summary>Numbers of services and pools: the same for the same name, so that a restart finds what is there.</summary>
internal static class SocketNumbers
{
    /// <summary>64 bits of a hash of the name: two of 60,000 collide once in 10^10 clusters.</summary>
    internal static ulong Of(string name)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(name), hash);
        return BitConverter.ToUInt64(hash);
    }
}
