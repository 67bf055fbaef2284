using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.Network.Cni;

/// <summary>
/// Free addresses of one pod CIDR. They are given in turn, so that an address that was given back rests as long as possible before it is
/// somebody else's.
/// </summary>
/// <remarks>
/// One thread at a time (the caller's lock). The network's first address, its second (k3s' pods know it as the node) and the last of an IPv4
/// network are never given. Of a huge IPv6 network the first 2^24 addresses are used: more than a node can ever run.
/// </remarks>
internal sealed class AddressPool
{
    private const int MaxOffsets = 1 << 24;
    private const int FirstOffset = 2;

    private readonly byte[] _base;
    private readonly int _endOffset;
    private readonly HashSet<int> _used = [];
    private int _next = FirstOffset;

    internal AddressPool(IPNetwork network)
    {
        Network = network;
        _base = network.BaseAddress.GetAddressBytes();
        var hostBits = (_base.Length * 8) - network.PrefixLength;
        var size = hostBits >= 24 ? MaxOffsets : 1 << hostBits;
        _endOffset = network.BaseAddress.AddressFamily == AddressFamily.InterNetwork && hostBits < 24 ? size - 1 : size;
    }

    /// <summary>Where the addresses come from.</summary>
    internal IPNetwork Network { get; }

    /// <summary>Addresses that can still be given.</summary>
    internal int FreeCount => _endOffset - FirstOffset - _used.Count;

    /// <summary>Takes a free address; null = none is left.</summary>
    internal IPAddress? Take()
    {
        if (FreeCount <= 0) return null;
        while (true)
        {
            if (_next >= _endOffset) _next = FirstOffset;
            var offset = _next++;
            if (_used.Add(offset)) return AddressOf(offset);
        }
    }

    /// <summary>Marks an address as taken, and goes on behind it; one of another network is not ours to mark.</summary>
    internal void Reserve(IPAddress address)
    {
        if (OffsetOf(address) is not { } offset) return;
        if (_used.Add(offset) && offset >= _next) _next = offset + 1;
    }

    /// <summary>Gives an address back.</summary>
    internal void Release(IPAddress address)
    {
        if (OffsetOf(address) is { } offset) _used.Remove(offset);
    }

    private IPAddress AddressOf(int offset)
    {
        Span<byte> bytes = stackalloc byte[16];
        _base.CopyTo(bytes);
        var tail = bytes.Slice(_base.Length - 4, 4);
        BinaryPrimitives.WriteUInt32BigEndian(tail, BinaryPrimitives.ReadUInt32BigEndian(tail) + (uint)offset);
        return new IPAddress(bytes[.._base.Length]);
    }

    private int? OffsetOf(IPAddress address)
    {
        if (!Network.Contains(address)) return null;
        var bytes = address.GetAddressBytes();
        var offset = BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(bytes.Length - 4)) - BinaryPrimitives.ReadUInt32BigEndian(_base.AsSpan(_base.Length - 4));
        return offset >= FirstOffset && offset < (uint)_endOffset ? (int)offset : null;
    }
}
