using System.Net;

namespace K3sFast.AddOns.Dns;

/// <summary>Names from a file in the form of /etc/hosts: k3s' NodeHosts, and what a Corefile has in line. Immutable.</summary>
internal sealed class HostsPlugin : Plugin
{
    private readonly ZoneSet _zones;
    private readonly uint _ttlSeconds;
    private readonly FallThrough _fallThrough;
    private readonly bool _fallsThroughUnsupported;
    private readonly Dictionary<byte[], List<byte[]>> _addresses = new(WireNameComparer.Instance);
    private readonly Dictionary<AddressKey, List<byte[]>> _names = [];

    /// <summary>The plugin with these lines; those in line stand in front of the file's.</summary>
    internal HostsPlugin(ZoneSet zones, IEnumerable<string> lines, uint ttlSeconds, bool hasReverse, FallThrough fallThrough, bool fallsThroughUnsupported = false)
    {
        (_zones, _ttlSeconds, _fallThrough, _fallsThroughUnsupported) = (zones, ttlSeconds, fallThrough, fallsThroughUnsupported);
        foreach (var line in lines)
        {
            var words = line.Split('#')[0].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
            if (words.Length < 2 || !IPAddress.TryParse(words[0], out var address)) continue;
            var bytes = address.GetAddressBytes();
            foreach (var word in words[1..])
            {
                if (WireName.Encode(word) is not { } name) continue;
                AddTo(_addresses, name, bytes);
                if (hasReverse && !word.StartsWith('*')) AddTo(_names, AddressKey.Of(bytes), name);
            }
        }
    }

    internal override string Name => "hosts";

    internal int Count => _addresses.Count + _names.Count;

    internal override Step Handle(Exchange exchange)
    {
        if (exchange.Class != 1 || _zones.Match(exchange.Name) is null) return Step.Next;
        if (exchange.Type == DnsType.Ptr && AddressKey.TryParseReverse(exchange.Name, out var address) && _names.TryGetValue(address, out var names))
        {
            exchange.IsAuthoritative = true;
            foreach (var name in names) exchange.Add(DnsType.Ptr, _ttlSeconds, name);
            return Step.Answered;
        }
        var found = Find(exchange.Name);
        if (found is not null)
        {
            var before = exchange.Answers;
            if (exchange.Type is DnsType.A or DnsType.Aaaa)
            {
                foreach (var bytes in found)
                {
                    if (bytes.Length == (exchange.Type == DnsType.A ? 4 : 16)) exchange.Add(exchange.Type, _ttlSeconds, bytes);
                }
            }
            // The name is ours, the record is not there: NODATA, unless the next plugin may know better.
            if (exchange.Answers == before && _fallsThroughUnsupported && exchange.Type is not (DnsType.A or DnsType.Aaaa) && _fallThrough.Includes(exchange.Name)) return Step.Next;
            exchange.IsAuthoritative = true;
            return Step.Answered;
        }
        if (_fallThrough.Includes(exchange.Name)) return Step.Next;
        exchange.IsAuthoritative = true;
        exchange.Code = DnsCode.NameError;
        return Step.Answered;
    }

    private List<byte[]>? Find(ReadOnlySpan<byte> name)
    {
        var lookup = _addresses.GetAlternateLookup<ReadOnlySpan<byte>>();
        if (lookup.TryGetValue(name, out var found)) return found;
        if (name.Length < 2) return null;
        // *.example.com stands for one more label.
        var parent = WireName.Parent(name);
        Span<byte> wildcard = stackalloc byte[DnsMessage.MaxNameSize + 2];
        wildcard[0] = 1;
        wildcard[1] = (byte)'*';
        parent.CopyTo(wildcard[2..]);
        return lookup.TryGetValue(wildcard[..(parent.Length + 2)], out found) ? found : null;
    }

    private static void AddTo<TKey>(Dictionary<TKey, List<byte[]>> map, TKey key, byte[] value) where TKey : notnull
    {
        if (!map.TryGetValue(key, out var list)) map[key] = list = [];
        if (!list.Exists(known => known.AsSpan().SequenceEqual(value))) list.Add(value);
    }
}
