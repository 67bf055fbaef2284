using System.Collections.Concurrent;
using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// What the cluster's names are made of: services by their two labels, namespaces, owners of addresses, pods where somebody asks for them.
/// Written by one thread, an object at a time; read by any thread without locks or allocations.
/// </summary>
internal sealed class ClusterRecords
{
    // Written by one thread, read by all
    private readonly ConcurrentDictionary<byte[], ServiceRecords> _services = new(WireNameComparer.Instance);
    private readonly ConcurrentDictionary<byte[], NamespaceRecord> _namespaces = new(WireNameComparer.Instance);
    private readonly ConcurrentDictionary<AddressKey, object> _clusterOwners = [];
    private readonly ConcurrentDictionary<AddressKey, object> _endpointOwners = [];
    private readonly ConcurrentDictionary<AddressKey, object> _pods = [];
    private int _serial = 1;

    /// <summary>Rises with every change: the zone's serial number.</summary>
    internal uint Serial => (uint)Volatile.Read(ref _serial);

    /// <summary>False until everything that was there at the start is known: no name is denied before.</summary>
    internal bool HasSynced { get; set; }

    internal int ServiceCount => _services.Count;

    /// <summary>Bytes on the heap, for the budget's test. A node of a concurrent dictionary takes 40 bytes with key and value beside its bucket's 8.</summary>
    internal long SizeBytes => _services.Sum(static pair => 48 + 88 + 24 + pair.Key.Length + pair.Value.Addresses4.Length + pair.Value.Addresses6.Length
        + pair.Value.Ports.Length * 96L + pair.Value.Endpoints.SizeBytes) + 64L * (_clusterOwners.Count + _endpointOwners.Count + _pods.Count);

    /// <summary>A service by its two labels (without closing zero), small-lettered.</summary>
    internal ServiceRecords? Service(ReadOnlySpan<byte> key) =>
        _services.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(key, out var service) ? service : null;

    /// <summary>A namespace by its label (length byte included).</summary>
    internal NamespaceRecord? Namespace(ReadOnlySpan<byte> label) =>
        _namespaces.GetAlternateLookup<ReadOnlySpan<byte>>().TryGetValue(label, out var found) ? found : null;

    /// <summary>The services that have a cluster address: mostly one.</summary>
    internal OwnerList ServicesAt(in AddressKey address) => new(_clusterOwners.GetValueOrDefault(address));

    /// <summary>The services that have a ready endpoint at an address.</summary>
    internal OwnerList EndpointsAt(in AddressKey address) => new(_endpointOwners.GetValueOrDefault(address));

    /// <summary>True where a pod of a namespace (label with length byte) has an address.</summary>
    internal bool HasPod(in AddressKey address, ReadOnlySpan<byte> @namespace)
    {
        if (!_pods.TryGetValue(address, out var found)) return false;
        if (found is byte[] one) return @namespace.SequenceEqual(one);
        foreach (var label in (byte[][])found)
        {
            if (@namespace.SequenceEqual(label)) return true;
        }
        return false;
    }

    /// <summary>The namespace of the only pod that has an address; null where there is none, or several.</summary>
    internal byte[]? NamespaceOfPod(in AddressKey address) => _pods.TryGetValue(address, out var found) ? found as byte[] : null;

    /// <summary>Replaces what a service contributes; null takes it away. One thread at a time.</summary>
    internal void Replace(byte[] key, ServiceRecords? service)
    {
        _services.TryGetValue(key, out var old);
        // First what the new one adds, so that nothing that stays is missing meanwhile.
        if (service is not null)
        {
            _services[key] = service;
            ForEachAddress(service, (map, address) => Add(map, address, service, old));
        }
        else _services.TryRemove(key, out _);
        if (old is not null) ForEachAddress(old, (map, address) => Remove(map, address, old));
        Changed();
    }

    internal void ReplaceNamespace(string name, bool isThere, IDictionary<string, string>? labels = null)
    {
        var label = Label(name);
        if (!isThere) _namespaces.TryRemove(label, out _);
        else _namespaces[label] = new NamespaceRecord(label, labels);
        Changed();
    }

    /// <summary>Notes that a pod has an address, or no more.</summary>
    internal void ReplacePod(in AddressKey address, string @namespace, bool isThere)
    {
        var label = Label(@namespace);
        _pods.TryGetValue(address, out var found);
        var labels = found is byte[] one ? [one] : found as byte[][] ?? [];
        labels = isThere ? [.. labels, label] : WithoutOne(labels, label);
        if (labels.Length == 0) _pods.TryRemove(address, out _);
        else _pods[address] = labels.Length == 1 ? labels[0] : labels;
    }

    internal void Changed() => Interlocked.Increment(ref _serial);

    internal static byte[] Label(string name) => [(byte)name.Length, .. Encoding.ASCII.GetBytes(name)];

    private void ForEachAddress(ServiceRecords service, Action<ConcurrentDictionary<AddressKey, object>, AddressKey> act)
    {
        for (var i = 0; i < service.Addresses4.Length; i += 4) act(_clusterOwners, AddressKey.Of(service.Addresses4.AsSpan(i, 4)));
        for (var i = 0; i < service.Addresses6.Length; i += 16) act(_clusterOwners, AddressKey.Of(service.Addresses6.AsSpan(i, 16)));
        for (var i = 0; i < service.Endpoints.Count; i++) act(_endpointOwners, AddressKey.Of(service.Endpoints.Address(i)));
    }

    private static void Add(ConcurrentDictionary<AddressKey, object> map, AddressKey address, ServiceRecords service, ServiceRecords? old)
    {
        if (!map.TryGetValue(address, out var found) || found == old)
        {
            map[address] = service;
            return;
        }
        ServiceRecords[] others = found is ServiceRecords[] many ? many : [(ServiceRecords)found];
        map[address] = (ServiceRecords[])[.. others.Where(other => other != old && other != service), service];
    }

    private static void Remove(ConcurrentDictionary<AddressKey, object> map, AddressKey address, ServiceRecords old)
    {
        if (!map.TryGetValue(address, out var found)) return;
        if (found == old)
        {
            map.TryRemove(address, out _);
            return;
        }
        if (found is not ServiceRecords[] many) return;
        ServiceRecords[] left = [.. many.Where(other => other != old)];
        if (left.Length == 0) map.TryRemove(address, out _);
        else map[address] = left.Length == 1 ? left[0] : left;
    }

    private static byte[][] WithoutOne(byte[][] labels, byte[] label)
    {
        var at = Array.FindIndex(labels, known => known.AsSpan().SequenceEqual(label));
        return at < 0 ? labels : [.. labels[..at], .. labels[(at + 1)..]];
    }
}

/// <summary>A namespace: its label (length byte included), and what selectors look at.</summary>
internal sealed record NamespaceRecord(byte[] Label, IDictionary<string, string>? Labels);

/// <summary>The services that share an address: one, several or none, without a list for the one.</summary>
internal readonly struct OwnerList(object? owners)
{
    internal int Count => owners switch { null => 0, ServiceRecords[] many => many.Length, _ => 1 };

    internal ServiceRecords this[int index] => owners is ServiceRecords[] many ? many[index] : (ServiceRecords)owners!;
}
