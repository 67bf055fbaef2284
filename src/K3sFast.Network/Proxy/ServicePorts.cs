using System.Net;
using System.Net.Sockets;
using k8s.Models;
using K3sFast.Interop.NfTables;

namespace K3sFast.Network.Proxy;

/// <summary>Makes service ports of a Service and its EndpointSlices, as kube-proxy reads them. Pure.</summary>
internal static class ServicePorts
{
    private const string ProxyNameLabel = "service.kubernetes.io/service-proxy-name";
    private const string HeadlessLabel = "service.kubernetes.io/headless";

    // API default of sessionAffinityConfig.clientIP.timeoutSeconds.
    private const int DefaultAffinitySeconds = 10800;

    /// <summary>The ports of a Service in one family; none for a headless one, an external name, or one that another proxy carries.</summary>
    /// <param name="service">The Service.</param>
    /// <param name="slices">Its slices.</param>
    /// <param name="family">The family.</param>
    /// <param name="nodeName">This node.</param>
    /// <param name="zone">The zone that this node is in; "" = none.</param>
    /// <param name="allowsExternalIPs">False passes over the Service's external IPs.</param>
    internal static List<ServicePort> Build(
        V1Service service, IReadOnlyList<V1EndpointSlice> slices, NftFamily family, string nodeName, string zone = "", bool allowsExternalIPs = true)
    {
        var ports = new List<ServicePort>();
        var spec = service.Spec;
        if (spec?.Ports is null || spec.Type == "ExternalName" || IsForeign(service.Metadata.Labels)) return ports;
        var wanted = family == NftFamily.IPv6 ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork;
        var clusterIPs = spec.ClusterIPs is { Count: > 0 } all ? all : spec.ClusterIP is { Length: > 0 } one ? [one] : (IList<string>)[];
        if (clusterIPs.Count == 0 || clusterIPs[0] == "None") return ports;
        if (Addresses(clusterIPs, wanted) is not [var clusterIP, ..]) return ports;

        var isNodePortType = spec.Type is "NodePort" or "LoadBalancer";
        var template = new ServicePort
        {
            Namespace = service.Metadata.NamespaceProperty,
            Name = service.Metadata.Name,
            Protocol = 0,
            Port = 0,
            ClusterIP = clusterIP,
            ExternalIPs = allowsExternalIPs ? Addresses(spec.ExternalIPs ?? [], wanted) : [],
            LoadBalancerIPs = spec.Type == "LoadBalancer" ? LoadBalancerIPs(service, wanted) : [],
            LoadBalancerSources = Networks(spec.LoadBalancerSourceRanges ?? [], wanted),
            Affinity = spec.SessionAffinity == "ClientIP"
                ? TimeSpan.FromSeconds(spec.SessionAffinityConfig?.ClientIP?.TimeoutSeconds ?? DefaultAffinitySeconds)
                : TimeSpan.Zero,
            IsInternalLocal = spec.InternalTrafficPolicy == "Local",
            IsExternalLocal = spec.ExternalTrafficPolicy == "Local",
        };
        foreach (var port in spec.Ports)
        {
            if (ProtocolOf(port.Protocol) is not { } protocol) continue;
            var endpoints = Endpoints(slices, port, wanted, nodeName, zone);
            ports.Add(template with
            {
                Protocol = protocol,
                Port = (ushort)port.Port,
                NodePort = isNodePortType ? (ushort)(port.NodePort ?? 0) : (ushort)0,
                Endpoints = Usable(endpoints, TopologyHints.Filter),
                LocalEndpoints = Usable(endpoints.FindAll(static endpoint => endpoint.IsLocal)),
                ServingEndpoints = endpoints.FindAll(static endpoint => endpoint.IsServing),
            });
        }
        return ports;
    }

    /// <summary>How many of a Service's endpoints on this node take connections, by address: what a load balancer is told.</summary>
    internal static int CountLocalReady(IReadOnlyList<V1EndpointSlice> slices, string nodeName) => slices
        .SelectMany(static slice => slice.Endpoints ?? [])
        .Where(endpoint => endpoint.NodeName == nodeName && (endpoint.Conditions?.Ready ?? true) && endpoint.Addresses is [_, ..])
        .Select(static endpoint => endpoint.Addresses[0]).Distinct().Count();

    /// <summary>The port that load balancers ask for this node's health at; 0 = none.</summary>
    internal static ushort HealthCheckPortOf(V1Service service) =>
        service.Spec is { Type: "LoadBalancer", ExternalTrafficPolicy: "Local", HealthCheckNodePort: > 0 and <= 65535 and var port } && !IsForeign(service.Metadata.Labels) ? (ushort)port : (ushort)0;

