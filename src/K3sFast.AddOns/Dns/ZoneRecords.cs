using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using k8s.Models;

namespace K3sFast.AddOns.Dns;

/// <summary>What a service contributes to the zone, as the Kubernetes DNS specification 1.1.0 lays down. Pure; no state.</summary>
internal static class ZoneRecords
{
    /// <summary>The names and records of a service with its endpoint slices.</summary>
    internal static Dictionary<byte[], ZoneEntry> Of(V1Service service, IReadOnlyCollection<V1EndpointSlice> slices, string domain)
    {
        var records = new Dictionary<byte[], ZoneEntry>(WireNameComparer.Instance);
        var serviceName = $"{service.Metadata.Name}.{service.Metadata.NamespaceProperty}.svc.{domain}";
        if (WireName.Encode(serviceName) is not { } wireName) return records;
        if (service.Spec.Type == "ExternalName")
        {
            if (WireName.Encode(service.Spec.ExternalName ?? "") is { Length: > 1 } target) records[wireName] = new ZoneEntry { Cname = target };
        }
        else if (service.Spec.ClusterIP == "None")
        {
            AddHeadless(records, service, slices, serviceName, wireName);
        }
        else if (!string.IsNullOrEmpty(service.Spec.ClusterIP))
        {
            AddClusterIP(records, service, serviceName, wireName);
        }
        return records;
    }

    /// <summary>A node by its name, as k3s' NodeHosts has it.</summary>
    internal static Dictionary<byte[], ZoneEntry> Of(V1Node node)
    {
        var records = new Dictionary<byte[], ZoneEntry>(WireNameComparer.Instance);
        if (WireName.Encode(node.Metadata.Name) is not { } name || node.Status?.Addresses is not { } addresses) return records;
        var set = new AddressSet();
        foreach (var address in addresses)
        {
            if (address.Type == "InternalIP") set.Add(address.Address);
        }
        if (set.Count > 0) records[name] = set.ToEntry();
        return records;
    }

    private static void AddClusterIP(Dictionary<byte[], ZoneEntry> records, V1Service service, string serviceName, byte[] wireName)
    {
        var addresses = new AddressSet();
        foreach (var address in service.Spec.ClusterIPs ?? [service.Spec.ClusterIP])
        {
            if (addresses.Add(address) is { } parsed) records[WireName.Reverse(parsed)] = new ZoneEntry { Ptr = [wireName] };
        }
        var everyPort = new List<ZoneService>();
        foreach (var port in service.Spec.Ports ?? [])
        {
            var srv = Srv((ushort)port.Port, wireName, addresses, share: 1);
            everyPort.Add(srv);
            if (!string.IsNullOrEmpty(port.Name)) AddSrv(records, port.Name, port.Protocol, serviceName, [srv]);
        }
        records[wireName] = addresses.ToEntry([.. everyPort]);
    }

    private static void AddHeadless(
        Dictionary<byte[], ZoneEntry> records, V1Service service, IReadOnlyCollection<V1EndpointSlice> slices, string serviceName, byte[] wireName)
    {
        var all = new AddressSet();
        var hosts = new Dictionary<string, AddressSet>();
        var ports = new Dictionary<(string Name, string Protocol, int Port), List<string>>();
        var publishesNotReady = service.Spec.PublishNotReadyAddresses == true;
        foreach (var slice in slices)
        {
            foreach (var endpoint in slice.Endpoints ?? [])
            {
                // An unknown condition counts as ready.
                if (!publishesNotReady && endpoint.Conditions?.Ready == false) continue;
                foreach (var address in endpoint.Addresses ?? [])
                {
                    if (all.Add(address) is not { } parsed) continue;
                    var host = string.IsNullOrEmpty(endpoint.Hostname) ? DashedAddress.Label(address) : endpoint.Hostname;
                    if (!hosts.TryGetValue(host, out var hostAddresses)) hosts[host] = hostAddresses = new AddressSet();
                    hostAddresses.Add(address);
                    if (WireName.Encode($"{host}.{serviceName}") is { } hostName) records[WireName.Reverse(parsed)] = new ZoneEntry { Ptr = [hostName] };
                    foreach (var port in slice.Ports ?? [])
                    {
                        if (port.Port is not { } number) continue;
                        var key = (port.Name ?? "", port.Protocol ?? "TCP", number);
                        if (!ports.TryGetValue(key, out var portHosts)) ports[key] = portHosts = [];
                        if (!portHosts.Contains(host)) portHosts.Add(host);
                    }
                }
            }
        }
        foreach (var (host, addresses) in hosts)
        {
            if (WireName.Encode($"{host}.{serviceName}") is { } hostName) records[hostName] = addresses.ToEntry();
        }
        var everyPort = new List<ZoneService>();
        foreach (var group in ports.GroupBy(static port => (port.Key.Name, port.Key.Protocol)))
        {
            var named = new List<ZoneService>();
            foreach (var (key, portHosts) in group)
            {
                foreach (var host in portHosts)
                {
                    if (WireName.Encode($"{host}.{serviceName}") is { } target) named.Add(Srv((ushort)key.Port, target, hosts[host], portHosts.Count));
                }
            }
            everyPort.AddRange(named);
            if (group.Key.Name.Length > 0) AddSrv(records, group.Key.Name, group.Key.Protocol, serviceName, [.. named]);
        }
        records[wireName] = all.ToEntry([.. everyPort]);
    }

    private static void AddSrv(Dictionary<byte[], ZoneEntry> records, string port, string? protocol, string serviceName, ZoneService[] services)
    {
        var name = $"_{port}._{(protocol ?? "TCP").ToLowerInvariant()}.{serviceName}";
        if (WireName.Encode(name) is { } wire) records[wire] = new ZoneEntry { Srv = services };
    }

    // SRV data: priority, weight, port, target (RFC 2782). Weight is CoreDNS': 100 shared among the targets.
    private static ZoneService Srv(ushort port, byte[] target, AddressSet addresses, int share)
    {
        var data = new byte[6 + target.Length];
        BinaryPrimitives.WriteUInt16BigEndian(data, 0);
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(2), (ushort)Math.Max(1, 100 / share));
        BinaryPrimitives.WriteUInt16BigEndian(data.AsSpan(4), port);
        target.CopyTo(data.AsSpan(6));
        var entry = addresses.ToEntry();
        return new ZoneService(data, target, entry.A, entry.Aaaa);
    }

    // Addresses of both families, each once, in the order they came.
    private sealed class AddressSet
    {
        private readonly HashSet<string> _seen = [];
        private readonly List<byte[]> _a = [];
        private readonly List<byte[]> _aaaa = [];

        internal int Count => _seen.Count;

        // The parsed address when it is new and one at all.
        internal IPAddress? Add(string text)
        {
            if (!IPAddress.TryParse(text, out var address) || !_seen.Add(text)) return null;
            (address.AddressFamily == AddressFamily.InterNetwork ? _a : _aaaa).Add(address.GetAddressBytes());
            return address;
        }

        internal ZoneEntry ToEntry(ZoneService[]? services = null) => new() { A = [.. _a], Aaaa = [.. _aaaa], Srv = services ?? [] };
    }
}
