using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// What to create, update and delete so that the slices of a service hold the wanted endpoints, with as few writes as possible: endpoints stay
/// in the slice that they are in, changed slices are filled up first. Pure.
/// </summary>
internal sealed class EndpointSlicePlan
{
    internal const string ServiceNameLabel = "kubernetes.io/service-name";
    internal const string ManagedByLabel = "endpointslice.kubernetes.io/managed-by";
    internal const string ZoneLabel = "topology.kubernetes.io/zone";

    /// <summary>Endpoints in one slice (upstream's default).</summary>
    internal const int MaxEndpoints = 100;

    private readonly V1Service _service;
    private readonly string _managedBy;

    private EndpointSlicePlan(V1Service service, string managedBy)
    {
        (_service, _managedBy) = (service, managedBy);
    }

    internal List<V1EndpointSlice> Create { get; } = [];

    internal List<V1EndpointSlice> Update { get; } = [];

    internal List<V1EndpointSlice> Delete { get; } = [];

    /// <summary>Plans for one service: <paramref name="wanted"/> are the endpoints per family and port set.</summary>
    internal static EndpointSlicePlan Make(
        V1Service service, string managedBy, IReadOnlyList<EndpointGroup> wanted, IReadOnlyList<V1EndpointSlice> existing)
    {
        var plan = new EndpointSlicePlan(service, managedBy);
        var families = ServicePods.Families(service).Select(AddressType).ToList();
        plan.Delete.AddRange(existing.Where(slice => !families.Contains(slice.AddressType)));
        foreach (var type in families)
        {
            plan.PlanType(
                type, [.. wanted.Where(group => group.AddressType == type)], [.. existing.Where(slice => slice.AddressType == type)]);
        }
        return plan;
    }

    internal static string AddressType(AddressFamily family) => family == AddressFamily.InterNetworkV6 ? "IPv6" : "IPv4";

    /// <summary>Port sets are the same when their ports are, in whatever order.</summary>
    internal static string PortsKey(IEnumerable<Discoveryv1EndpointPort>? ports) => string.Join(',', (ports ?? [])
        .Select(static port => $"{port.Name}/{port.Port}/{ServicePods.Protocol(port.Protocol)}/{port.AppProtocol}").Order(StringComparer.Ordinal));

    private void PlanType(string type, List<EndpointGroup> groups, List<V1EndpointSlice> existing)
    {
        var created = new List<V1EndpointSlice>();
        var deleted = existing.Where(slice => !IsOwned(slice)).ToList();
        var byPorts = existing.Where(IsOwned).ToLookup(static slice => PortsKey(slice.Ports));
        foreach (var group in groups) PlanGroup(group, [.. byPorts[PortsKey(group.Ports)]], created, deleted);
        var known = groups.Select(static group => PortsKey(group.Ports)).ToHashSet();
        foreach (var stale in byPorts)
        {
            if (!known.Contains(stale.Key)) deleted.AddRange(stale);
        }
        // A service always has a slice, if only an empty one that says so.
        if (existing.Count == deleted.Count && created.Count == 0)
        {
            var placeholder = NewSlice(type, [], []);
            if (deleted is [var only] && IsOwned(only) && only.Endpoints is not { Count: > 0 } && only.Ports is not { Count: > 0 }
                && Owners.SameLabels(only.Metadata.Labels, placeholder.Metadata.Labels))
            {
                deleted.Clear();
            }
            else
            {
                created.Add(placeholder);
            }
        }
        Recycle(created, deleted);
        Create.AddRange(created);
        Delete.AddRange(deleted);
    }

