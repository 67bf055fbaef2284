using System.Collections.Concurrent;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Notices nodes that give no sign of life, says so in their conditions and taints, and takes their pods out of service. A node is looked at
/// when it changes and when its grace would be over: leases are listened to, not polled.
/// </summary>
internal sealed class NodeLifecycleController : Controller
{
    private const string LeaseNamespace = "kube-node-lease";
    private const string NeverUpdated = "NodeStatusNeverUpdated";
    private const string StoppedUpdating = "NodeStatusUnknown";

    private static readonly string[] s_watched = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1Node> _nodes;
    private readonly WorkQueue<string> _queue;

    // Last sign of life by node, as a timestamp of our own clock: clocks of nodes are not trusted
    private readonly ConcurrentDictionary<string, long> _signs = new();

    // Nodes whose pods were told that their node does not serve
    private readonly ConcurrentDictionary<string, bool> _down = new();

    internal NodeLifecycleController(ControllerContext context) : base("node-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<string>());
        _events = context.Recorder(_client, Name);
        _nodes = context.Informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(
            node =>
            {
                Sign(node.Metadata.Name);
                _events.Normal(Resources.Nodes, node, "RegisteredNode", $"Node {node.Metadata.Name} event: Registered Node {node.Metadata.Name} in Controller");
                _queue.Add(node.Metadata.Name);
            },
            (old, node) =>
            {
                if (NodeTaints.Condition(old, "Ready")?.LastHeartbeatTime != NodeTaints.Condition(node, "Ready")?.LastHeartbeatTime) Sign(node.Metadata.Name);
                _queue.Add(node.Metadata.Name);
            },
            node =>
            {
                _signs.TryRemove(node.Metadata.Name, out _);
                _down.TryRemove(node.Metadata.Name, out _);
                _events.Normal(Resources.Nodes, node, "RemovingNode", $"Node {node.Metadata.Name} event: Removing Node {node.Metadata.Name} from Controller");
            }));
        var leases = context.Informers.Get(Resources.Leases);
        leases.AddHandler(new InformerHandler<V1Lease>(
            lease =>
            {
                if (lease.Metadata.NamespaceProperty == LeaseNamespace) Sign(lease.Metadata.Name);
            },
            (old, lease) =>
            {
                if (lease.Metadata.NamespaceProperty == LeaseNamespace && old.Spec?.RenewTime != lease.Spec?.RenewTime) Sign(lease.Metadata.Name);
            }));
    }

    internal override Task RunAsync(CancellationToken cancellationToken)
    {
        // Time that passed while nobody listened is not held against a node.
        foreach (var name in _signs.Keys)
        {
            Sign(name);
            _queue.Add(name);
        }
        return _context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken);
    }

    private void Sign(string name) => _signs[name] = _context.Time.GetTimestamp();

    private async ValueTask ReconcileAsync(string name, CancellationToken cancellationToken)
    {
        if (_nodes.Get(null, name) is not { } node) return;
        var silence = _context.Time.GetElapsedTime(_signs.GetOrAdd(name, _ => _context.Time.GetTimestamp()));
        var grace = _context.Options.NodeMonitorGracePeriod;
        if (silence >= grace)
        {
            node = await MarkUnknownAsync(node, cancellationToken).ConfigureAwait(false);
            // As long as it stays silent there is nothing to wait for: its next sign is a change of the node.
            _queue.AddAfter(name, grace);
        }
        else
        {
            _queue.AddAfter(name, grace - silence + TimeSpan.FromMilliseconds(100));
        }
        var isDown = NodeTaints.Condition(node, "Ready") is { Status: not "True" };
        var mayEvict = isDown && !AllAreDown(node);
        if (NodeTaints.Wanted(node, mayEvict, _context.Now) is { } taints) await TaintAsync(node, taints, cancellationToken).ConfigureAwait(false);
        if (!isDown)
        {
            if (_down.TryRemove(name, out _)) LookAtOthers(name);
            return;
        }
        if (_down.TryAdd(name, true)) LookAtOthers(name);
        await MarkPodsAsync(node, cancellationToken).ConfigureAwait(false);
    }

    private async Task<V1Node> MarkUnknownAsync(V1Node node, CancellationToken cancellationToken)
    {
        var conditions = new List<V1NodeCondition>(node.Status?.Conditions ?? []);
        var isChanged = false;
        foreach (var type in s_watched)
        {
            var at = conditions.FindIndex(condition => condition.Type == type);
            if (at < 0)
            {
                conditions.Add(new V1NodeCondition
                {
                    Type = type, Status = "Unknown", Reason = NeverUpdated, Message = "Kubelet never posted node status.",
                    LastHeartbeatTime = node.Metadata.CreationTimestamp, LastTransitionTime = _context.Now,
                });
                isChanged = true;
            }
            else if (conditions[at].Status != "Unknown")
            {
                conditions[at] = conditions[at] with
                {
                    Status = "Unknown", Reason = StoppedUpdating, Message = "Kubelet stopped posting node status.", LastTransitionTime = _context.Now,
                };
                isChanged = true;
            }
        }
        if (!isChanged) return node;
        var wasReady = NodeTaints.IsReady(node);
        node = await _client.UpdateStatusAsync(
            Resources.Nodes, node with { Status = (node.Status ?? new()) with { Conditions = conditions } }, cancellationToken).ConfigureAwait(false);
        if (wasReady) _events.Normal(Resources.Nodes, node, "NodeNotReady", $"Node {node.Metadata.Name} status is now: NodeNotReady");
        return node;
    }

    private bool AllAreDown(V1Node node)
    {
        foreach (var other in _nodes.List())
        {
            if (other.Metadata.Name != node.Metadata.Name && NodeTaints.Condition(other, "Ready") is null or { Status: "True" }) return false;
        }
        return true;
    }

    // Whether pods may be evicted from one node depends on whether any other is left.
    private void LookAtOthers(string name)
    {
        foreach (var other in _down.Keys)
        {
            if (other != name) _queue.Add(other);
        }
    }

    private async Task TaintAsync(V1Node node, List<V1Taint> taints, CancellationToken cancellationToken)
    {
        var patch = new V1Node
        {
            Metadata = new V1ObjectMeta { Uid = node.Metadata.Uid, ResourceVersion = node.Metadata.ResourceVersion },
            Spec = new V1NodeSpec { Taints = taints },
        };
        await _client.PatchAsync(Resources.Nodes, null, node.Metadata.Name, PatchBody.Merge(ModelJson.Serialize(patch)), cancellationToken).ConfigureAwait(false);
    }

    // Services must not send anybody to pods that may be gone with their node.
    private async Task MarkPodsAsync(V1Node node, CancellationToken cancellationToken)
    {
        foreach (var pod in _context.Pods.EachByIndex(PodIndex.ByNode, node.Metadata.Name))
        {
            if (PodState.Condition(pod, "Ready") is not { Status: "True" } ready || PodState.IsTerminal(pod)) continue;
            var conditions = pod.Status.Conditions.Select(condition => ReferenceEquals(condition, ready)
                ? condition with { Status = "False", LastTransitionTime = _context.Now }
                : condition).ToList();
            try
            {
                var patch = new V1Pod { Metadata = new V1ObjectMeta { Uid = pod.Metadata.Uid }, Status = new V1PodStatus { Conditions = conditions } };
                await _client.PatchAsync(
                    Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, PatchBody.StrategicMerge(ModelJson.Serialize(patch)), cancellationToken, "status")
                    .ConfigureAwait(false);
                _events.Warning(Resources.Pods, pod, "NodeNotReady", "Node is not ready");
            }
            catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
            {
                // Gone, or replaced by a namesake.
            }
        }
    }
}
