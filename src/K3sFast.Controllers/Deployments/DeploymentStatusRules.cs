using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>A deployment's status out of its replica sets, and what it says about progress. Pure.</summary>
internal static class DeploymentStatusRules
{
    /// <summary>Numbers and the Available condition.</summary>
    internal static V1DeploymentStatus Calculate(V1Deployment deployment, IReadOnlyList<V1ReplicaSet> all, V1ReplicaSet? newSet, DateTime now)
    {
        var available = all.Sum(static set => set.Status?.AvailableReplicas ?? 0);
        var status = new V1DeploymentStatus
        {
            ObservedGeneration = deployment.Metadata.Generation,
            Replicas = NullIfZero(all.Sum(static set => set.Status?.Replicas ?? 0)),
            UpdatedReplicas = NullIfZero(newSet?.Status?.Replicas ?? 0),
            ReadyReplicas = NullIfZero(all.Sum(static set => set.Status?.ReadyReplicas ?? 0)),
            AvailableReplicas = NullIfZero(available),
            UnavailableReplicas = NullIfZero(Math.Max(0, all.Sum(RolloutMath.Replicas) - available)),
            TerminatingReplicas = Terminating(all),
            CollisionCount = deployment.Status?.CollisionCount,
            Conditions = deployment.Status?.Conditions,
        };
        var isAvailable = available >= RolloutMath.Replicas(deployment) - RolloutMath.MaxUnavailable(deployment);
        return DeploymentConditions.Set(status, isAvailable
            ? DeploymentConditions.New(DeploymentConditions.Available, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
            : DeploymentConditions.New(DeploymentConditions.Available, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now));
    }

    /// <summary><see cref="Calculate"/> in the course of a rollout: the Progressing and ReplicaFailure conditions too.</summary>
    internal static V1DeploymentStatus CalculateRollout(V1Deployment deployment, IReadOnlyList<V1ReplicaSet> all, V1ReplicaSet? newSet, DateTime now)
    {
        var status = Calculate(deployment, all, newSet, now);
        var current = DeploymentConditions.Find(deployment.Status, DeploymentConditions.Progressing);
        if (!HasProgressDeadline(deployment))
        {
            status = DeploymentConditions.Remove(status, DeploymentConditions.Progressing);
        }
        else if (!((status.Replicas ?? 0) == (status.UpdatedReplicas ?? 0) && current?.Reason == DeploymentConditions.NewSetAvailable))
        {
            status = EstimateProgress(deployment, status, newSet, current, now);
        }
        var failure = Failure(newSet) ?? all.Select(Failure).FirstOrDefault(static found => found is not null);
        return failure is null
            ? DeploymentConditions.Remove(status, DeploymentConditions.ReplicaFailure)
            : DeploymentConditions.Set(status, new V1DeploymentCondition
            {
                Type = DeploymentConditions.ReplicaFailure,
                Status = failure.Status,
                Reason = failure.Reason,
                Message = failure.Message,
                LastTransitionTime = failure.LastTransitionTime,
                LastUpdateTime = failure.LastTransitionTime,
            });
    }

    /// <summary>Everything updated and available, nothing old left.</summary>
    internal static bool IsComplete(V1Deployment deployment, V1DeploymentStatus? status)
    {
        var desired = RolloutMath.Replicas(deployment);
        return (status?.UpdatedReplicas ?? 0) == desired && (status?.Replicas ?? 0) == desired && (status?.AvailableReplicas ?? 0) == desired
            && (status?.ObservedGeneration ?? 0) >= (deployment.Metadata.Generation ?? 0);
    }

    /// <summary>int.MaxValue stands for "no deadline".</summary>
    internal static bool HasProgressDeadline(V1Deployment deployment) => deployment.Spec.ProgressDeadlineSeconds is { } seconds && seconds != int.MaxValue;

    /// <summary>When to look for a missed deadline; null when there is nothing to wait for.</summary>
    internal static TimeSpan? ProgressCheckIn(V1Deployment deployment, V1DeploymentStatus status, DateTime now)
    {
        var current = DeploymentConditions.Find(deployment.Status, DeploymentConditions.Progressing);
        if (!HasProgressDeadline(deployment) || current is null) return null;
        if (IsComplete(deployment, status) || current.Reason == DeploymentConditions.TimedOut) return null;
        var left = (current.LastUpdateTime ?? now).AddSeconds(deployment.Spec.ProgressDeadlineSeconds!.Value) - now;
        // A second more: the stored time has whole seconds.
        return (left > TimeSpan.Zero ? left : TimeSpan.Zero) + TimeSpan.FromSeconds(1);
    }

    /// <summary>The same to every reader.</summary>
    internal static bool SameStatus(V1DeploymentStatus? a, V1DeploymentStatus b) =>
        a is not null && ModelJson.Serialize(a).AsSpan().SequenceEqual(ModelJson.Serialize(b));

    private static V1DeploymentStatus EstimateProgress(
        V1Deployment deployment, V1DeploymentStatus status, V1ReplicaSet? newSet, V1DeploymentCondition? current, DateTime now)
    {
        var subject = newSet is null ? $"Deployment \"{deployment.Metadata.Name}\"" : $"ReplicaSet \"{newSet.Metadata.Name}\"";
        if (IsComplete(deployment, status))
        {
            return DeploymentConditions.Set(status, DeploymentConditions.New(
                DeploymentConditions.Progressing, "True", DeploymentConditions.NewSetAvailable, $"{subject} has successfully progressed.", now));
        }
        if (HasProgressed(deployment.Status, status))
        {
            var condition = DeploymentConditions.New(
                DeploymentConditions.Progressing, "True", DeploymentConditions.SetUpdated, $"{subject} is progressing.", now);
            // Told anew although status and reason may be the same: each sign of progress moves the deadline by its update time.
            if (current is { Status: "True" }) condition.LastTransitionTime = current.LastTransitionTime;
            return DeploymentConditions.Set(DeploymentConditions.Remove(status, DeploymentConditions.Progressing), condition);
        }
        return HasTimedOut(deployment, status, now)
            ? DeploymentConditions.Set(status, DeploymentConditions.New(
                DeploymentConditions.Progressing, "False", DeploymentConditions.TimedOut, $"{subject} has timed out progressing.", now))
            : status;
    }

    private static bool HasProgressed(V1DeploymentStatus? old, V1DeploymentStatus status)
    {
        var oldUpdated = old?.UpdatedReplicas ?? 0;
        var updated = status.UpdatedReplicas ?? 0;
        return updated > oldUpdated
            || (status.Replicas ?? 0) - updated < (old?.Replicas ?? 0) - oldUpdated
            || (status.ReadyReplicas ?? 0) > (old?.ReadyReplicas ?? 0)
            || (status.AvailableReplicas ?? 0) > (old?.AvailableReplicas ?? 0);
    }

    private static bool HasTimedOut(V1Deployment deployment, V1DeploymentStatus status, DateTime now)
    {
        var condition = DeploymentConditions.Find(status, DeploymentConditions.Progressing);
        if (condition is null || condition.Reason == DeploymentConditions.NewSetAvailable) return false;
        if (condition.Reason == DeploymentConditions.TimedOut) return true;
        return (condition.LastUpdateTime ?? now).AddSeconds(deployment.Spec.ProgressDeadlineSeconds!.Value) < now;
    }

    private static V1ReplicaSetCondition? Failure(V1ReplicaSet? set) =>
        set?.Status?.Conditions?.FirstOrDefault(static condition => condition.Type == DeploymentConditions.ReplicaFailure);

    // Unknown as long as one set that was looked at does not tell its number.
    private static int? Terminating(IReadOnlyList<V1ReplicaSet> all)
    {
        var sum = 0;
        foreach (var set in all)
        {
            if (set.Status?.TerminatingReplicas is { } count) sum += count;
            else if ((set.Status?.ObservedGeneration ?? 0) != 0) return null;
        }
        return sum;
    }

    private static int? NullIfZero(int value) => value == 0 ? null : value;
}
