using System.Collections.Concurrent;
using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Keeps the EndpointSlices of services that have a selector.</summary>
internal sealed class EndpointSliceController : Controller
{
    private const string ManagedBy = "endpointslice-controller.k8s.io";
    private const string ByService = "service";
    private const int Workers = 4;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EndpointHinting _hinting;
    private readonly TriggerTimes _triggers = new();
    private readonly Informer<V1Service> _services;
    private readonly Informer<V1EndpointSlice> _slices;
    private readonly Informer<V1Node> _nodes;
    private readonly WorkQueue<ObjectKey> _queue;

    // Slices created whose creation the informer has not shown: until it has, a service would get them twice
    private readonly ConcurrentDictionary<ObjectKey, ObjectKey> _unseen = new();

    // Services with a pod on a node that is not there (yet)
    private readonly ConcurrentDictionary<ObjectKey, bool> _lackNodes = new();

    internal EndpointSliceController(ControllerContext context) : base("endpointslice-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _hinting = new EndpointHinting(context.Recorder(_client, Name));
        _services = context.Informers.Get(Resources.Services);
        ServiceIndex.Add(_services);
        _services.AddHandler(service => _queue.Add(ObjectKey.Of(service)));
        _slices = context.Informers.Get(Resources.EndpointSlices);
        _slices.AddIndex(ByService, static slice => ServiceOf(slice) is { } key ? [key.ToString()] : []);
        _slices.AddHandler(slice =>
        {
            _unseen.TryRemove(ObjectKey.Of(slice), out _);
            if (ServiceOf(slice) is { } key && slice.Metadata.Labels[EndpointSlicePlan.ManagedByLabel] == ManagedBy) _queue.Add(key);
        });
        _nodes = context.Informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(
            Added: node =>
            {
                foreach (var key in _lackNodes.Keys)
                {
                    if (_lackNodes.TryRemove(key, out _)) _queue.Add(key);
                }
                QueueHinted();
            },
            Updated: (old, node) =>
            {
                if (ZoneShares.IsRelevant(old, node)) QueueHinted();
            },
            Deleted: _ => QueueHinted()));
        context.Pods.AddHandler(ServicePods.Handler(_services, _queue));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, Workers, cancellationToken);

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        // Slices of a service that is gone are the garbage collector's.
        if (_services.Get(key) is not { Metadata.DeletionTimestamp: null } service)
        {
            _triggers.Forget(key);
            _hinting.Forget(key);
            _lackNodes.TryRemove(key, out _);
            return;
        }
        if (service.Spec.Type == "ExternalName" || service.Spec.Selector is not { Count: > 0 }) return;
        // Looked at again when the awaited slice is seen.
        if (_unseen.Values.Contains(key)) return;
        var existing = _slices.ByIndex(ByService, key.ToString())
            .Where(static slice => slice.Metadata.Labels[EndpointSlicePlan.ManagedByLabel] == ManagedBy && slice.Metadata.DeletionTimestamp is null)
            .OrderBy(static slice => slice.Metadata.Name, StringComparer.Ordinal).ToList();
        var pods = ServicePods.Of(_context.Pods, service).ToList();
        // Before nodes are looked for: one that comes at this very moment puts the service in again, and is not missed.
        _lackNodes[key] = true;
        var wanted = Wanted(service, pods, out var lacksNode);
        if (!lacksNode) _lackNodes.TryRemove(key, out _);
        _hinting.Apply(service, wanted, existing, _nodes);
        var plan = EndpointSlicePlan.Make(service, ManagedBy, wanted, existing);
        var trigger = _triggers.Take(service, pods);
        foreach (var slice in plan.Create)
        {
            try
            {
                var created = await _client.CreateAsync(Resources.EndpointSlices, Told(slice, trigger), cancellationToken).ConfigureAwait(false);
                var name = ObjectKey.Of(created);
                _unseen[name] = key;
                // Seen already, before it was noted as not seen.
                if (_slices.Get(name) is not null) _unseen.TryRemove(name, out _);
            }
            catch (ApiException refused) when (refused.IsNamespaceTerminating)
            {
                return;
            }
        }
        foreach (var slice in plan.Update)
        {
            await _client.UpdateAsync(Resources.EndpointSlices, Told(slice, trigger), cancellationToken).ConfigureAwait(false);
        }
        foreach (var slice in plan.Delete)
        {
            try
            {
                await _client.DeleteAsync(Resources.EndpointSlices, key.Namespace, slice.Metadata.Name, cancellationToken).ConfigureAwait(false);
            }
            catch (ApiException gone) when (gone.IsNotFound)
            {
                // That was the aim.
            }
        }
        // What waits for a node is told with the write that is to come.
        if (!lacksNode || plan.Create.Count + plan.Update.Count > 0) _triggers.Told(key);
    }

    private static V1EndpointSlice Told(V1EndpointSlice slice, DateTime? trigger) =>
        slice with { Metadata = slice.Metadata with { Annotations = TriggerTimes.Write(slice.Metadata.Annotations, trigger) } };

    private void QueueHinted()
    {
        foreach (var service in _services.List())
        {
            if (EndpointHints.WantsShares(service) || EndpointHints.WantsNear(service)) _queue.Add(ObjectKey.Of(service));
        }
    }

    private List<EndpointGroup> Wanted(V1Service service, List<V1Pod> pods, out bool lacksNode)
    {
        var groups = new Dictionary<string, EndpointGroup>();
        lacksNode = false;
        var families = ServicePods.Families(service);
        foreach (var pod in pods)
        {
            if (!ServicePods.Belongs(pod, includeTerminating: true)) continue;
            var node = string.IsNullOrEmpty(pod.Spec.NodeName) ? null : _nodes.Get(null, pod.Spec.NodeName);
            if (node is null && service.Spec.PublishNotReadyAddresses != true)
            {
                lacksNode = true;
                continue;
            }
            var ports = Ports(service, pod);
            foreach (var family in families)
            {
                if (Endpoint(service, pod, node, family) is not { } endpoint) continue;
                var type = EndpointSlicePlan.AddressType(family);
                var groupKey = $"{type} {EndpointSlicePlan.PortsKey(ports)}";
                if (!groups.TryGetValue(groupKey, out var group)) groups[groupKey] = group = new EndpointGroup(type, ports, []);
                group.Endpoints.Add(endpoint);
            }
        }
        return [.. groups.Values];
    }

    private static V1Endpoint? Endpoint(V1Service service, V1Pod pod, V1Node? node, AddressFamily family)
    {
        var addresses = ServicePods.Addresses(pod, family).Select(static address => address.ToString()).ToList();
        if (addresses.Count == 0) return null;
        var isServing = PodState.IsReady(pod);
        var isTerminating = pod.Metadata.DeletionTimestamp is not null;
        return new V1Endpoint
        {
            Addresses = addresses,
            Conditions = new V1EndpointConditions
            {
                Ready = service.Spec.PublishNotReadyAddresses == true || (isServing && !isTerminating),
                Serving = isServing,
                Terminating = isTerminating,
            },
            Hostname = ServicePods.Hostname(pod, service),
            NodeName = pod.Spec.NodeName,
            Zone = node?.Metadata.Labels is { } labels && labels.TryGetValue(EndpointSlicePlan.ZoneLabel, out var zone) && zone.Length > 0 ? zone : null,
            TargetRef = ServicePods.Reference(pod),
        };
    }

    private static List<Discoveryv1EndpointPort> Ports(V1Service service, V1Pod pod)
    {
        var ports = new List<Discoveryv1EndpointPort>();
        foreach (var port in service.Spec.Ports ?? [])
        {
            if (ServicePods.FindPort(pod, port) is not { } number) continue;
            ports.Add(new Discoveryv1EndpointPort
            {
                Name = port.Name ?? "", Port = number, Protocol = ServicePods.Protocol(port.Protocol), AppProtocol = port.AppProtocol,
            });
        }
        return ports;
    }

    private static ObjectKey? ServiceOf(V1EndpointSlice slice) =>
        slice.Metadata.Labels is { } labels && labels.ContainsKey(EndpointSlicePlan.ManagedByLabel)
        && labels.TryGetValue(EndpointSlicePlan.ServiceNameLabel, out var name)
            ? new ObjectKey(slice.Metadata.NamespaceProperty, name)
            : null;
}
