using System.Net;
using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Mirrors Endpoints that somebody keeps by hand, for a Service without selector, into EndpointSlices, which are what proxies read.
/// </summary>
internal sealed class EndpointSliceMirroringController : Controller
{
    private const string ManagedBy = "endpointslicemirroring-controller.k8s.io";
    private const string SkipMirrorLabel = "endpointslice.kubernetes.io/skip-mirror";
    private const string LeaderAnnotation = "control-plane.alpha.kubernetes.io/leader";
    private const string ByEndpoints = "endpoints";

    // Upstream's bound on what is mirrored of one subset.
    private const int MaxPerSubset = 1000;

    private static readonly string[] s_ownAnnotations = ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1Endpoints> _endpoints;
    private readonly Informer<V1Service> _services;
    private readonly Informer<V1EndpointSlice> _slices;
    private readonly WorkQueue<ObjectKey> _queue;

    internal EndpointSliceMirroringController(ControllerContext context) : base("endpointslicemirroring-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _events = context.Recorder(_client, "endpoint-slice-mirroring-controller");
        _endpoints = context.Informers.Get(Resources.Endpoints);
        _endpoints.AddHandler(endpoints => _queue.Add(ObjectKey.Of(endpoints)));
        _services = context.Informers.Get(Resources.Services);
        _services.AddHandler(service => _queue.Add(ObjectKey.Of(service)));
        _slices = context.Informers.Get(Resources.EndpointSlices);
        _slices.AddIndex(ByEndpoints, static slice => KeyOf(slice) is { } key ? [key.ToString()] : []);
        _slices.AddHandler(slice =>
        {
            if (KeyOf(slice) is { } key) _queue.Add(key);
        });
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken);

