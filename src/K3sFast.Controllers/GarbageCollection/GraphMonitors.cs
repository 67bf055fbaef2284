using K3sFast.Client;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Keeps every deletable resource feeding the graph: those that other controllers watch anyway through their shared informers, so that nothing
/// is decoded or kept twice, all others by a <see cref="GraphMonitor"/> of their own. Follows discovery as resources come and go.
/// </summary>
internal sealed class GraphMonitors
{
    private readonly ApiClient _client;
    private readonly OwnerGraph _graph;
    private readonly TimeProvider _time;
    private readonly Dictionary<(string Group, string Plural), Func<DiscoveredResource, bool>> _shared = [];

    // Owned by the caller of FollowAsync
    private readonly Dictionary<DiscoveredResource, GraphMonitor> _monitors = [];
    private readonly HashSet<(string Group, string Plural)> _attached = [];

    internal GraphMonitors(ControllerContext context, ApiClient client, OwnerGraph graph)
    {
        (_client, _graph, _time) = (client, graph, context.Time);
        Share(context, Resources.Pods);
        Share(context, Resources.Nodes);
        Share(context, Resources.Namespaces);
        Share(context, Resources.Services);
        Share(context, Resources.Endpoints);
        Share(context, Resources.ReplicationControllers);
        Share(context, Resources.ReplicaSets);
        Share(context, Resources.Deployments);
        Share(context, Resources.StatefulSets);
        Share(context, Resources.DaemonSets);
        Share(context, Resources.ControllerRevisions);
        Share(context, Resources.Jobs);
        Share(context, Resources.CronJobs);
        Share(context, Resources.EndpointSlices);
        Share(context, Resources.Leases);
        Share(context, Resources.PodDisruptionBudgets);
        Share(context, Resources.PersistentVolumeClaims);
    }

    /// <summary>Starts what is new and stops what is no longer served; completes when the new ones have their first list.</summary>
    internal async Task FollowAsync(DiscoveryResult discovered, CancellationToken cancellationToken)
    {
        var wanted = discovered.Resources.Where(IsCollected).ToHashSet();
        foreach (var gone in _monitors.Keys.Where(resource => !wanted.Contains(resource)).ToList())
        {
            // A group that did not answer is not gone.
            if (discovered.Failures.Keys.Any(version => version.StartsWith(gone.Group + "/", StringComparison.Ordinal))) continue;
            _monitors.Remove(gone, out var monitor);
            monitor!.Stop();
        }
        var started = new List<Task>();
        foreach (var resource in wanted)
        {
            if (_shared.TryGetValue((resource.Group, resource.Plural), out var attach))
            {
                if (_attached.Add((resource.Group, resource.Plural))) attach(resource);
                continue;
            }
            if (_monitors.ContainsKey(resource)) continue;
            var monitor = new GraphMonitor(_client, resource, _graph, _time);
            _monitors[resource] = monitor;
            monitor.Start(cancellationToken);
            started.Add(monitor.Synced);
        }
        await Task.WhenAll(started).WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Completes when all monitors have ended, which they do when cancelled.</summary>
    internal Task WhenStopped() => Task.WhenAll(_monitors.Values.Select(static monitor => monitor.Running));

    // Events have no owners and come by the thousand.
    private static bool IsCollected(DiscoveredResource resource) =>
        resource.Verbs.Contains("delete") && resource.Verbs.Contains("list") && resource.Verbs.Contains("watch")
        && resource is not { Group: "" or "events.k8s.io", Plural: "events" };

    private void Share<T>(ControllerContext context, Resource<T> resource) where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var informer = context.Informers.Get(resource);
        _shared[(resource.Group, resource.Plural)] = discovered =>
        {
            informer.AddHandler(new InformerHandler<T>(
                value => _graph.Set(discovered, GraphObject.Of(value).Metadata),
                (old, value) =>
                {
                    // The same name again is another object.
                    if (old.Metadata.Uid != value.Metadata.Uid) _graph.Remove(old.Metadata.Uid);
                    else if (IsSame(old, value)) return;
                    _graph.Set(discovered, GraphObject.Of(value).Metadata);
                },
                value => _graph.Remove(value.Metadata.Uid)));
            return true;
        };
    }

    // Most updates are of status: nothing that the graph knows of.
    private static bool IsSame(IKubernetesObject<V1ObjectMeta> a, IKubernetesObject<V1ObjectMeta> b) =>
        a.Metadata.DeletionTimestamp is null == b.Metadata.DeletionTimestamp is null
        && (a.Metadata.Finalizers ?? []).SequenceEqual(b.Metadata.Finalizers ?? [])
        && (a.Metadata.OwnerReferences ?? []).SequenceEqual(b.Metadata.OwnerReferences ?? []);
}
