using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

namespace K3sFast.ApiServer;

/// <summary>
/// The usable addresses of one range of Services, and the order in which a new Service tries them: from a random one in the upper part, so that the lower
/// band stays free for addresses that users ask for. Of /24 and wider the band is size/16, between 16 and 256 addresses, as upstream has it.
/// </summary>
internal sealed class ServiceRange
{
    private const int MinBand = 16;
    private const int MaxBand = 256;
    private const int BandStep = 16;

    private readonly UInt128 _first;

    internal ServiceRange(IPNetwork network)
    {
        Network = network;
        IsV6 = network.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6;
        var hostBits = (IsV6 ? 128 : 32) - network.PrefixLength;
        // No network address, and no broadcast address of IPv4; of a wide IPv6 range 2^64 addresses are more than anybody can try.
        var size = hostBits >= 64 ? ulong.MaxValue : (1UL << hostBits) - 1;
        Size = IsV6 || size == 0 ? size : size - 1;
        Band = Size < MinBand ? 0 : Math.Clamp(Size / BandStep, MinBand, MaxBand);
        _first = ToNumber(network.BaseAddress) + 1;
    }

    internal IPNetwork Network { get; }

    internal bool IsV6 { get; }

    internal string Family => IsV6 ? "IPv6" : "IPv4";

    internal ulong Size { get; }

    internal ulong Band { get; }

    internal bool IsUsable(IPAddress address)
    {
        var number = ToNumber(address);
        return Network.Contains(address) && number >= _first && number - _first < Size;
    }

    /// <summary>All addresses, each once: the upper part from a random one on, then the band.</summary>
    internal IEnumerable<IPAddress> Candidates()
    {
        foreach (var address in From(Band, Size - Band))
            yield return address;
        foreach (var address in From(0, Band))
            yield return address;
    }

    private IEnumerable<IPAddress> From(ulong first, ulong count)
    {
        if (count == 0)
            yield break;
        var start = BinaryPrimitives.ReadUInt64LittleEndian(RandomNumberGenerator.GetBytes(8)) % count;
        for (ulong i = 0; i < count; i++)
        {
            // The sum of two numbers below count may pass 64 bits.
            var offset = (ulong)(((UInt128)start + i) % count);
            yield return FromNumber(_first + first + offset);
        }
    }

    private static UInt128 ToNumber(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        return length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt128BigEndian(bytes);
    }

    private IPAddress FromNumber(UInt128 number)
    {
        Span<byte> bytes = stackalloc byte[16];
        if (IsV6)
        {
            BinaryPrimitives.WriteUInt128BigEndian(bytes, number);
            return new IPAddress(bytes);
        }
        BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)number);
        return new IPAddress(bytes[..4]);
    }
}