    private void PlanGroup(EndpointGroup group, List<V1EndpointSlice> existing, List<V1EndpointSlice> created, List<V1EndpointSlice> deleted)
    {
        var missing = new Dictionary<string, V1Endpoint>();
        foreach (var endpoint in group.Endpoints) missing[Identity(endpoint)] = endpoint;
        var labels = Labels();
        var changed = new List<(V1EndpointSlice Slice, List<V1Endpoint> Endpoints)>();
        var unchanged = new List<V1EndpointSlice>();
        foreach (var slice in existing)
        {
            var kept = new List<V1Endpoint>();
            var differs = !Owners.SameLabels(slice.Metadata.Labels, labels);
            foreach (var endpoint in slice.Endpoints ?? [])
            {
                if (!missing.Remove(Identity(endpoint), out var now)) continue;
                kept.Add(now);
                differs |= !Same(endpoint, now);
            }
            var lost = kept.Count != (slice.Endpoints?.Count ?? 0);
            if (lost && kept.Count == 0) deleted.Add(slice);
            else if (lost || differs) changed.Add((slice, kept));
            else unchanged.Add(slice);
        }
        var rest = new Queue<V1Endpoint>(missing.Values);
        // What is written anyway takes the new ones, the fullest first.
        foreach (var (_, endpoints) in changed.OrderByDescending(static entry => entry.Endpoints.Count))
        {
            while (endpoints.Count < MaxEndpoints && rest.TryDequeue(out var endpoint)) endpoints.Add(endpoint);
        }
        // Then one slice that they fit into, or else new ones.
        if (rest.Count is > 0 and < MaxEndpoints
            && unchanged.Where(slice => (slice.Endpoints?.Count ?? 0) + rest.Count <= MaxEndpoints).MaxBy(static slice => slice.Endpoints?.Count ?? 0) is { } roomy)
        {
            changed.Add((roomy, [.. roomy.Endpoints ?? [], .. rest]));
            rest.Clear();
        }
        while (rest.Count > 0)
        {
            var endpoints = new List<V1Endpoint>();
            while (endpoints.Count < MaxEndpoints && rest.TryDequeue(out var endpoint)) endpoints.Add(endpoint);
            created.Add(NewSlice(group.AddressType, group.Ports, endpoints));
        }
        foreach (var (slice, endpoints) in changed) Update.Add(slice with { Metadata = slice.Metadata with { Labels = labels }, Endpoints = endpoints });
    }

    // An update is half the work of a deletion and a creation.
    private void Recycle(List<V1EndpointSlice> created, List<V1EndpointSlice> deleted)
    {
        for (var i = deleted.Count - 1; i >= 0 && created.Count > 0; i--)
        {
            if (!IsOwned(deleted[i])) continue;
            var next = created[^1];
            created.RemoveAt(created.Count - 1);
            Update.Add(deleted[i] with { Metadata = deleted[i].Metadata with { Labels = next.Metadata.Labels }, Ports = next.Ports, Endpoints = next.Endpoints });
            deleted.RemoveAt(i);
        }
    }

    private V1EndpointSlice NewSlice(string type, IList<Discoveryv1EndpointPort> ports, IList<V1Endpoint> endpoints) => new()
    {
        Metadata = new V1ObjectMeta
        {
            GenerateName = _service.Metadata.Name + "-",
            NamespaceProperty = _service.Metadata.NamespaceProperty,
            Labels = Labels(),
            OwnerReferences = [Owners.Reference(Resources.Services, _service)],
        },
        AddressType = type,
        Ports = ports,
        Endpoints = endpoints,
    };

    private Dictionary<string, string> Labels()
    {
        var labels = new Dictionary<string, string>(_service.Metadata.Labels ?? new Dictionary<string, string>());
        if (ServicePods.IsHeadless(_service)) labels[ServicePods.HeadlessLabel] = "";
        else labels.Remove(ServicePods.HeadlessLabel);
        labels[ServiceNameLabel] = _service.Metadata.Name;
        labels[ManagedByLabel] = _managedBy;
        return labels;
    }

    private bool IsOwned(V1EndpointSlice slice) =>
        slice.Metadata.OwnerReferences?.Any(owner => owner.Uid == _service.Metadata.Uid && owner.Kind == "Service") == true;

    // Pods of the host's network share an address: the pod is part of who an endpoint is.
    internal static string Identity(V1Endpoint endpoint) => $"{string.Join(',', endpoint.Addresses)}/{endpoint.TargetRef?.Uid}";

    private static bool Same(V1Endpoint a, V1Endpoint b) =>
        a.NodeName == b.NodeName && a.Zone == b.Zone && a.Hostname == b.Hostname
        && (a.Conditions?.Ready ?? true) == (b.Conditions?.Ready ?? true)
        && (a.Conditions?.Serving ?? true) == (b.Conditions?.Serving ?? true)
        && (a.Conditions?.Terminating ?? false) == (b.Conditions?.Terminating ?? false)
        && a.TargetRef?.Name == b.TargetRef?.Name && a.TargetRef?.Uid == b.TargetRef?.Uid && EndpointHints.Same(a.Hints, b.Hints);
}

/// <summary>Endpoints of one family that serve on the same ports.</summary>
internal sealed record EndpointGroup(string AddressType, IList<Discoveryv1EndpointPort> Ports, List<V1Endpoint> Endpoints);
