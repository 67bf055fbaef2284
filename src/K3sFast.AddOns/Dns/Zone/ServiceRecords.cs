using System.Net;
using System.Net.Sockets;
using System.Text;
using k8s.Models;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// What a service with its endpoints contributes to the cluster's names, as the Kubernetes DNS specification 1.1.0 lays down. Names are not
/// stored but read: only what differs from service to service is kept. Immutable.
/// </summary>
internal sealed class ServiceRecords
{
    // Port groups are numbered by one byte; slices of one service hardly ever differ in their ports.
    private const int MaxPortGroups = 256;

    /// <summary>Two labels, service and namespace, without the closing zero.</summary>
    internal required byte[] Name { get; init; }

    internal bool IsHeadless { get; init; }

    /// <summary>What an ExternalName service stands for, wire form; null for others.</summary>
    internal byte[]? ExternalName { get; init; }

    /// <summary>Cluster addresses, 4 bytes each.</summary>
    internal byte[] Addresses4 { get; init; } = [];

    /// <summary>Cluster addresses, 16 bytes each.</summary>
    internal byte[] Addresses6 { get; init; } = [];

    /// <summary>The service's own ports; a headless one's are its endpoints'.</summary>
    internal PortRecord[] Ports { get; init; } = [];

    internal EndpointSet Endpoints { get; init; } = EndpointSet.Empty;

    /// <summary>The service's labels, for selectors.</summary>
    internal IDictionary<string, string>? Labels { get; private init; }

    /// <summary>The key of a service: its two labels. Null where one of them is no label.</summary>
    internal static byte[]? Key(string name, string @namespace) => WireName.Encode($"{name}.{@namespace}") is { } wire && WireName.CountLabels(wire) == 2 ? wire[..^1] : null;

    /// <summary>The records of a service; null where it has none to give (no address yet, or a name that is none).</summary>
    internal static ServiceRecords? Of(V1Service service, IReadOnlyCollection<V1EndpointSlice> slices)
    {
        if (Key(service.Metadata.Name, service.Metadata.NamespaceProperty) is not { } name) return null;
        if (service.Spec.Type == "ExternalName")
        {
            // An address is no name: CoreDNS has no answer for such a service either.
            return WireName.Encode(service.Spec.ExternalName ?? "") is { Length: > 1 } target && !IPAddress.TryParse(service.Spec.ExternalName, out _)
                ? new ServiceRecords { Name = name, ExternalName = target, Labels = service.Metadata.Labels }
                : null;
        }
        if (string.IsNullOrEmpty(service.Spec.ClusterIP)) return null;
        var endpoints = EndpointsOf(service, slices);
        if (service.Spec.ClusterIP == "None") return new ServiceRecords { Name = name, IsHeadless = true, Endpoints = endpoints, Labels = service.Metadata.Labels };
        var addresses = (service.Spec.ClusterIPs ?? [service.Spec.ClusterIP]).Select(static text => IPAddress.TryParse(text, out var address) ? address : null).OfType<IPAddress>().ToList();
        return new ServiceRecords
        {
            Name = name,
            Addresses4 = [.. addresses.Where(static address => address.AddressFamily == AddressFamily.InterNetwork).SelectMany(static address => address.GetAddressBytes())],
            Addresses6 = [.. addresses.Where(static address => address.AddressFamily == AddressFamily.InterNetworkV6).SelectMany(static address => address.GetAddressBytes())],
            Ports = [.. (service.Spec.Ports ?? []).Select(static port => Port(port.Name, port.Protocol, port.Port))],
            Endpoints = endpoints,
            Labels = service.Metadata.Labels,
        };
    }

    private static EndpointSet EndpointsOf(V1Service service, IReadOnlyCollection<V1EndpointSlice> slices)
    {
        var all = new SortedDictionary<AddressKey, (byte[]? Host, byte Ports)>(AddressOrder.Instance);
        var groups = new List<PortRecord[]>();
        var groupKeys = new Dictionary<string, byte>(StringComparer.Ordinal);
        var publishesNotReady = service.Spec.PublishNotReadyAddresses == true;
        var hasHosts = false;
        foreach (var slice in slices)
        {
            var group = GroupOf(slice, groups, groupKeys);
            foreach (var endpoint in slice.Endpoints ?? [])
            {
                // An unknown condition counts as ready.
                if (!publishesNotReady && endpoint.Conditions?.Ready == false) continue;
                var host = string.IsNullOrEmpty(endpoint.Hostname) ? null : Label(endpoint.Hostname);
                foreach (var text in endpoint.Addresses ?? [])
                {
                    if (!IPAddress.TryParse(text, out var address)) continue;
                    hasHosts |= host is not null;
                    all[AddressKey.Of(address)] = (host, group);
                }
            }
        }
        if (all.Count == 0) return EndpointSet.Empty;
        var four = all.Count(static pair => pair.Key.IsV4);
        var (addresses4, addresses6) = (new byte[4 * four], new byte[16 * (all.Count - four)]);
        Span<byte> bytes = stackalloc byte[16];
        var i = 0;
        foreach (var (key, _) in all)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(bytes, key.High);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(bytes[8..], key.Low);
            if (i < four) bytes[12..].CopyTo(addresses4.AsSpan(4 * i));
            else bytes.CopyTo(addresses6.AsSpan(16 * (i - four)));
            i++;
        }
        return new EndpointSet(
            addresses4, addresses6, hasHosts ? [.. all.Values.Select(static value => value.Host)] : null,
            groups.Count > 1 ? [.. all.Values.Select(static value => value.Ports)] : [], [.. groups]);
    }

    private static byte GroupOf(V1EndpointSlice slice, List<PortRecord[]> groups, Dictionary<string, byte> keys)
    {
        var ports = (slice.Ports ?? []).Where(static port => port.Port is not null).ToList();
        var key = string.Join(',', ports.Select(static port => $"{port.Name}/{port.Protocol}/{port.Port}"));
        if (keys.TryGetValue(key, out var known)) return known;
        if (groups.Count == MaxPortGroups) return MaxPortGroups - 1;
        groups.Add([.. ports.Select(static port => Port(port.Name, port.Protocol, port.Port!.Value))]);
        return keys[key] = (byte)(groups.Count - 1);
    }

    private static PortRecord Port(string? name, string? protocol, int number) =>
        new(Label(name ?? "") ?? [], Label(protocol ?? "TCP") ?? [], (ushort)number);

    private static byte[]? Label(string text) => text.Length is > 0 and <= 63 && Ascii.IsValid(text) ? Encoding.ASCII.GetBytes(text.ToLowerInvariant()) : null;

    // IPv4 first, then by value.
    private sealed class AddressOrder : IComparer<AddressKey>
    {
        internal static AddressOrder Instance { get; } = new();

        public int Compare(AddressKey x, AddressKey y) =>
            x.IsV4 != y.IsV4 ? (x.IsV4 ? -1 : 1) : x.High != y.High ? x.High.CompareTo(y.High) : x.Low.CompareTo(y.Low);
    }
}
