using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Deletes pods from nodes with NoExecute taints that they do not tolerate, or no longer.</summary>
internal sealed class TaintEvictionController : Controller
{
    private const string Account = "node-controller";

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1Node> _nodes;
    private readonly WorkQueue<string> _nodeQueue;
    private readonly WorkQueue<ObjectKey> _podQueue;

    internal TaintEvictionController(ControllerContext context) : base("taint-eviction-controller")
    {
        (_context, _client) = (context, context.ClientFor(Account));
        _events = context.Recorder(_client, Name);
        (_nodeQueue, _podQueue) = (context.Queue<string>(), context.Queue<ObjectKey>());
        _nodes = context.Informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(
            node =>
            {
                if (Evicting(node).Any()) _nodeQueue.Add(node.Metadata.Name);
            },
            (old, node) =>
            {
                if (!Evicting(old).SequenceEqual(Evicting(node))) _nodeQueue.Add(node.Metadata.Name);
            }));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(PodChanged, (old, pod) =>
        {
            if (old.Spec.NodeName != pod.Spec.NodeName || old.Metadata.Generation != pod.Metadata.Generation) PodChanged(pod);
        }));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        _context.ReconcileAsync(Name, _nodeQueue, NodeAsync, 1, cancellationToken),
        _context.ReconcileAsync(Name, _podQueue, PodAsync, 4, cancellationToken));

    private void PodChanged(V1Pod pod)
    {
        if (string.IsNullOrEmpty(pod.Spec.NodeName)) return;
        if (_nodes.Get(null, pod.Spec.NodeName) is { } node && Evicting(node).Any()) _podQueue.Add(ObjectKey.Of(pod));
    }

    private ValueTask NodeAsync(string name, CancellationToken cancellationToken)
    {
        foreach (var pod in _context.Pods.KeysByIndex(PodIndex.ByNode, name)) _podQueue.Add(pod);
        return ValueTask.CompletedTask;
    }

    private async ValueTask PodAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_context.Pods.Get(key) is not { Metadata.DeletionTimestamp: null } pod || PodState.IsTerminal(pod)) return;
        if (_nodes.Get(null, pod.Spec.NodeName ?? "") is not { } node) return;
        var now = _context.Time.GetUtcNow().UtcDateTime;
        // Looked at anew whenever the taints change, so that one that is gone by then evicts nobody.
        if (TaintEviction.EvictAt(pod, Evicting(node), now) is not { } due) return;
        if (due > now)
        {
            _podQueue.AddAfter(key, due - now);
            return;
        }
        _events.Normal(Resources.Pods, pod, "TaintManagerEviction", $"Marking for deletion Pod {key}");
        await Disruption.EvictAsync(
            _client, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", _context.Now, cancellationToken).ConfigureAwait(false);
    }

    private static IEnumerable<V1Taint> Evicting(V1Node node) => (node.Spec?.Taints ?? []).Where(static taint => taint.Effect == Tolerations.NoExecute);
}
