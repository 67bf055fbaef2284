using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>A deployment's conditions: types, reasons, and how one replaces another. Pure.</summary>
internal static class DeploymentConditions
{
    internal const string Available = "Available";
    internal const string Progressing = "Progressing";
    internal const string ReplicaFailure = "ReplicaFailure";

    internal const string TimedOut = "ProgressDeadlineExceeded";
    internal const string Paused = "DeploymentPaused";
    internal const string Resumed = "DeploymentResumed";
    internal const string NewSetCreated = "NewReplicaSetCreated";
    internal const string NewSetFound = "FoundNewReplicaSet";
    internal const string NewSetAvailable = "NewReplicaSetAvailable";
    internal const string SetUpdated = "ReplicaSetUpdated";
    internal const string SetCreateError = "ReplicaSetCreateError";

    internal static V1DeploymentCondition New(string type, string status, string reason, string message, DateTime now) => new()
    {
        Type = type, Status = status, Reason = reason, Message = message, LastUpdateTime = now, LastTransitionTime = now,
    };

    internal static V1DeploymentCondition? Find(V1DeploymentStatus? status, string type) =>
        status?.Conditions?.FirstOrDefault(condition => condition.Type == type);

    /// <summary>
    /// The status with <paramref name="condition"/>: nothing changes where status and reason are the same, and the transition time stays where
    /// the status does.
    /// </summary>
    internal static V1DeploymentStatus Set(V1DeploymentStatus? status, V1DeploymentCondition condition)
    {
        status ??= new V1DeploymentStatus();
        var current = Find(status, condition.Type);
        if (current is not null && current.Status == condition.Status && current.Reason == condition.Reason) return status;
        if (current is not null && current.Status == condition.Status) condition.LastTransitionTime = current.LastTransitionTime;
        return status with { Conditions = [.. (status.Conditions ?? []).Where(other => other.Type != condition.Type), condition] };
    }

    internal static V1DeploymentStatus Remove(V1DeploymentStatus status, string type)
    {
        if (Find(status, type) is null) return status;
        var left = status.Conditions.Where(other => other.Type != type).ToList();
        return status with { Conditions = left.Count == 0 ? null : left };
    }
}
