using System.Net.Sockets;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Keeps the Endpoints objects of services that have a selector: the older form, which many programs still read.</summary>
internal sealed class EndpointsController : Controller
{
    private const string ManagedByLabel = "endpoints.kubernetes.io/managed-by";
    private const string OverCapacityAnnotation = "endpoints.kubernetes.io/over-capacity";

    // Addresses in one object (upstream's limit): the rest is cut, and the annotation says so.
    private const int MaxAddresses = 1000;
    private const int Workers = 2;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1Service> _services;
    private readonly Informer<V1Endpoints> _endpoints;
    private readonly WorkQueue<ObjectKey> _queue;

    internal EndpointsController(ControllerContext context) : base("endpoint-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _events = context.Recorder(_client, Name);
        _services = context.Informers.Get(Resources.Services);
        ServiceIndex.Add(_services);
        _services.AddHandler(service => _queue.Add(ObjectKey.Of(service)));
        _endpoints = context.Informers.Get(Resources.Endpoints);
        _endpoints.AddHandler(new InformerHandler<V1Endpoints>(
            // Left over from a service that went while nobody watched.
            Added: endpoints =>
            {
                if (endpoints.Metadata.Labels?.ContainsKey(ManagedByLabel) == true) _queue.Add(ObjectKey.Of(endpoints));
            },
            Deleted: endpoints => _queue.Add(ObjectKey.Of(endpoints))));
        context.Pods.AddHandler(ServicePods.Handler(_services, _queue));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, Workers, cancellationToken);

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        var current = _endpoints.Get(key);
        if (_services.Get(key) is not { } service)
        {
            if (current is not null) await DeleteAsync(key, cancellationToken).ConfigureAwait(false);
            return;
        }
        if (service.Spec.Type == "ExternalName" || service.Spec.Selector is not { Count: > 0 }) return;
        var subsets = EndpointSubsets.Of(service, ServicePods.Of(_context.Pods, service), MaxAddresses, out var isCut);
        var labels = Labels(service);
        var saysCut = current?.Metadata.Annotations?.ContainsKey(OverCapacityAnnotation) == true;
        if (current is not null && isCut == saysCut && Owners.SameLabels(current.Metadata.Labels, labels)
            && EndpointSubsets.Same(current.Subsets, subsets))
        {
            return;
        }
        var annotations = new Dictionary<string, string>(current?.Metadata.Annotations ?? new Dictionary<string, string>());
        if (isCut) annotations[OverCapacityAnnotation] = "truncated";
        else annotations.Remove(OverCapacityAnnotation);
        try
        {
            if (current is null)
            {
                var created = new V1Endpoints
                {
                    Metadata = new V1ObjectMeta
                    {
                        Name = key.Name, NamespaceProperty = key.Namespace, Labels = labels, Annotations = annotations.Count > 0 ? annotations : null,
                    },
                    Subsets = subsets,
                };
                await _client.CreateAsync(Resources.Endpoints, created, cancellationToken).ConfigureAwait(false);
                return;
            }
            var changed = current with { Metadata = current.Metadata with { Labels = labels, Annotations = annotations }, Subsets = subsets };
            await _client.UpdateAsync(Resources.Endpoints, changed, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused) when (refused.IsNamespaceTerminating)
        {
            // Not wanted any more.
        }
        catch (ApiException exists) when (current is null && exists.IsAlreadyExists)
        {
            // The informer is about to show it; then it is compared.
            throw new ApiException(409, "Conflict", exists.Message);
        }
        catch (ApiException refused) when (!refused.IsConflict)
        {
            var (reason, what) = current is null ? ("FailedToCreateEndpoint", "create endpoint for service") : ("FailedToUpdateEndpoint", "update endpoint");
            _events.Warning(Resources.Services, service, reason, $"Failed to {what} {key}: {refused.Message}");
            throw;
        }
    }

    private async Task DeleteAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        try
        {
            await _client.DeleteAsync(Resources.Endpoints, key.Namespace, key.Name, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // That was the aim.
        }
    }

