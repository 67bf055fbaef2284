using System.Net;
using System.Net.Sockets;
using System.Numerics;

namespace K3sFast.Controllers;

/// <summary>The parts of equal size of an address range, each free or taken. One thread.</summary>
internal sealed class CidrSet
{
    // Parts of one range; a wider range is used up to here. 2^16 parts are nodes enough, and 8 KB of bits.
    private const int MaxParts = 1 << 16;

    private readonly IPNetwork _range;
    private readonly int _partLength;
    private readonly int _count;
    private readonly HashSet<int> _taken = [];
    private int _next;

    /// <summary>Parts of prefix length <paramref name="partLength"/> in <paramref name="range"/>.</summary>
    internal CidrSet(IPNetwork range, int partLength)
    {
        if (partLength < range.PrefixLength) throw new ArgumentException($"parts of /{partLength} do not fit into {range}", nameof(partLength));
        (_range, _partLength) = (range, partLength);
        var bits = partLength - range.PrefixLength;
        _count = bits >= 16 ? MaxParts : 1 << bits;
    }

    internal AddressFamily Family => _range.BaseAddress.AddressFamily;

    /// <summary>A free part, taken now; null when there is none. Parts are given out in turn, so that one just freed is not the next.</summary>
    internal IPNetwork? Take()
    {
        for (var i = 0; i < _count; i++)
        {
            var part = (_next + i) % _count;
            if (!_taken.Add(part)) continue;
            _next = (part + 1) % _count;
            return Network(part);
        }
        return null;
    }

    /// <summary>Takes every part that a network touches, also one that is larger than a part.</summary>
    internal void Take(IPNetwork network)
    {
        if (Parts(network) is not { } parts) return;
        for (var part = parts.First; part <= parts.Last; part++) _taken.Add(part);
    }

    internal void Free(IPNetwork network)
    {
        if (Parts(network) is not { } parts) return;
        for (var part = parts.First; part <= parts.Last; part++) _taken.Remove(part);
    }

    private (int First, int Last)? Parts(IPNetwork network)
    {
        if (network.BaseAddress.AddressFamily != Family) return null;
        if (network.PrefixLength <= _range.PrefixLength && network.Contains(_range.BaseAddress)) return (0, _count - 1);
        if (!_range.Contains(network.BaseAddress)) return null;
        var size = BigInteger.One << (Bits - _partLength);
        var first = (Number(network.BaseAddress) - Number(_range.BaseAddress)) / size;
        var last = first + (((BigInteger.One << (Bits - network.PrefixLength)) - 1) / size);
        if (first >= _count) return null;
        return ((int)first, (int)BigInteger.Min(last, _count - 1));
    }

    private int Bits => Family == AddressFamily.InterNetworkV6 ? 128 : 32;

    private IPNetwork Network(int part)
    {
        var number = Number(_range.BaseAddress) + (new BigInteger(part) << (Bits - _partLength));
        Span<byte> bytes = stackalloc byte[16];
        bytes = bytes[..(Bits / 8)];
        bytes.Clear();
        var written = number.ToByteArray(isUnsigned: true, isBigEndian: true);
        written.CopyTo(bytes[(bytes.Length - written.Length)..]);
        return new IPNetwork(new IPAddress(bytes), _partLength);
    }

    private static BigInteger Number(IPAddress address) => new(address.GetAddressBytes(), isUnsigned: true, isBigEndian: true);
}
