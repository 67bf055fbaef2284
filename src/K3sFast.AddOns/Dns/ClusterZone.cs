using System.Buffers.Binary;
using System.Collections.Concurrent;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// The cluster's zone: every name that the Kubernetes DNS specification (1.1.0) gives to services, headless endpoints and pods, with its
/// records in wire form. Written by one thread, a service at a time; read by any thread without locks; an answer allocates nothing.
/// </summary>
internal sealed class ClusterZone
{
    // CoreDNS' kubernetes plugin answers with 5 seconds, and its SOA lets a negative answer live as long.
    internal const uint TtlSeconds = 5;

    // Zones for reverse names are answered for addresses that are ours; others go on to the host's resolvers.
    private static readonly byte[] s_reverse4 = WireName.Encode("in-addr.arpa")!;
    private static readonly byte[] s_reverse6 = WireName.Encode("ip6.arpa")!;

    // Immutable after construction
    private readonly byte[] _zone;
    private readonly byte[] _services;
    private readonly byte[] _pods;
    private readonly byte[] _soaName;
    private readonly byte[] _soaTail;

    // Written by one thread, read by all
    private readonly ConcurrentDictionary<byte[], ZoneEntry> _entries = new(WireNameComparer.Instance);
    private readonly ConcurrentDictionary<byte[], ZoneEntry>.AlternateLookup<ReadOnlySpan<byte>> _lookup;

    // Owned by the writing thread: how many services lie below a name that has no records itself
    private readonly Dictionary<byte[], int> _parents = new(WireNameComparer.Instance);
    private readonly Dictionary<byte[], int>.AlternateLookup<ReadOnlySpan<byte>> _parentLookup;
    private readonly Dictionary<string, List<byte[]>> _namesByOwner = [];
    private uint _serial = 1;
    private int _turn;

    /// <summary>An empty zone for <paramref name="domain"/>, such as cluster.local.</summary>
    internal ClusterZone(string domain)
    {
        _zone = WireName.Encode(domain) ?? throw new ArgumentException($"\"{domain}\" is no DNS name", nameof(domain));
        _services = WireName.Encode("svc." + domain)!;
        _pods = WireName.Encode("pod." + domain)!;
        _lookup = _entries.GetAlternateLookup<ReadOnlySpan<byte>>();
        _parentLookup = _parents.GetAlternateLookup<ReadOnlySpan<byte>>();
        _soaName = WireName.Encode("ns.dns." + domain)!;
        _soaTail = WireName.Encode("hostmaster." + domain)!;
        _entries[_zone] = ZoneEntry.Empty;
        _entries[_services] = ZoneEntry.Empty;
        _entries[_pods] = ZoneEntry.Empty;
        _entries[WireName.Encode("dns-version." + domain)!] = new ZoneEntry { Txt = ["\u00051.1.0"u8.ToArray()] };
    }

    /// <summary>True when names below the zone are ours to answer, whether they exist or not.</summary>
    internal bool IsAuthoritative(ReadOnlySpan<byte> lowerName) => WireName.IsWithin(lowerName, _zone);

    /// <summary>True for a reverse name (in-addr.arpa, ip6.arpa) that some service of ours has claimed.</summary>
    internal bool OwnsReverse(ReadOnlySpan<byte> lowerName) =>
        (WireName.IsWithin(lowerName, s_reverse4) || WireName.IsWithin(lowerName, s_reverse6)) && _lookup.ContainsKey(lowerName);

    /// <summary>The alias that a name stands for, or null.</summary>
    internal byte[]? Alias(ReadOnlySpan<byte> lowerName) => _lookup.TryGetValue(lowerName, out var entry) ? entry.Cname : null;

    /// <summary>A host of the cluster by its plain name (k3s' NodeHosts).</summary>
    internal bool OwnsHost(ReadOnlySpan<byte> lowerName) => _lookup.ContainsKey(lowerName);

    /// <summary>
    /// Replaces everything that <paramref name="owner"/> (a service's or node's key) contributes. One thread at a time.
    /// </summary>
    internal void Replace(string owner, IReadOnlyCollection<KeyValuePair<byte[], ZoneEntry>> records)
    {
        _namesByOwner.TryGetValue(owner, out var old);
        var names = new List<byte[]>(records.Count);
        foreach (var (name, entry) in records)
        {
            names.Add(name);
            _entries[name] = entry;
            CountParents(name, 1);
        }
        if (old is not null)
        {
            foreach (var name in old)
            {
                CountParents(name, -1);
                if (!names.Contains(name, WireNameComparer.Instance)) _entries.TryRemove(name, out _);
            }
        }
        if (names.Count == 0) _namesByOwner.Remove(owner);
        else _namesByOwner[owner] = names;
        _serial++;
    }

    /// <summary>
    /// Answers from the zone: records, or NODATA or NXDOMAIN with the SOA. The name is ours (<see cref="IsAuthoritative"/>,
    /// <see cref="OwnsReverse"/>, <see cref="OwnsHost"/>) and has no alias. Allocates nothing.
    /// </summary>
    internal int Answer(in DnsQuestion question, ReadOnlySpan<byte> lowerName, Span<byte> buffer, int sizeLimit)
    {
        var answer = new DnsAnswer(question, buffer, sizeLimit);
        var code = DnsCode.NoError;
        var before = answer.Length;
        if (_lookup.TryGetValue(lowerName, out var entry)) Write(ref answer, question.Type, entry);
        else code = AnswerDerived(ref answer, question.Type, lowerName);
        if (answer.Length == before && !answer.IsTruncated) WriteSoa(ref answer);
        return answer.Finish(code, isAuthoritative: true, question.RecursionDesired);
    }