    private Dictionary<string, string> Labels(V1Service service)
    {
        var labels = new Dictionary<string, string>(service.Metadata.Labels ?? new Dictionary<string, string>()) { [ManagedByLabel] = Name };
        if (ServicePods.IsHeadless(service)) labels[ServicePods.HeadlessLabel] = "";
        else labels.Remove(ServicePods.HeadlessLabel);
        return labels;
    }
}

/// <summary>The subsets of an Endpoints object: addresses that serve on the same ports together, sorted. Pure.</summary>
internal static class EndpointSubsets
{
    internal static List<V1EndpointSubset> Of(V1Service service, IEnumerable<V1Pod> pods, int max, out bool isCut)
    {
        var publishAll = service.Spec.PublishNotReadyAddresses == true;
        var family = ServicePods.Families(service)[0];
        var groups = new SortedDictionary<string, V1EndpointSubset>(StringComparer.Ordinal);
        var count = 0;
        isCut = false;
        // Ready ones first, so that a cut takes those that serve nobody.
        foreach (var pod in pods.Where(pod => ServicePods.Belongs(pod, publishAll)).OrderByDescending(PodState.IsReady))
        {
            if (ServicePods.Addresses(pod, family).FirstOrDefault() is not { } address) continue;
            var ports = Ports(service, pod);
            if (ports.Count == 0 && !(service.Spec.Ports is not { Count: > 0 } && ServicePods.IsHeadless(service))) continue;
            if (++count > max)
            {
                isCut = true;
                break;
            }
            var key = string.Join(',', ports.Select(static port => $"{port.Name}/{port.Port}/{port.Protocol}/{port.AppProtocol}"));
            if (!groups.TryGetValue(key, out var subset)) groups[key] = subset = new V1EndpointSubset { Ports = ports.Count == 0 ? null : ports };
            var entry = new V1EndpointAddress
            {
                Ip = address.ToString(), NodeName = pod.Spec.NodeName, Hostname = ServicePods.Hostname(pod, service), TargetRef = ServicePods.Reference(pod),
            };
            if (publishAll || PodState.IsReady(pod)) (subset.Addresses ??= []).Add(entry);
            else (subset.NotReadyAddresses ??= []).Add(entry);
        }
        foreach (var subset in groups.Values)
        {
            subset.Addresses = Sorted(subset.Addresses);
            subset.NotReadyAddresses = Sorted(subset.NotReadyAddresses);
        }
        return [.. groups.Values];
    }

    internal static bool Same(IList<V1EndpointSubset>? a, IList<V1EndpointSubset>? b) => Text(a) == Text(b);

    private static List<Corev1EndpointPort> Ports(V1Service service, V1Pod pod)
    {
        var ports = new List<Corev1EndpointPort>();
        foreach (var port in service.Spec.Ports ?? [])
        {
            if (ServicePods.FindPort(pod, port) is not { } number) continue;
            ports.Add(new Corev1EndpointPort { Name = port.Name, Port = number, Protocol = ServicePods.Protocol(port.Protocol), AppProtocol = port.AppProtocol });
        }
        ports.Sort(static (x, y) =>
        {
            var order = string.CompareOrdinal(x.Name, y.Name);
            return order != 0 ? order : x.Port.CompareTo(y.Port);
        });
        return ports;
    }

    private static List<V1EndpointAddress>? Sorted(IList<V1EndpointAddress>? addresses) => addresses is null
        ? null
        : [.. addresses.OrderBy(static address => address.Ip, StringComparer.Ordinal).ThenBy(static address => address.TargetRef?.Uid, StringComparer.Ordinal)];

    private static string Text(IList<V1EndpointSubset>? subsets) => string.Join(';', (subsets ?? []).Select(static subset =>
        $"{Text(subset.Addresses)}|{Text(subset.NotReadyAddresses)}|"
        + string.Join(',', (subset.Ports ?? []).Select(static port => $"{port.Name}/{port.Port}/{port.Protocol}/{port.AppProtocol}"))));

    private static string Text(IList<V1EndpointAddress>? addresses) => string.Join(',', (addresses ?? []).Select(static address =>
        $"{address.Ip}/{address.NodeName}/{address.Hostname}/{address.TargetRef?.Uid}"));
}
