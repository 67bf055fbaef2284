using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Keeps pods with an identity: one after the other from the first to the last (or all at once, where the set says so), updated from the last
/// to the first, each with its own claims.
/// </summary>
internal sealed class StatefulSetController : Controller
{
    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1StatefulSet> _sets;
    private readonly Informer<V1PersistentVolumeClaim> _claims;
    private readonly RevisionHistory<V1StatefulSet> _history;
    private readonly WorkQueue<ObjectKey> _queue;

    internal StatefulSetController(ControllerContext context) : base("statefulset-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _events = context.Recorder(_client, Name);
        _sets = context.Informers.Get(Resources.StatefulSets);
        _sets.AddHandler(set => _queue.Add(ObjectKey.Of(set)));
        _claims = context.Informers.Get(Resources.PersistentVolumeClaims);
        var revisions = context.Informers.Get(Resources.ControllerRevisions);
        revisions.AddIndex(PodIndex.ByController, Owners.ControllerKeys);
        _history = new RevisionHistory<V1StatefulSet>(_client, Resources.StatefulSets, revisions);
        context.Pods.AddHandler(new InformerHandler<V1Pod>(QueueOwner, (old, pod) =>
        {
            QueueOwner(pod);
            if (Owners.ControllerOf(old)?.Uid != Owners.ControllerOf(pod)?.Uid) QueueOwner(old);
        }, QueueOwner));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken);

    private void QueueOwner(V1Pod pod)
    {
        var reference = Owners.ControllerOf(pod);
        if (reference is not null)
        {
            if (Owners.Resolve(_sets, pod.Metadata.NamespaceProperty, reference) is { } owner) _queue.Add(ObjectKey.Of(owner));
            return;
        }
        // An orphan belongs to the set that its name says it does.
        var dash = pod.Metadata.Name.LastIndexOf('-');
        if (dash > 0 && _sets.Get(pod.Metadata.NamespaceProperty, pod.Metadata.Name[..dash]) is { } set) _queue.Add(ObjectKey.Of(set));
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_sets.Get(key) is not { } set) return;
        var selector = LabelMatcher.Of(set.Spec.Selector);
        var candidates = _context.Pods.ByIndex(PodIndex.ByController, set.Metadata.Uid);
        candidates.AddRange(_context.Pods.ByIndex(PodIndex.ByController, PodIndex.OrphansOf(key.Namespace)));
        var pods = await Claims.ClaimAsync(
            _client, Resources.StatefulSets, set, Resources.Pods, candidates, selector, cancellationToken,
            pod => StatefulPods.Ordinal(set, pod) >= 0).ConfigureAwait(false);
        var known = await _history.ListAsync(set, selector, cancellationToken).ConfigureAwait(false);
        var (update, collisions) = await _history.GetAsync(
            set, set.Spec.Template, known, set.Status?.CollisionCount ?? 0, cancellationToken).ConfigureAwait(false);
        var current = known.Find(revision => revision.Metadata.Name == set.Status?.CurrentRevision) ?? update;

