using System.Buffers.Binary;
using System.Net;

namespace K3sFast.ApiServer;

/// <summary>
/// The addresses of one service range that are taken. Dynamic allocation prefers the upper part, so that the lower band stays free for
/// addresses that users ask for, as upstream does: the band is min(max(16, size/16), 256) addresses.
/// </summary>
/// <remarks>Not synchronized: <see cref="ServiceAllocator"/> holds the lock.</remarks>
internal sealed class AddressRange
{
    // Larger ranges than this (IPv6) use only their first part; upstream bounds an IPv6 range the same way.
    private const int MaxAddresses = 1 << 16;

    private readonly UInt128 _base;
    private readonly bool _isV6;
    private readonly HashSet<int> _taken = [];
    private readonly Random _random = new();

    internal AddressRange(IPNetwork network)
    {
        _isV6 = network.BaseAddress.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6;
        _base = ToNumber(network.BaseAddress);
        var hostBits = (_isV6 ? 128 : 32) - network.PrefixLength;
        var size = hostBits >= 16 ? MaxAddresses : 1 << hostBits;
        // Network and broadcast address are nobody's.
        Count = Math.Max(0, size - (_isV6 ? 1 : 2));
        Band = Count < 16 ? 0 : Math.Min(Math.Max(16, size / 16), 256);
        Network = network;
    }

    internal IPNetwork Network { get; }

    /// <summary>Usable addresses.</summary>
    internal int Count { get; }

    /// <summary>Size of the lower band that dynamic allocation leaves for last.</summary>
    internal int Band { get; }

    internal string Family => _isV6 ? "IPv6" : "IPv4";

    internal bool Contains(IPAddress address) => address.AddressFamily == Network.BaseAddress.AddressFamily && Network.Contains(address);

    /// <summary>Takes a given address; false when it is taken or not usable.</summary>
    internal bool TryTake(IPAddress address) => IndexOf(address) is var index && index >= 0 && index < Count && _taken.Add(index);

    internal void Release(IPAddress address) => _taken.Remove(IndexOf(address));

    internal bool IsUsable(IPAddress address) => Contains(address) && IndexOf(address) is var index && index >= 0 && index < Count;

    /// <summary>Takes a free address; null when the range is full.</summary>
    internal IPAddress? TakeNext()
    {
        if (TakeBetween(Band, Count) is { } upper)
            return upper;
        return TakeBetween(0, Band);
    }

    private IPAddress? TakeBetween(int first, int end)
    {
        if (end <= first)
            return null;
        // A random start spreads addresses, so that one that was just released does not come back to another service at once.
        var offset = _random.Next(end - first);
        for (var i = 0; i < end - first; i++)
        {
            var index = first + (offset + i) % (end - first);
            if (_taken.Add(index))
                return FromNumber(_base + (UInt128)(index + 1));
        }
        return null;
    }

    private int IndexOf(IPAddress address)
    {
        if (!Contains(address))
            return -1;
        var distance = ToNumber(address) - _base;
        return distance == 0 || distance > MaxAddresses ? -1 : (int)distance - 1;
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
        if (_isV6)
        {
            BinaryPrimitives.WriteUInt128BigEndian(bytes, number);
            return new IPAddress(bytes);
        }
        BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)number);
        return new IPAddress(bytes[..4]);
    }
}
