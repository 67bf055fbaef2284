using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// One look at one deployment: finds or makes the replica set of its template, moves replicas between old and new by its strategy, and writes
/// down how far it is. One use, one thread.
/// </summary>
internal sealed partial class DeploymentSync(
    ControllerContext context,
    ApiClient client,
    EventRecorder events,
    Informer<V1ReplicaSet> informer,
    V1Deployment deployment,
    List<V1ReplicaSet> sets)
{
    // State of the run: each write's answer replaces what was read.
    private V1Deployment _deployment = deployment;
    private V1ReplicaSet? _newSet;
    private List<V1ReplicaSet> _oldSets = [];

    private IReadOnlyList<V1ReplicaSet> AllSets => _newSet is null ? _oldSets : [.. _oldSets, _newSet];

    /// <summary>Does what is to be done now; answers when to look again without an event, if at all.</summary>
    internal async Task<TimeSpan?> RunAsync(CancellationToken cancellationToken)
    {
        sets.Sort(RolloutMath.CompareAge);
        if (_deployment.Metadata.DeletionTimestamp is not null)
        {
            await FindSetsAsync(mayCreate: false, cancellationToken).ConfigureAwait(false);
            return await WriteStatusAsync(DeploymentStatusRules.Calculate(_deployment, AllSets, _newSet, context.Now), cancellationToken).ConfigureAwait(false);
        }
        await CheckPausedAsync(cancellationToken).ConfigureAwait(false);
        await FindSetsAsync(mayCreate: false, cancellationToken).ConfigureAwait(false);
        if (_deployment.Spec.Paused == true || WasResized())
        {
            await ResizeAsync(cancellationToken).ConfigureAwait(false);
            if (_deployment.Spec.Paused == true) await CleanUpAsync(cancellationToken).ConfigureAwait(false);
            return await WriteStatusAsync(DeploymentStatusRules.Calculate(_deployment, AllSets, _newSet, context.Now), cancellationToken).ConfigureAwait(false);
        }
        if (RolloutMath.IsRolling(_deployment)) await RollAsync(cancellationToken).ConfigureAwait(false);
        else await RecreateAsync(cancellationToken).ConfigureAwait(false);
        return await WriteStatusAsync(DeploymentStatusRules.CalculateRollout(_deployment, AllSets, _newSet, context.Now), cancellationToken).ConfigureAwait(false);
    }

    // A paused deployment must not be found to lack progress once it goes on.
    private async Task CheckPausedAsync(CancellationToken cancellationToken)
    {
        if (!DeploymentStatusRules.HasProgressDeadline(_deployment)) return;
        var current = DeploymentConditions.Find(_deployment.Status, DeploymentConditions.Progressing);
        if (current?.Reason == DeploymentConditions.TimedOut) return;
        var (isPaused, isToldPaused) = (_deployment.Spec.Paused == true, current?.Reason == DeploymentConditions.Paused);
        if (isPaused == isToldPaused) return;
        var condition = isPaused
            ? DeploymentConditions.New(DeploymentConditions.Progressing, "Unknown", DeploymentConditions.Paused, "Deployment is paused", context.Now)
            : DeploymentConditions.New(DeploymentConditions.Progressing, "Unknown", DeploymentConditions.Resumed, "Deployment is resumed", context.Now);
        await PutStatusAsync(DeploymentConditions.Set(_deployment.Status, condition), cancellationToken).ConfigureAwait(false);
    }

    // Resized in the middle of a rollout: a set with pods was planned for another size.
    private bool WasResized()
    {
        foreach (var set in AllSets)
        {
            if (RolloutMath.Replicas(set) > 0 && RolloutMath.DesiredReplicas(set) is { } desired && desired != RolloutMath.Replicas(_deployment)) return true;
        }
        return false;
    }

    private async Task ResizeAsync(CancellationToken cancellationToken)
    {
        var desired = RolloutMath.Replicas(_deployment);
        var active = AllSets.Where(static set => RolloutMath.Replicas(set) > 0).ToList();
        if (active.Count <= 1)
        {
            var only = active.Count == 1 ? active[0] : _newSet ?? _oldSets.MaxBy(static set => set.Metadata.CreationTimestamp);
            if (only is not null) await ScaleAsync(only, desired, isForced: false, cancellationToken).ConfigureAwait(false);
            return;
        }
        if (IsSaturated())
        {
            foreach (var old in _oldSets.Where(static set => RolloutMath.Replicas(set) > 0).ToList())
            {
                await ScaleAsync(old, 0, isForced: false, cancellationToken).ConfigureAwait(false);
            }
            return;
        }
        if (!RolloutMath.IsRolling(_deployment)) return;
        foreach (var (set, size) in RolloutMath.Proportions(_deployment, active))
        {
            await ScaleAsync(set, size, isForced: true, cancellationToken).ConfigureAwait(false);
        }
    }

    private bool IsSaturated()
    {
        var desired = RolloutMath.Replicas(_deployment);
        return _newSet is not null && RolloutMath.Replicas(_newSet) == desired && RolloutMath.DesiredReplicas(_newSet) == desired
            && (_newSet.Status?.AvailableReplicas ?? 0) == desired;
    }

    /// <summary>Resizes a set and brings its annotations up to date; true when its size changed. Not forced, it acts on another size only.</summary>
    private async Task<bool> ScaleAsync(V1ReplicaSet set, int size, bool isForced, CancellationToken cancellationToken)
    {
        var before = RolloutMath.Replicas(set);
        if (!isForced && before == size) return false;
        var annotations = new Dictionary<string, string>(set.Metadata.Annotations ?? new Dictionary<string, string>());
        var annotationsChanged = RevisionAnnotations.SetReplicas(annotations, _deployment);
        if (before == size && !annotationsChanged) return false;
        var wanted = set with { Metadata = set.Metadata with { Annotations = annotations }, Spec = set.Spec with { Replicas = size } };
        var written = await client.UpdateAsync(Resources.ReplicaSets, wanted, cancellationToken).ConfigureAwait(false);
        Replace(written);
        if (before == size) return false;
        events.Normal(Resources.Deployments, _deployment, "ScalingReplicaSet",
            $"Scaled {(before < size ? "up" : "down")} replica set {set.Metadata.Name} from {before} to {size}");
        return true;
    }

    // Old sets beyond the history limit go, oldest revision first, once they have no pods.
    private async Task CleanUpAsync(CancellationToken cancellationToken)
    {
        if (_deployment.Spec.RevisionHistoryLimit is not { } limit || limit == int.MaxValue) return;
        var alive = _oldSets.Where(static set => set.Metadata.DeletionTimestamp is null).ToList();
        if (alive.Count <= limit) return;
        alive.Sort(static (a, b) =>
        {
            var order = RolloutMath.Revision(a).CompareTo(RolloutMath.Revision(b));
            return order != 0 ? order : RolloutMath.CompareAge(a, b);
        });
        foreach (var set in alive.Take(alive.Count - limit))
        {
            if ((set.Status?.Replicas ?? 0) != 0 || RolloutMath.Replicas(set) != 0) continue;
            if ((set.Metadata.Generation ?? 0) > (set.Status?.ObservedGeneration ?? 0)) continue;
            try
            {
                await client.DeleteAsync(Resources.ReplicaSets, set.Metadata.NamespaceProperty, set.Metadata.Name, cancellationToken).ConfigureAwait(false);
            }
            catch (ApiException gone) when (gone.IsNotFound)
            {
                // That was the aim.
            }
        }
    }

    private void Replace(V1ReplicaSet set)
    {
        if (_newSet?.Metadata.Uid == set.Metadata.Uid) _newSet = set;
        var at = _oldSets.FindIndex(other => other.Metadata.Uid == set.Metadata.Uid);
        if (at >= 0) _oldSets[at] = set;
    }

    private async Task<TimeSpan?> WriteStatusAsync(V1DeploymentStatus status, CancellationToken cancellationToken)
    {
        if (!DeploymentStatusRules.SameStatus(_deployment.Status, status)) await PutStatusAsync(status, cancellationToken).ConfigureAwait(false);
        return DeploymentStatusRules.ProgressCheckIn(_deployment, status, context.Now);
    }

    private async Task PutStatusAsync(V1DeploymentStatus status, CancellationToken cancellationToken) =>
        _deployment = await client.UpdateStatusAsync(Resources.Deployments, _deployment with { Status = status }, cancellationToken).ConfigureAwait(false);
}
