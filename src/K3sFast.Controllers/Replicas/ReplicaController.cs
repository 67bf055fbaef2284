using K3sFast.Client;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Keeps as many pods of a template as asked for: the engine of ReplicaSets and ReplicationControllers. It creates in growing batches, deletes
/// by upstream's ranking, adopts and releases by selector, and counts nothing twice while its own writes have not come back (expectations).
/// </summary>
internal sealed class ReplicaController<T> : Controller where T : class, IKubernetesObject<V1ObjectMeta>, new()
{
    // Pods created or deleted in one reconciliation (upstream's burst).
    private const int BurstReplicas = 500;
    private const int Workers = 4;

    private readonly ControllerContext _context;
    private readonly ReplicaKind<T> _kind;
    private readonly ApiClient _client;
    private readonly Informer<T> _owners;
    private readonly PodControl _pods;
    private readonly Expectations _expectations;
    private readonly WorkQueue<ObjectKey> _queue;

    internal ReplicaController(ControllerContext context, ReplicaKind<T> kind) : base(kind.ControllerName)
    {
        (_context, _kind, _client) = (context, kind, context.ClientFor(kind.ControllerName));
        _queue = context.Queue<ObjectKey>();
        _expectations = new Expectations(context.Time);
        _pods = new PodControl(_client, context.Recorder(_client, kind.ControllerName));
        _owners = context.Informers.Get(kind.Resource);
        _owners.AddHandler(new InformerHandler<T>(
            Added: owner => _queue.Add(ObjectKey.Of(owner)),
            Updated: (old, owner) =>
            {
                if (old.Metadata.Uid != owner.Metadata.Uid) _expectations.Forget(ObjectKey.Of(owner));
                _queue.Add(ObjectKey.Of(owner));
            },
            Deleted: owner =>
            {
                _expectations.Forget(ObjectKey.Of(owner));
                _queue.Add(ObjectKey.Of(owner));
            }));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(PodAdded, PodUpdated, PodDeleted));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) =>
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, Workers, cancellationToken);

    private void PodAdded(V1Pod pod)
    {
        if (pod.Metadata.DeletionTimestamp is not null)
        {
            // Deleted while nobody watched.
            PodDeleted(pod);
            return;
        }
        if (Owners.ControllerOf(pod) is { } reference)
        {
            if (Owners.Resolve(_owners, pod.Metadata.NamespaceProperty, reference) is not { } owner) return;
            _expectations.CreationObserved(ObjectKey.Of(owner));
            _queue.Add(ObjectKey.Of(owner));
            return;
        }
        QueueMatching(pod);
    }

    private void PodUpdated(V1Pod old, V1Pod pod)
    {
        var labelsChanged = !Owners.SameLabels(old.Metadata.Labels, pod.Metadata.Labels);
        if (pod.Metadata.DeletionTimestamp is not null)
        {
            PodDeleted(pod);
            if (labelsChanged) PodDeleted(old);
            return;
        }
        var reference = Owners.ControllerOf(pod);
        var oldReference = Owners.ControllerOf(old);
        if (oldReference is not null && oldReference.Uid != reference?.Uid
            && Owners.Resolve(_owners, old.Metadata.NamespaceProperty, oldReference) is { } left)
        {
            _queue.Add(ObjectKey.Of(left));
        }
        if (reference is not null)
        {
            if (Owners.Resolve(_owners, pod.Metadata.NamespaceProperty, reference) is { } owner) _queue.Add(ObjectKey.Of(owner));
            return;
        }
        if (labelsChanged || oldReference is not null) QueueMatching(pod);
    }

    private void PodDeleted(V1Pod pod)
    {
        if (Owners.Resolve(_owners, pod.Metadata.NamespaceProperty, Owners.ControllerOf(pod)) is not { } owner) return;
        _expectations.DeletionObserved(ObjectKey.Of(owner), pod.Metadata.Uid);
        _queue.Add(ObjectKey.Of(owner));
    }

    private void QueueMatching(V1Pod orphan)
    {
        if (orphan.Metadata.Labels is not { Count: > 0 }) return;
        foreach (var owner in _owners.List(orphan.Metadata.NamespaceProperty))
        {
            if (_kind.Selector(owner) is { IsEverything: false } selector && selector.Matches(orphan.Metadata.Labels)) _queue.Add(ObjectKey.Of(owner));
        }
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_owners.Get(key) is not { } owner)
        {
            _expectations.Forget(key);
            return;
        }
        // Asked before the pods are listed: what was observed by now is in the list.
        var mayAct = _expectations.AreSatisfied(key);
        var candidates = _context.Pods.ByIndex(PodIndex.ByController, owner.Metadata.Uid);
        candidates.AddRange(_context.Pods.ByIndex(PodIndex.ByController, PodIndex.OrphansOf(key.Namespace)).Where(PodState.IsActive));
        var claimed = await Claims.ClaimAsync(
            _client, _kind.Resource, owner, Resources.Pods, candidates, _kind.Selector(owner), cancellationToken).ConfigureAwait(false);
        var active = claimed.Where(PodState.IsActive).ToList();

        Exception? failure = null;
        if (mayAct && owner.Metadata.DeletionTimestamp is null)
        {
            failure = await ScaleAsync(key, owner, active, cancellationToken).ConfigureAwait(false);
        }
        var status = ReplicaStatusRules.Calculate(_kind, owner, claimed, failure, _context.Now);
        await UpdateStatusAsync(owner, status, cancellationToken).ConfigureAwait(false);

        if (failure is ApiException { IsNamespaceTerminating: true }) return;
        if (failure is not null) throw failure;
        var minReady = _kind.MinReadySeconds(owner);
        if (minReady == 0) return;
        // The next pod that will count as available does so without an event.
        var next = active.Select(pod => PodState.AvailableIn(pod, minReady, _context.Now)).Where(static left => left > TimeSpan.Zero).Min();
        if (next is { } left) _queue.AddAfter(key, left);
    }

    private async Task<Exception?> ScaleAsync(ObjectKey key, T owner, List<V1Pod> active, CancellationToken cancellationToken)
    {
        var difference = active.Count - _kind.Replicas(owner);
        return difference switch
        {
            < 0 => await CreateAsync(key, owner, Math.Min(-difference, BurstReplicas), cancellationToken).ConfigureAwait(false),
            > 0 => await DeleteAsync(key, owner, active, Math.Min(difference, BurstReplicas), cancellationToken).ConfigureAwait(false),
            _ => null,
        };
    }

    private async Task<Exception?> CreateAsync(ObjectKey key, T owner, int count, CancellationToken cancellationToken)
    {
        _expectations.Expect(key, count, []);
        var (successes, failure) = await Batches.SlowStartAsync(
            count, _ => _pods.CreateAsync(_kind.Resource, owner, _kind.Template(owner), null, cancellationToken)).ConfigureAwait(false);
        if (successes < count) _expectations.CreationObserved(key, count - successes);
        return failure;
    }

    private async Task<Exception?> DeleteAsync(ObjectKey key, T owner, List<V1Pod> active, int count, CancellationToken cancellationToken)
    {
        PodRanking.Sort(active, CountSiblings(owner), _context.Now);
        var doomed = active.GetRange(0, count);
        _expectations.Expect(key, 0, doomed.Select(static pod => pod.Metadata.Uid));
        var (_, failure) = await Batches.AllAsync(count, async i =>
        {
            try
            {
                await _pods.DeleteAsync(_kind.Resource, owner, doomed[i], cancellationToken).ConfigureAwait(false);
            }
            catch (Exception failed)
            {
                _expectations.DeletionObserved(key, doomed[i].Metadata.Uid);
                if (failed is not ApiException { IsNotFound: true }) throw;
            }
        }).ConfigureAwait(false);
        return failure;
    }

    // Pods per node of all replica sets with the same controller: during a rollout the old and the new one share the nodes.
    private Dictionary<string, int> CountSiblings(T owner)
    {
        var counts = new Dictionary<string, int>();
        var controller = Owners.ControllerOf(owner)?.Uid;
        var family = controller is null
            ? [owner]
            : _owners.List(owner.Metadata.NamespaceProperty).Where(other => Owners.ControllerOf(other)?.Uid == controller);
        foreach (var member in family)
        {
            foreach (var pod in _context.Pods.ByIndex(PodIndex.ByController, member.Metadata.Uid))
            {
                if (PodState.IsActive(pod) && pod.Spec.NodeName is { } node) counts[node] = counts.GetValueOrDefault(node) + 1;
            }
        }
        return counts;
    }

    private async Task UpdateStatusAsync(T owner, ReplicaStatus status, CancellationToken cancellationToken)
    {
        if (status.SameAs(_kind.Status(owner))) return;
        try
        {
            await _client.UpdateStatusAsync(_kind.Resource, _kind.WithStatus(owner, status), cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // Deleted meanwhile.
        }
    }
}
