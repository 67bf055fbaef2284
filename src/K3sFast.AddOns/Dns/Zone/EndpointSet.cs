using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>A port as names tell it: its name and protocol are labels (small-lettered), empty where it has no name.</summary>
internal sealed record PortRecord(byte[] Name, byte[] Protocol, ushort Number);

/// <summary>
/// The ready endpoints of one service, in order of their addresses: a few bytes each, because a cluster has a hundred thousand of them.
/// Immutable; looking up allocates nothing.
/// </summary>
internal sealed class EndpointSet
{
    // Parallel: endpoint i has the i-th address, names and ports. IPv4 come first, then IPv6.
    private readonly byte[] _addresses4;
    private readonly byte[] _addresses6;
    private readonly byte[]?[]? _hosts;
    private readonly int[] _hostOrder;
    private readonly byte[] _portGroups;
    private readonly PortRecord[][] _ports;

    internal EndpointSet(byte[] addresses4, byte[] addresses6, byte[]?[]? hosts, byte[] portGroups, PortRecord[][] ports)
    {
        (_addresses4, _addresses6, _hosts, _portGroups, _ports) = (addresses4, addresses6, hosts, portGroups, ports);
        _hostOrder = hosts is null ? [] : [.. Enumerable.Range(0, Count).Where(i => hosts[i] is not null).OrderBy(i => hosts[i], LabelOrder.Instance)];
    }

    internal static EndpointSet Empty { get; } = new([], [], null, [], []);

    internal int Count4 => _addresses4.Length / 4;

    internal int Count => Count4 + _addresses6.Length / 16;

    /// <summary>4 bytes each.</summary>
    internal ReadOnlySpan<byte> Addresses4 => _addresses4;

    /// <summary>16 bytes each.</summary>
    internal ReadOnlySpan<byte> Addresses6 => _addresses6;

    /// <summary>Bytes on the heap, for the budget's test: object headers and lengths included.</summary>
    internal long SizeBytes => 64 + 24 + _addresses4.Length + 24 + _addresses6.Length + 24 + _portGroups.Length + 24 + 4 * _hostOrder.Length
        + (_hosts is null ? 0 : 24 + _hosts.Sum(static host => 8L + (host is null ? 0 : 24 + (host.Length + 7) / 8 * 8)));

    internal ReadOnlySpan<byte> Address(int index) =>
        index < Count4 ? _addresses4.AsSpan(4 * index, 4) : _addresses6.AsSpan(16 * (index - Count4), 16);

    internal PortRecord[] Ports(int index) => _portGroups.Length == 0 ? _ports.Length == 0 ? [] : _ports[0] : _ports[_portGroups[index]];

    /// <summary>Writes the label that endpoint <paramref name="index"/> is called by; returns its size, length byte not counted.</summary>
    internal int WriteHost(int index, Span<byte> label)
    {
        if (_hosts?[index] is { } host)
        {
            host.CopyTo(label);
            return host.Length;
        }
        return DashedAddress.Write(Address(index), label);
    }

    /// <summary>Endpoints named by <paramref name="label"/>: how many, and the first of them in the order of <see cref="Named"/>.</summary>
    /// <remarks>-1 = by its address alone: <paramref name="first"/> is its index.</remarks>
    internal int Find(ReadOnlySpan<byte> label, out int first)
    {
        first = LowerBound(label);
        var end = first;
        while (end < _hostOrder.Length && label.SequenceEqual(_hosts![_hostOrder[end]])) end++;
        if (end > first) return end - first;
        Span<byte> address = stackalloc byte[16];
        if (!DashedAddress.TryParse(label, address, out var size)) return 0;
        first = IndexOf(address[..size]);
        if (first < 0 || _hosts?[first] is not null) return 0;
        // The address may be written in several ways; the name is one of them.
        Span<byte> canonical = stackalloc byte[63];
        return canonical[..DashedAddress.Write(Address(first), canonical)].SequenceEqual(label) ? -1 : 0;
    }

    /// <summary>The endpoint at a place of the order that <see cref="Find"/> speaks of.</summary>
    internal int Named(int place) => _hostOrder[place];

    /// <summary>False for the further addresses of an endpoint that has its name from a hostname: one SRV record leads to all of them.</summary>
    internal bool IsFirstOfName(int index) => _hosts?[index] is not { } host || _hostOrder[LowerBound(host)] == index;

    /// <summary>The endpoint with an address, or -1.</summary>
    internal int IndexOf(ReadOnlySpan<byte> address)
    {
        var size = address.Length;
        var addresses = size == 4 ? _addresses4 : _addresses6;
        int low = 0, high = addresses.Length / size - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            var order = addresses.AsSpan(middle * size, size).SequenceCompareTo(address);
            if (order == 0) return size == 4 ? middle : Count4 + middle;
            if (order < 0) low = middle + 1;
            else high = middle - 1;
        }
        return -1;
    }

    private int LowerBound(ReadOnlySpan<byte> label)
    {
        int low = 0, high = _hostOrder.Length;
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (_hosts![_hostOrder[middle]].AsSpan().SequenceCompareTo(label) < 0) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    private sealed class LabelOrder : IComparer<byte[]?>
    {
        internal static LabelOrder Instance { get; } = new();

        public int Compare(byte[]? x, byte[]? y) => x.AsSpan().SequenceCompareTo(y);
    }
}
