using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Rolls deployments out: which replica sets belong to one, and when it is looked at. What is then done is <see cref="DeploymentSync"/>'s.
/// </summary>
internal sealed class DeploymentController : Controller
{
    private const int Workers = 4;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1Deployment> _deployments;
    private readonly Informer<V1ReplicaSet> _sets;
    private readonly WorkQueue<ObjectKey> _queue;

    internal DeploymentController(ControllerContext context) : base("deployment-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _events = context.Recorder(_client, Name);
        _deployments = context.Informers.Get(Resources.Deployments);
        _deployments.AddHandler(deployment => _queue.Add(ObjectKey.Of(deployment)));
        _sets = context.Informers.Get(Resources.ReplicaSets);
        _sets.AddIndex(PodIndex.ByController, Owners.ControllerKeys);
        _sets.AddHandler(new InformerHandler<V1ReplicaSet>(SetChanged, SetUpdated, set => QueueOwner(set)));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(Deleted: PodDeleted));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, Workers, cancellationToken);

    private void SetChanged(V1ReplicaSet set)
    {
        if (Owners.ControllerOf(set) is not null) QueueOwner(set);
        else QueueMatching(set);
    }

    private void SetUpdated(V1ReplicaSet old, V1ReplicaSet set)
    {
        var (before, now) = (Owners.ControllerOf(old), Owners.ControllerOf(set));
        if (before?.Uid != now?.Uid) QueueOwner(old);
        if (now is not null) QueueOwner(set);
        else if (before is not null || !Owners.SameLabels(old.Metadata.Labels, set.Metadata.Labels)) QueueMatching(set);
    }

    // Recreate waits for the last old pod to be gone.
    private void PodDeleted(V1Pod pod)
    {
        var set = Owners.Resolve(_sets, pod.Metadata.NamespaceProperty, Owners.ControllerOf(pod));
        if (set is null || Owners.Resolve(_deployments, pod.Metadata.NamespaceProperty, Owners.ControllerOf(set)) is not { } deployment) return;
        if (!RolloutMath.IsRolling(deployment)) _queue.Add(ObjectKey.Of(deployment));
    }

    private void QueueOwner(V1ReplicaSet set)
    {
        if (Owners.Resolve(_deployments, set.Metadata.NamespaceProperty, Owners.ControllerOf(set)) is { } owner) _queue.Add(ObjectKey.Of(owner));
    }

    private void QueueMatching(V1ReplicaSet orphan)
    {
        if (orphan.Metadata.Labels is not { Count: > 0 }) return;
        foreach (var deployment in _deployments.List(orphan.Metadata.NamespaceProperty))
        {
            if (LabelMatcher.Of(deployment.Spec.Selector) is { IsEverything: false } selector && selector.Matches(orphan.Metadata.Labels))
            {
                _queue.Add(ObjectKey.Of(deployment));
            }
        }
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_deployments.Get(key) is not { } deployment) return;
        var selector = LabelMatcher.Of(deployment.Spec.Selector);
        if (selector.IsEverything)
        {
            _events.Warning(Resources.Deployments, deployment, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.");
            if ((deployment.Status?.ObservedGeneration ?? 0) >= (deployment.Metadata.Generation ?? 0)) return;
            var status = (deployment.Status ?? new()) with { ObservedGeneration = deployment.Metadata.Generation };
            await _client.UpdateStatusAsync(Resources.Deployments, deployment with { Status = status }, cancellationToken).ConfigureAwait(false);
            return;
        }
        var candidates = _sets.ByIndex(PodIndex.ByController, deployment.Metadata.Uid);
        candidates.AddRange(_sets.ByIndex(PodIndex.ByController, PodIndex.OrphansOf(key.Namespace)));
        var sets = await Claims.ClaimAsync(
            _client, Resources.Deployments, deployment, Resources.ReplicaSets, candidates, selector, cancellationToken).ConfigureAwait(false);

        var sync = new DeploymentSync(_context, _client, _events, _sets, deployment, sets);
        var lookAgain = await sync.RunAsync(cancellationToken).ConfigureAwait(false);
        if (lookAgain is { } delay) _queue.AddAfter(key, delay);
    }
}