    /// <summary>The Service that a slice belongs to; null = none that we carry.</summary>
    internal static string? ServiceNameOf(V1EndpointSlice slice) =>
        slice.Metadata.Labels is { } labels && labels.TryGetValue("kubernetes.io/service-name", out var name) && name.Length > 0 && !IsForeign(labels) ? name : null;

    private static bool IsForeign(IDictionary<string, string>? labels) => labels is not null && (labels.ContainsKey(ProxyNameLabel) || labels.ContainsKey(HeadlessLabel));

    // Ready ones; when there are none, those that terminate and still serve: better than refusing (upstream: categorizeEndpoints).
    private static List<Endpoint> Usable(List<Endpoint> endpoints, Func<List<Endpoint>, List<Endpoint>>? choose = null)
    {
        var ready = endpoints.FindAll(static endpoint => endpoint.IsReady);
        return ready.Count > 0 ? choose?.Invoke(ready) ?? ready : endpoints.FindAll(endpoint => endpoint is { IsServing: true, IsTerminating: true });
    }

    private static List<Endpoint> Endpoints(IReadOnlyList<V1EndpointSlice> slices, V1ServicePort port, AddressFamily family, string nodeName, string zone)
    {
        var endpoints = new Dictionary<(IPAddress, ushort), Endpoint>();
        foreach (var slice in slices)
        {
            if (slice.AddressType != (family == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4")) continue;
            foreach (var slicePort in slice.Ports ?? [])
            {
                if ((slicePort.Name ?? "") != (port.Name ?? "") || (slicePort.Protocol ?? "TCP") != (port.Protocol ?? "TCP") || slicePort.Port is not (> 0 and <= 65535)) continue;
                foreach (var entry in slice.Endpoints ?? [])
                {
                    // Upstream reads the first address only: they are fungible.
                    if (entry.Addresses is not [var text, ..] || !IPAddress.TryParse(text, out var address) || address.AddressFamily != family) continue;
                    var conditions = entry.Conditions;
                    var endpoint = new Endpoint(
                        address, (ushort)slicePort.Port, entry.NodeName == nodeName, conditions?.Ready ?? true, conditions?.Serving ?? true, conditions?.Terminating ?? false,
                        TopologyHints.Read(entry.Hints, nodeName, zone));
                    // While an endpoint moves between slices it is in two: the better one counts.
                    if (!endpoints.TryGetValue((address, endpoint.Port), out var known) || (!known.IsReady && endpoint.IsReady)) endpoints[(address, endpoint.Port)] = endpoint;
                }
            }
        }
        var sorted = endpoints.Values.ToList();
        sorted.Sort(static (left, right) => left.Address.Equals(right.Address) ? left.Port.CompareTo(right.Port) : Compare(left.Address, right.Address));
        return sorted;
    }

    private static int Compare(IPAddress left, IPAddress right)
    {
        Span<byte> a = stackalloc byte[16], b = stackalloc byte[16];
        left.TryWriteBytes(a, out var leftLength);
        right.TryWriteBytes(b, out var rightLength);
        return a[..leftLength].SequenceCompareTo(b[..rightLength]);
    }

    private static List<IPAddress> LoadBalancerIPs(V1Service service, AddressFamily family)
    {
        var ingress = service.Status?.LoadBalancer?.Ingress ?? [];
        // ipMode Proxy: packets arrive with another destination; translating the address here would bypass the balancer.
        return Addresses([.. ingress.Where(entry => entry is { IpMode: null or "VIP", Ip: not null }).Select(entry => entry.Ip)], family);
    }

    private static List<IPAddress> Addresses(IList<string> texts, AddressFamily family)
    {
        var addresses = new List<IPAddress>(texts.Count);
        foreach (var text in texts)
        {
            if (IPAddress.TryParse(text, out var address) && address.AddressFamily == family) addresses.Add(address);
        }
        return addresses;
    }

    private static List<IPNetwork> Networks(IList<string> texts, AddressFamily family)
    {
        var networks = new List<IPNetwork>(texts.Count);
        foreach (var text in texts)
        {
            if (IPNetwork.TryParse(text.Trim(), out var network) && network.BaseAddress.AddressFamily == family) networks.Add(network);
        }
        // A range that holds everybody asks nothing.
        if (networks.Exists(static network => network.PrefixLength == 0)) networks.Clear();
        return networks;
    }

    private static byte? ProtocolOf(string? name) => name switch { null or "" or "TCP" => 6, "UDP" => 17, "SCTP" => 132, _ => null };
}