    /// <summary>The A or AAAA records of a name of ours, for an alias that leads to it. Returns false where the name does not exist.</summary>
    internal bool TryAddAddresses(ref DnsAnswer answer, ReadOnlySpan<byte> lowerName, DnsType type)
    {
        if (!_lookup.TryGetValue(lowerName, out var entry)) return false;
        foreach (var data in type == DnsType.Aaaa ? entry.Aaaa : entry.A) answer.Add(lowerName, type, TtlSeconds, data);
        return true;
    }

    private void Write(ref DnsAnswer answer, DnsType type, ZoneEntry entry)
    {
        switch (type)
        {
            case DnsType.A: WriteTurning(ref answer, type, entry.A); break;
            case DnsType.Aaaa: WriteTurning(ref answer, type, entry.Aaaa); break;
            case DnsType.Srv: WriteServices(ref answer, entry.Srv); break;
            case DnsType.Ptr: WriteAll(ref answer, type, entry.Ptr); break;
            case DnsType.Txt: WriteAll(ref answer, type, entry.Txt); break;
            case DnsType.Any:
                WriteAll(ref answer, DnsType.A, entry.A);
                WriteAll(ref answer, DnsType.Aaaa, entry.Aaaa);
                WriteServices(ref answer, entry.Srv);
                break;
            default: break;
        }
    }

    // Clients take the first address: each answer begins one further, so that the load spreads (CoreDNS' loadbalance plugin).
    private void WriteTurning(ref DnsAnswer answer, DnsType type, byte[][] data)
    {
        if (data.Length == 0) return;
        var first = data.Length == 1 ? 0 : (int)((uint)Interlocked.Increment(ref _turn) % (uint)data.Length);
        for (var i = 0; i < data.Length; i++)
        {
            var at = first + i;
            answer.Add(type, TtlSeconds, data[at < data.Length ? at : at - data.Length]);
        }
    }

    private static void WriteAll(ref DnsAnswer answer, DnsType type, byte[][] data)
    {
        foreach (var item in data) answer.Add(type, TtlSeconds, item);
    }

    private static void WriteServices(ref DnsAnswer answer, ZoneService[] services)
    {
        foreach (var service in services) answer.Add(DnsType.Srv, TtlSeconds, service.Data);
        foreach (var service in services)
        {
            foreach (var data in service.A) answer.AddAdditional(service.Target, DnsType.A, TtlSeconds, data);
            foreach (var data in service.Aaaa) answer.AddAdditional(service.Target, DnsType.Aaaa, TtlSeconds, data);
        }
    }

    // Names that exist without an entry of their own: <dashed address>.<namespace>.pod.<zone>. The address is in the name; whether a pod has
    // it is not looked at (CoreDNS' "pods insecure", k3s' setting).
    private DnsCode AnswerDerived(ref DnsAnswer answer, DnsType type, ReadOnlySpan<byte> lowerName)
    {
        if (!WireName.IsWithin(lowerName, _pods)) return DnsCode.NameError;
        var inNamespace = WireName.Parent(lowerName);
        if (inNamespace.SequenceEqual(_pods)) return DnsCode.NoError;
        if (!WireName.Parent(inNamespace).SequenceEqual(_pods)) return DnsCode.NameError;
        var label = lowerName.Slice(1, lowerName[0]);
        Span<byte> address = stackalloc byte[16];
        if (!DashedAddress.TryParse(label, address, out var size)) return DnsCode.NameError;
        if (type == DnsType.A && size == 4 || type == DnsType.Aaaa && size == 16 || type == DnsType.Any)
        {
            answer.Add(size == 4 ? DnsType.A : DnsType.Aaaa, TtlSeconds, address[..size]);
        }
        return DnsCode.NoError;
    }

    // SOA data: MNAME, RNAME, serial, refresh, retry, expire, minimum (RFC 1035 §3.3.13); the intervals are CoreDNS'.
    private void WriteSoa(ref DnsAnswer answer)
    {
        Span<byte> data = stackalloc byte[512];
        _soaName.CopyTo(data);
        _soaTail.CopyTo(data[_soaName.Length..]);
        var size = _soaName.Length + _soaTail.Length;
        BinaryPrimitives.WriteUInt32BigEndian(data[size..], _serial);
        BinaryPrimitives.WriteUInt32BigEndian(data[(size + 4)..], 7200);
        BinaryPrimitives.WriteUInt32BigEndian(data[(size + 8)..], 1800);
        BinaryPrimitives.WriteUInt32BigEndian(data[(size + 12)..], 86400);
        BinaryPrimitives.WriteUInt32BigEndian(data[(size + 16)..], TtlSeconds);
        answer.AddAuthority(_zone, DnsType.Soa, TtlSeconds, data[..(size + 20)]);
    }

    // "ns.svc.zone" exists while a service lies below it: the answer is "no such record", not "no such name" (RFC 8020).
    private void CountParents(byte[] name, int change)
    {
        if (!WireName.IsWithin(name, _services)) return;
        for (var parent = WireName.Parent(name); parent.Length > _services.Length; parent = WireName.Parent(parent))
        {
            _parentLookup.TryGetValue(parent, out var count);
            count += change;
            if (count > 0)
            {
                _parentLookup[parent] = count;
                if (!_lookup.ContainsKey(parent)) _entries[parent.ToArray()] = ZoneEntry.Empty;
                continue;
            }
            _parentLookup.Remove(parent);
            if (_lookup.TryGetValue(parent, out var entry) && ReferenceEquals(entry, ZoneEntry.Empty)) _lookup.TryRemove(parent, out _);
        }
    }
}
