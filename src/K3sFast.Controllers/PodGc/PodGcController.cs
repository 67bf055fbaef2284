using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Removes pods that nobody else will: those of nodes that are gone, those deleted before they got a node, and the oldest finished ones beyond
/// a limit. Works on events; only a missing node is given time to come back.
/// </summary>
internal sealed class PodGcController : Controller
{
    // A node may be missing for a moment (deleted and registered anew); upstream waits as long.
    private static readonly TimeSpan s_quarantine = TimeSpan.FromSeconds(40);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly Informer<V1Node> _nodes;
    private readonly WorkQueue<string> _nodeQueue;
    private readonly WorkQueue<ObjectKey> _podQueue;
    private readonly WorkQueue<string> _surplusQueue;

    internal PodGcController(ControllerContext context) : base("pod-garbage-collector")
    {
        (_context, _client) = (context, context.ClientFor(Name));
        (_nodeQueue, _podQueue, _surplusQueue) = (context.Queue<string>(), context.Queue<ObjectKey>(), context.Queue<string>());
        _nodes = context.Informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(
            Updated: (_, node) =>
            {
                if (IsOutOfService(node)) _nodeQueue.Add(node.Metadata.Name);
            },
            Deleted: node => _nodeQueue.AddAfter(node.Metadata.Name, s_quarantine)));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(PodChanged, (_, pod) => PodChanged(pod)));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        _context.ReconcileAsync(Name, _nodeQueue, NodeAsync, 1, cancellationToken),
        _context.ReconcileAsync(Name, _podQueue, PodAsync, 1, cancellationToken),
        _context.ReconcileAsync(Name, _surplusQueue, SurplusAsync, 1, cancellationToken));

    private void PodChanged(V1Pod pod)
    {
        if (string.IsNullOrEmpty(pod.Spec.NodeName))
        {
            if (pod.Metadata.DeletionTimestamp is not null) _podQueue.Add(ObjectKey.Of(pod));
        }
        else if (_nodes.Get(null, pod.Spec.NodeName) is not { } node)
        {
            _nodeQueue.AddAfter(pod.Spec.NodeName, s_quarantine);
        }
        else if (pod.Metadata.DeletionTimestamp is not null && IsOutOfService(node))
        {
            _nodeQueue.Add(node.Metadata.Name);
        }
        if (_context.Options.TerminatedPodThreshold > 0 && PodState.IsTerminal(pod)) _surplusQueue.AddAfter("", _context.Options.PodGcPeriod);
    }

    private async ValueTask NodeAsync(string name, CancellationToken cancellationToken)
    {
        var node = _nodes.Get(null, name);
        // The informer may lag: asked once more before anything is deleted for good.
        if (node is null) node = await _client.FindAsync(Resources.Nodes, null, name, cancellationToken).ConfigureAwait(false);
        // A node may take thousands of pods with it: one is held at a time.
        foreach (var pod in _context.Pods.EachByIndex(PodIndex.ByNode, name))
        {
            if (node is null) await RemoveAsync(pod, ("DeletionByPodGC", "PodGC: node no longer exists"), cancellationToken).ConfigureAwait(false);
            else if (pod.Metadata.DeletionTimestamp is not null && IsOutOfService(node)) await RemoveAsync(pod, null, cancellationToken).ConfigureAwait(false);
        }
    }

    private async ValueTask PodAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_context.Pods.Get(key) is not { Metadata.DeletionTimestamp: not null } pod || !string.IsNullOrEmpty(pod.Spec.NodeName)) return;
        await RemoveAsync(pod, null, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask SurplusAsync(string key, CancellationToken cancellationToken)
    {
        var finished = new List<(ObjectKey Key, bool IsEvicted, DateTime? CreatedAt)>();
        foreach (var pod in _context.Pods.EachByIndex(PodIndex.Finished, ""))
        {
            if (pod.Metadata.DeletionTimestamp is null) finished.Add((ObjectKey.Of(pod), pod.Status?.Reason == "Evicted", pod.Metadata.CreationTimestamp));
        }
        var surplus = finished.Count - _context.Options.TerminatedPodThreshold;
        if (surplus <= 0) return;
        foreach (var (pod, _, _) in finished.OrderByDescending(static pod => pod.IsEvicted).ThenBy(static pod => pod.CreatedAt).ThenBy(static pod => pod.Key.Name, StringComparer.Ordinal).Take(surplus))
        {
            if (_context.Pods.Get(pod) is { } oldest && PodState.IsTerminal(oldest)) await RemoveAsync(oldest, null, cancellationToken).ConfigureAwait(false);
        }
    }

    private Task RemoveAsync(V1Pod pod, (string Reason, string Message)? why, CancellationToken cancellationToken) =>
        Disruption.RemoveAsync(_client, pod, why, _context.Now, cancellationToken);

    private static bool IsOutOfService(V1Node node) =>
        !NodeTaints.IsReady(node) && node.Spec?.Taints?.Any(static taint => taint.Key == NodeTaints.OutOfService) == true;
}
