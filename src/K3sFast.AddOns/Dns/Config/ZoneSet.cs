using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.AddOns.Dns;

/// <summary>The zones that a plugin is for, and the matching of names against them. Immutable; matching allocates nothing.</summary>
internal sealed class ZoneSet
{
    private readonly byte[][] _zones;

    internal ZoneSet(IEnumerable<byte[]> zones)
    {
        // Longest first: the first match is the best.
        _zones = [.. zones.OrderByDescending(static zone => zone.Length)];
    }

    internal IReadOnlyList<byte[]> Zones => _zones;

    /// <summary>The longest zone that has the name, or null.</summary>
    internal byte[]? Match(ReadOnlySpan<byte> name)
    {
        foreach (var zone in _zones)
        {
            if (zone.Length == 1 || WireName.IsWithin(name, zone)) return zone;
        }
        return null;
    }

    /// <summary>Zones by their names in a Corefile: a domain, or a network whose reverse zones are meant (10.0.0.0/16).</summary>
    /// <exception cref="FormatException">One is neither.</exception>
    internal static IEnumerable<byte[]> Parse(string text)
    {
        var slash = text.IndexOf('/', StringComparison.Ordinal);
        if (slash > 0 && IPNetwork.TryParse(text, out var network)) return Reverse(network);
        return [WireName.Encode(text) ?? throw new FormatException($"invalid domain name: {text}")];
    }

    // The reverse zones that cover a network: a prefix that ends inside a label makes several.
    private static IEnumerable<byte[]> Reverse(IPNetwork network)
    {
        var isV4 = network.BaseAddress.AddressFamily == AddressFamily.InterNetwork;
        var step = isV4 ? 8 : 4;
        var whole = WireName.Reverse(network.BaseAddress);
        var labels = (network.PrefixLength + step - 1) / step;
        var zone = (ReadOnlySpan<byte>)whole;
        for (var i = isV4 ? 4 : 32; i > labels; i--) zone = WireName.Parent(zone);
        var spare = labels * step - network.PrefixLength;
        if (spare == 0) return [zone.ToArray()];
        var rest = WireName.ToText(WireName.Parent(zone));
        var first = isV4 ? network.BaseAddress.GetAddressBytes()[labels - 1] : Nibble(network.BaseAddress, labels - 1);
        return Enumerable.Range(first, 1 << spare).Select(i => WireName.Encode(i.ToString(isV4 ? "D" : "x", CultureInfo.InvariantCulture) + "." + rest)!).ToList();
    }

    private static int Nibble(IPAddress address, int index)
    {
        var b = address.GetAddressBytes()[index / 2];
        return index % 2 == 0 ? b >> 4 : b & 0xF;
    }
}

/// <summary>What "fallthrough [ZONES...]" says: names for which a plugin that knows nothing lets the next one try.</summary>
internal sealed class FallThrough
{
    private readonly ZoneSet? _zones;

    private FallThrough(ZoneSet? zones) => _zones = zones;

    internal static FallThrough Never { get; } = new(new ZoneSet([]));

    internal static FallThrough For(IEnumerable<string> zones)
    {
        var list = zones.SelectMany(ZoneSet.Parse).ToList();
        return new FallThrough(list.Count == 0 ? null : new ZoneSet(list));
    }

    internal bool Includes(ReadOnlySpan<byte> name) => _zones is null || _zones.Match(name) is not null;
}