    private static ObjectKey? KeyOf(V1EndpointSlice slice) =>
        slice.Metadata.Labels is { } labels && labels.TryGetValue(EndpointSlicePlan.ManagedByLabel, out var manager) && manager == ManagedBy
        && labels.TryGetValue(EndpointSlicePlan.ServiceNameLabel, out var name)
            ? new ObjectKey(slice.Metadata.NamespaceProperty, name)
            : null;

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        var existing = _slices.ByIndex(ByEndpoints, key.ToString()).Where(static slice => slice.Metadata.DeletionTimestamp is null)
            .OrderBy(static slice => slice.Metadata.Name, StringComparer.Ordinal).ToList();
        if (_endpoints.Get(key) is not { Metadata.DeletionTimestamp: null } endpoints || !IsMirrored(endpoints)
            || _services.Get(key) is not { Metadata.DeletionTimestamp: null } service || service.Spec.Selector is { Count: > 0 })
        {
            foreach (var slice in existing) await DeleteAsync(slice, cancellationToken).ConfigureAwait(false);
            return;
        }
        foreach (var wanted in Slices(endpoints))
        {
            var same = existing.FirstOrDefault(slice =>
                slice.AddressType == wanted.AddressType && EndpointSlicePlan.PortsKey(slice.Ports) == EndpointSlicePlan.PortsKey(wanted.Ports));
            if (same is null)
            {
                await CreateAsync(wanted, cancellationToken).ConfigureAwait(false);
                continue;
            }
            existing.Remove(same);
            wanted.Metadata = wanted.Metadata with { Name = same.Metadata.Name, GenerateName = same.Metadata.GenerateName };
            if (!IsSame(same, wanted))
            {
                wanted.Metadata = wanted.Metadata with { ResourceVersion = same.Metadata.ResourceVersion };
                await _client.UpdateAsync(Resources.EndpointSlices, wanted, cancellationToken).ConfigureAwait(false);
            }
        }
        foreach (var slice in existing) await DeleteAsync(slice, cancellationToken).ConfigureAwait(false);
    }

    private static bool IsMirrored(V1Endpoints endpoints) =>
        endpoints.Metadata.Labels?.TryGetValue(SkipMirrorLabel, out var skip) != true || skip != "true"
            ? endpoints.Metadata.Annotations?.ContainsKey(LeaderAnnotation) != true
            : false;

    // One slice per family and set of ports.
    private List<V1EndpointSlice> Slices(V1Endpoints endpoints)
    {
        var slices = new Dictionary<(string Type, string Ports), V1EndpointSlice>();
        int skipped = 0, invalid = 0;
        foreach (var subset in endpoints.Subsets ?? [])
        {
            List<Discoveryv1EndpointPort> ports =
            [
                .. (subset.Ports ?? []).Select(static port => new Discoveryv1EndpointPort
                {
                    Name = port.Name ?? "", Port = port.Port, Protocol = port.Protocol ?? "TCP", AppProtocol = port.AppProtocol,
                }),
            ];
            var all = (subset.Addresses ?? []).Select(static address => (Address: address, IsReady: true))
                .Concat((subset.NotReadyAddresses ?? []).Select(static address => (Address: address, IsReady: false))).ToList();
            var added = 0;
            foreach (var (address, isReady) in all)
            {
                if (added == MaxPerSubset)
                {
                    skipped++;
                    continue;
                }
                if (!IPAddress.TryParse(address.Ip, out var parsed))
                {
                    invalid++;
                    continue;
                }
                added++;
                var type = EndpointSlicePlan.AddressType(parsed.AddressFamily);
                var key = (type, EndpointSlicePlan.PortsKey(ports));
                if (!slices.TryGetValue(key, out var slice)) slices[key] = slice = NewSlice(endpoints, type, ports);
                slice.Endpoints.Add(new V1Endpoint
                {
                    Addresses = [parsed.ToString()], Conditions = new V1EndpointConditions { Ready = isReady }, TargetRef = address.TargetRef,
                    NodeName = address.NodeName, Hostname = string.IsNullOrEmpty(address.Hostname) ? null : address.Hostname,
                });
            }
        }
        if (invalid > 0) _events.Warning(Resources.Endpoints, endpoints, "InvalidIPAddress", $"Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
        if (skipped > 0)
        {
            _events.Warning(
                Resources.Endpoints, endpoints, "TooManyAddressesToMirror",
                $"A max of {MaxPerSubset} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped");
        }
        return [.. slices.Values];
    }

    private static V1EndpointSlice NewSlice(V1Endpoints endpoints, string type, List<Discoveryv1EndpointPort> ports)
    {
        var labels = new Dictionary<string, string>(endpoints.Metadata.Labels ?? new Dictionary<string, string>())
        {
            [EndpointSlicePlan.ServiceNameLabel] = endpoints.Metadata.Name,
            [EndpointSlicePlan.ManagedByLabel] = ManagedBy,
        };
        var annotations = (endpoints.Metadata.Annotations ?? new Dictionary<string, string>()).Where(static pair => !s_ownAnnotations.Contains(pair.Key))
            .ToDictionary(static pair => pair.Key, static pair => pair.Value);
        return new V1EndpointSlice
        {
            Metadata = new V1ObjectMeta
            {
                GenerateName = endpoints.Metadata.Name + "-", NamespaceProperty = endpoints.Metadata.NamespaceProperty, Labels = labels,
                Annotations = annotations.Count == 0 ? null : annotations, OwnerReferences = [Owners.Reference(Resources.Endpoints, endpoints)],
            },
            AddressType = type, Ports = ports, Endpoints = [],
        };
    }

    private static bool IsSame(V1EndpointSlice slice, V1EndpointSlice wanted) =>
        Owners.SameLabels(slice.Metadata.Labels, wanted.Metadata.Labels) && Owners.SameLabels(slice.Metadata.Annotations, wanted.Metadata.Annotations)
        && Owners.ControllerOf(slice)?.Uid == Owners.ControllerOf(wanted)?.Uid && ModelJson.Serialize(Sorted(slice)).AsSpan().SequenceEqual(ModelJson.Serialize(Sorted(wanted)));

    // What endpoints a slice has, whatever their order.
    private static V1EndpointSlice Sorted(V1EndpointSlice slice) => new()
    {
        Metadata = new V1ObjectMeta(), AddressType = slice.AddressType, Ports = slice.Ports,
        Endpoints = [.. (slice.Endpoints ?? []).Select(static endpoint => new V1Endpoint
        {
            Addresses = endpoint.Addresses, Conditions = new V1EndpointConditions { Ready = endpoint.Conditions?.Ready }, TargetRef = endpoint.TargetRef,
            NodeName = endpoint.NodeName, Hostname = endpoint.Hostname,
        }).OrderBy(static endpoint => endpoint.Addresses[0], StringComparer.Ordinal)],
    };

    private async Task CreateAsync(V1EndpointSlice slice, CancellationToken cancellationToken)
    {
        try
        {
            await _client.CreateAsync(Resources.EndpointSlices, slice, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused) when (refused.IsNamespaceTerminating)
        {
            // Nothing is wanted there any more.
        }
    }

    private async Task DeleteAsync(V1EndpointSlice slice, CancellationToken cancellationToken)
    {
        try
        {
            await _client.DeleteAsync(Resources.EndpointSlices, slice.Metadata.NamespaceProperty, slice.Metadata.Name, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // Gone already.
        }
    }
}
