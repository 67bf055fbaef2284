namespace K3sFast.AddOns.Dns;

/// <summary>A zone out of a zone file: exact names, wildcards, aliases, delegations. Immutable.</summary>
internal sealed class FilePlugin : Plugin
{
    private readonly byte[] _zone;
    private readonly FallThrough _fallThrough;
    private readonly Dictionary<byte[], List<ZoneRecord>> _records = new(WireNameComparer.Instance);
    private readonly ZoneRecord _soa;

    /// <summary>The plugin for a zone with these records, among them its SOA.</summary>
    internal FilePlugin(byte[] zone, IReadOnlyList<ZoneRecord> records, FallThrough fallThrough)
    {
        (_zone, _fallThrough) = (zone, fallThrough);
        foreach (var record in records)
        {
            At(record.Owner).Add(record);
            // Names in between exist, without records (RFC 4592 §2.2.2).
            for (var parent = record.Owner; parent.Length > zone.Length; parent = WireName.Parent(parent).ToArray()) At(parent);
        }
        _soa = At(zone).First(static record => record.Type == DnsType.Soa);
    }

    internal override string Name => "file";

    internal override Step Handle(Exchange exchange)
    {
        if (!WireName.IsWithin(exchange.Name, _zone)) return Step.Next;
        if (exchange.Type is DnsType.Axfr or DnsType.Ixfr)
        {
            exchange.Fail(DnsCode.Refused);
            return Step.Answered;
        }
        exchange.IsAuthoritative = true;
        if (Delegation(exchange.Name) is { } cut)
        {
            Refer(exchange, cut);
            return Step.Answered;
        }
        if (Find(exchange.Name) is not { } found)
        {
            if (_fallThrough.Includes(exchange.Name))
            {
                exchange.IsAuthoritative = false;
                return Step.Next;
            }
            exchange.Code = DnsCode.NameError;
            exchange.AddAuthority(_zone, DnsType.Soa, NegativeTtl, _soa.Data);
            return Step.Answered;
        }
        var before = exchange.Answers;
        foreach (var record in found)
        {
            if (record.Type == exchange.Type) exchange.Add(record.Type, record.Ttl, record.Data);
        }
        if (exchange.Answers > before)
        {
            AddTargets(exchange, found);
            return Step.Answered;
        }
        if (found.Find(static record => record.Type == DnsType.Cname) is { } alias)
        {
            exchange.Add(DnsType.Cname, alias.Ttl, alias.Data);
            return exchange.TryFollow(alias.Data) ? Step.Again : Step.Answered;
        }
        if (!exchange.IsTruncated) exchange.AddAuthority(_zone, DnsType.Soa, NegativeTtl, _soa.Data);
        return Step.Answered;
    }

    private uint NegativeTtl => Math.Min(_soa.Ttl, DnsMessage.U32(_soa.Data.AsSpan(_soa.Data.Length - 4)));

    private List<ZoneRecord> At(byte[] name)
    {
        if (!_records.TryGetValue(name, out var list)) _records[name] = list = [];
        return list;
    }

    // The name's records, or those of the wildcard beside it (RFC 4592: the closest name that exists, with "*" below it).
    private List<ZoneRecord>? Find(ReadOnlySpan<byte> name)
    {
        var lookup = _records.GetAlternateLookup<ReadOnlySpan<byte>>();
        if (lookup.TryGetValue(name, out var found)) return found;
        Span<byte> wildcard = stackalloc byte[DnsMessage.MaxNameSize + 2];
        wildcard[0] = 1;
        wildcard[1] = (byte)'*';
        var parent = name;
        while (parent.Length > _zone.Length)
        {
            parent = WireName.Parent(parent);
            if (!lookup.ContainsKey(parent)) continue;
            parent.CopyTo(wildcard[2..]);
            return lookup.TryGetValue(wildcard[..(parent.Length + 2)], out found) ? found : null;
        }
        return null;
    }

    // The name servers of a part that somebody else answers for.
    private byte[]? Delegation(ReadOnlySpan<byte> name)
    {
        var lookup = _records.GetAlternateLookup<ReadOnlySpan<byte>>();
        byte[]? cut = null;
        for (var at = name; at.Length > _zone.Length; at = WireName.Parent(at))
        {
            if (lookup.TryGetValue(at, out var key, out var list) && list.Exists(static record => record.Type == DnsType.NS)) cut = key;
        }
        return cut;
    }

    private void Refer(Exchange exchange, byte[] cut)
    {
        exchange.IsAuthoritative = false;
        foreach (var record in _records[cut])
        {
            if (record.Type == DnsType.NS) exchange.AddAuthority(cut, DnsType.NS, record.Ttl, record.Data);
        }
        foreach (var record in _records[cut])
        {
            if (record.Type == DnsType.NS) AddAddresses(exchange, record.Data);
        }
    }

    private void AddTargets(Exchange exchange, List<ZoneRecord> found)
    {
        foreach (var record in found)
        {
            if (record.Type != exchange.Type) continue;
            if (record.Type == DnsType.Srv) AddAddresses(exchange, record.Data[6..]);
            else if (record.Type == DnsType.MX) AddAddresses(exchange, record.Data[2..]);
            else if (record.Type == DnsType.NS) AddAddresses(exchange, record.Data);
        }
    }

    private void AddAddresses(Exchange exchange, byte[] name)
    {
        if (!_records.TryGetValue(name, out var list)) return;
        foreach (var record in list)
        {
            if (record.Type is DnsType.A or DnsType.Aaaa) exchange.AddAdditional(name, record.Type, record.Ttl, record.Data);
        }
    }
}
