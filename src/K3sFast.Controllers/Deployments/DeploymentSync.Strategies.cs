using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>The two strategies: how replicas move from the old sets to the new one.</summary>
internal sealed partial class DeploymentSync
{
    private async Task RollAsync(CancellationToken cancellationToken)
    {
        await FindSetsAsync(mayCreate: true, cancellationToken).ConfigureAwait(false);
        if (await GrowNewSetAsync(cancellationToken).ConfigureAwait(false)) return;
        if (await ShrinkOldSetsAsync(cancellationToken).ConfigureAwait(false)) return;
        if (DeploymentStatusRules.IsComplete(_deployment, _deployment.Status)) await CleanUpAsync(cancellationToken).ConfigureAwait(false);
    }

    private async Task<bool> GrowNewSetAsync(CancellationToken cancellationToken)
    {
        var (size, desired) = (RolloutMath.Replicas(_newSet!), RolloutMath.Replicas(_deployment));
        if (size == desired) return false;
        var wanted = size > desired ? desired : RolloutMath.NewSetSize(_deployment, AllSets.Sum(RolloutMath.Replicas), size);
        return await ScaleAsync(_newSet!, wanted, isForced: false, cancellationToken).ConfigureAwait(false);
    }

    private async Task<bool> ShrinkOldSetsAsync(CancellationToken cancellationToken)
    {
        var old = _oldSets.Where(static set => RolloutMath.Replicas(set) > 0).ToList();
        if (old.Count == 0) return false;
        var minAvailable = RolloutMath.Replicas(_deployment) - RolloutMath.MaxUnavailable(_deployment);
        var newUnavailable = RolloutMath.Replicas(_newSet!) - (_newSet!.Status?.AvailableReplicas ?? 0);
        // What may go at most: beyond the surge and what may be unavailable, and not counting new pods that do not work yet.
        var room = AllSets.Sum(RolloutMath.Replicas) - minAvailable - newUnavailable;
        if (room <= 0) return false;

        // Pods that do not work go first: nobody is served by them.
        var unhealthy = 0;
        foreach (var set in old)
        {
            var broken = RolloutMath.Replicas(set) - (set.Status?.AvailableReplicas ?? 0);
            var count = Math.Min(room - unhealthy, broken);
            if (count <= 0) continue;
            await ScaleAsync(set, RolloutMath.Replicas(set) - count, isForced: false, cancellationToken).ConfigureAwait(false);
            unhealthy += count;
        }

        var spare = AllSets.Sum(static set => set.Status?.AvailableReplicas ?? 0) - minAvailable;
        var healthy = 0;
        foreach (var set in _oldSets.Where(static set => RolloutMath.Replicas(set) > 0).ToList())
        {
            var count = Math.Min(spare - healthy, RolloutMath.Replicas(set));
            if (count <= 0) break;
            await ScaleAsync(set, RolloutMath.Replicas(set) - count, isForced: false, cancellationToken).ConfigureAwait(false);
            healthy += count;
        }
        return unhealthy + healthy > 0;
    }

    private async Task RecreateAsync(CancellationToken cancellationToken)
    {
        var isShrunk = false;
        foreach (var set in _oldSets.Where(static set => RolloutMath.Replicas(set) > 0).ToList())
        {
            isShrunk |= await ScaleAsync(set, 0, isForced: false, cancellationToken).ConfigureAwait(false);
        }
        if (isShrunk || OldPodsRun()) return;
        await FindSetsAsync(mayCreate: true, cancellationToken).ConfigureAwait(false);
        await ScaleAsync(_newSet!, RolloutMath.Replicas(_deployment), isForced: false, cancellationToken).ConfigureAwait(false);
        if (DeploymentStatusRules.IsComplete(_deployment, _deployment.Status)) await CleanUpAsync(cancellationToken).ConfigureAwait(false);
    }

    private bool OldPodsRun()
    {
        foreach (var set in _oldSets)
        {
            if ((set.Status?.Replicas ?? 0) > 0) return true;
            foreach (var pod in context.Pods.ByIndex(PodIndex.ByController, set.Metadata.Uid))
            {
                if (!PodState.IsTerminal(pod)) return true;
            }
        }
        return false;
    }
}