        Exception? failure = null;
        if (set.Metadata.DeletionTimestamp is null)
        {
            try
            {
                await MoveAsync(set, pods, current, update, cancellationToken).ConfigureAwait(false);
            }
            catch (ApiException refused)
            {
                failure = refused;
            }
        }
        await UpdateStatusAsync(set, pods, current, update, collisions, cancellationToken).ConfigureAwait(false);
        if (failure is ApiException { IsNamespaceTerminating: false }) throw failure;
        var live = pods.Select(StatefulPods.Revision).ToHashSet();
        await _history.TruncateAsync(
            known, set.Spec.RevisionHistoryLimit ?? 10,
            revision => revision.Metadata.Name == current.Metadata.Name || revision.Metadata.Name == update.Metadata.Name || live.Contains(revision.Metadata.Name),
            cancellationToken).ConfigureAwait(false);
        var minReady = set.Spec.MinReadySeconds ?? 0;
        if (minReady > 0 && pods.Select(pod => PodState.AvailableIn(pod, minReady, _context.Now)).Where(static left => left > TimeSpan.Zero).Min() is { } left)
        {
            _queue.AddAfter(key, left);
        }
    }

    private async Task MoveAsync(
        V1StatefulSet set, List<V1Pod> pods, V1ControllerRevision current, V1ControllerRevision update, CancellationToken cancellationToken)
    {
        var isOrdered = set.Spec.PodManagementPolicy != "Parallel";
        var (start, count) = (StatefulPods.Start(set), StatefulPods.Replicas(set));
        var byOrdinal = pods.ToDictionary(pod => StatefulPods.Ordinal(set, pod));
        for (var ordinal = start; ordinal < start + count; ordinal++)
        {
            if (!byOrdinal.TryGetValue(ordinal, out var pod))
            {
                await CreateAsync(set, ordinal, current, update, cancellationToken).ConfigureAwait(false);
                if (isOrdered) return;
                continue;
            }
            if (PodState.IsTerminal(pod))
            {
                // Its name is needed for the one that follows.
                if (pod.Metadata.DeletionTimestamp is null) await DeleteAsync(set, pod, cancellationToken).ConfigureAwait(false);
                if (isOrdered) return;
                continue;
            }
            if (isOrdered && (pod.Metadata.DeletionTimestamp is not null || !IsAvailable(set, pod))) return;
        }
        // Those beyond the count go, the last first.
        var condemned = pods.Where(pod => StatefulPods.Ordinal(set, pod) is var ordinal && (ordinal < start || ordinal >= start + count))
            .OrderByDescending(pod => StatefulPods.Ordinal(set, pod)).ToList();
        var firstUnhealthy = condemned.LastOrDefault(pod => !IsAvailable(set, pod));
        foreach (var pod in condemned)
        {
            if (pod.Metadata.DeletionTimestamp is null)
            {
                // An unhealthy one below would have to wait for ever for this one's turn.
                if (isOrdered && !IsAvailable(set, pod) && pod != firstUnhealthy) return;
                await DeleteAsync(set, pod, cancellationToken).ConfigureAwait(false);
            }
            if (isOrdered) return;
        }
        if (set.Spec.UpdateStrategy?.Type == "OnDelete") return;
        var unavailable = 0;
        var allowed = Math.Max(1, RolloutMath.Scaled(set.Spec.UpdateStrategy?.RollingUpdate?.MaxUnavailable, count, roundUp: true));
        var partition = set.Spec.UpdateStrategy?.RollingUpdate?.Partition ?? 0;
        for (var ordinal = start + count - 1; ordinal >= start; ordinal--)
        {
            if (byOrdinal.TryGetValue(ordinal, out var pod) && IsAvailable(set, pod) && pod.Metadata.DeletionTimestamp is null) continue;
            unavailable++;
        }
        for (var ordinal = start + count - 1; ordinal >= start + partition; ordinal--)
        {
            if (!byOrdinal.TryGetValue(ordinal, out var pod)) return;
            if (StatefulPods.Revision(pod) != update.Metadata.Name && pod.Metadata.DeletionTimestamp is null)
            {
                var isHealthy = IsAvailable(set, pod);
                // A pod that does not work is replaced whatever else is unavailable: it is one of those already.
                if (isHealthy && unavailable >= allowed) return;
                await DeleteAsync(set, pod, cancellationToken).ConfigureAwait(false);
                if (isHealthy) unavailable++;
                if (unavailable >= allowed) return;
            }
            else if (!IsAvailable(set, pod) && unavailable >= allowed)
            {
                return;
            }
        }
    }

    private async Task CreateAsync(
        V1StatefulSet set, int ordinal, V1ControllerRevision current, V1ControllerRevision update, CancellationToken cancellationToken)
    {
        // Below the partition the old template stays in force.
        var below = set.Spec.UpdateStrategy?.Type is null or "RollingUpdate"
            && ordinal < StatefulPods.Start(set) + (set.Spec.UpdateStrategy?.RollingUpdate?.Partition ?? (set.Spec.UpdateStrategy?.RollingUpdate is null ? set.Status?.CurrentReplicas ?? 0 : 0));
        var revision = below ? current : update;
        var template = ReferenceEquals(revision, update) ? set.Spec.Template : RevisionHistory<V1StatefulSet>.Template(revision);
        var pod = StatefulPods.Make(set, template, revision.Metadata.Name, ordinal);
        foreach (var claim in StatefulPods.Claims(set, pod.Metadata.Name)) await ClaimAsync(set, pod, claim, cancellationToken).ConfigureAwait(false);
        try
        {
            await _client.CreateAsync(Resources.Pods, pod, cancellationToken).ConfigureAwait(false);
            _events.Normal(Resources.StatefulSets, set, "SuccessfulCreate", $"create Pod {pod.Metadata.Name} in StatefulSet {set.Metadata.Name} successful");
        }
        catch (ApiException exists) when (exists.IsAlreadyExists)
        {
            // Ours, not shown yet by the informer, or a stranger's: its events bring this here again.
        }
        catch (ApiException refused) when (!refused.IsNamespaceTerminating)
        {
            _events.Warning(
                Resources.StatefulSets, set, "FailedCreate", $"create Pod {pod.Metadata.Name} in StatefulSet {set.Metadata.Name} failed error: {refused.Message}");
            throw;
        }
    }

    private async Task ClaimAsync(V1StatefulSet set, V1Pod pod, V1PersistentVolumeClaim claim, CancellationToken cancellationToken)
    {
        if (_claims.Get(claim.Metadata.NamespaceProperty, claim.Metadata.Name) is not null) return;
        try
        {
            await _client.CreateAsync(Resources.PersistentVolumeClaims, claim, cancellationToken).ConfigureAwait(false);
            _events.Normal(Resources.StatefulSets, set, "SuccessfulCreate",
                $"create Claim {claim.Metadata.Name} Pod {pod.Metadata.Name} in StatefulSet {set.Metadata.Name} success");
        }
        catch (ApiException exists) when (exists.IsAlreadyExists)
        {
            // Kept from an earlier pod of that name: that is what claims are for.
        }
    }

    private async Task DeleteAsync(V1StatefulSet set, V1Pod pod, CancellationToken cancellationToken)
    {
        try
        {
            var options = new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", Preconditions = new V1Preconditions { Uid = pod.Metadata.Uid } };
            await _client.DeleteAsync(Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, cancellationToken, options).ConfigureAwait(false);
            _events.Normal(Resources.StatefulSets, set, "SuccessfulDelete", $"delete Pod {pod.Metadata.Name} in StatefulSet {set.Metadata.Name} successful");
        }
        catch (ApiException gone) when (gone.IsNotFound || gone.IsConflict)
        {
            // Gone already, or replaced.
        }
    }

    private bool IsAvailable(V1StatefulSet set, V1Pod pod) =>
        pod.Status?.Phase == "Running" && PodState.IsAvailable(pod, set.Spec.MinReadySeconds ?? 0, _context.Now);

    private async Task UpdateStatusAsync(
        V1StatefulSet set, List<V1Pod> pods, V1ControllerRevision current, V1ControllerRevision update, int collisions, CancellationToken cancellationToken)
    {
        int Count(Func<V1Pod, bool> what) => pods.Count(what);
        var isRunning = (V1Pod pod) => pod.Status?.Phase == "Running" && PodState.IsReady(pod);
        var updated = Count(pod => pod.Metadata.DeletionTimestamp is null && StatefulPods.Revision(pod) == update.Metadata.Name);
        var onCurrent = Count(pod => pod.Metadata.DeletionTimestamp is null && StatefulPods.Revision(pod) == current.Metadata.Name);
        var ready = Count(isRunning);
        var currentName = current.Metadata.Name;
        // The roll-out is over: what was the update is what there is.
        if (set.Spec.UpdateStrategy?.Type != "OnDelete" && updated == pods.Count && ready == pods.Count && pods.Count == StatefulPods.Replicas(set))
        {
            (currentName, onCurrent) = (update.Metadata.Name, updated);
        }
        var status = new V1StatefulSetStatus
        {
            Replicas = pods.Count,
            ReadyReplicas = NullIfZero(ready),
            AvailableReplicas = Count(pod => IsAvailable(set, pod)),
            CurrentReplicas = NullIfZero(onCurrent),
            UpdatedReplicas = NullIfZero(updated),
            CurrentRevision = currentName,
            UpdateRevision = update.Metadata.Name,
            ObservedGeneration = set.Metadata.Generation,
            CollisionCount = collisions,
            Conditions = set.Status?.Conditions,
        };
        if (set.Status is not null && ModelJson.Serialize(set.Status).AsSpan().SequenceEqual(ModelJson.Serialize(status))) return;
        await _client.UpdateStatusAsync(Resources.StatefulSets, set with { Status = status }, cancellationToken).ConfigureAwait(false);
    }

    private static int? NullIfZero(int value) => value == 0 ? null : value;
}
