using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>What controllers ask of a pod's status. Stateless.</summary>
internal static class PodState
{
    /// <summary>Succeeded or Failed.</summary>
    internal static bool IsTerminal(V1Pod pod) => pod.Status?.Phase is "Succeeded" or "Failed";

    /// <summary>Neither finished nor being deleted: counts as a replica.</summary>
    internal static bool IsActive(V1Pod pod) => !IsTerminal(pod) && pod.Metadata.DeletionTimestamp is null;

    /// <summary>Being deleted but not gone, and not finished.</summary>
    internal static bool IsTerminating(V1Pod pod) => !IsTerminal(pod) && pod.Metadata.DeletionTimestamp is not null;

    internal static V1PodCondition? Condition(V1Pod pod, string type)
    {
        if (pod.Status?.Conditions is not { } conditions) return null;
        for (var i = 0; i < conditions.Count; i++)
        {
            if (conditions[i].Type == type) return conditions[i];
        }
        return null;
    }

    internal static bool IsReady(V1Pod pod) => Condition(pod, "Ready")?.Status == "True";

    /// <summary>Ready for at least <paramref name="minReadySeconds"/>.</summary>
    internal static bool IsAvailable(V1Pod pod, int minReadySeconds, DateTime now) => AvailableIn(pod, minReadySeconds, now) == TimeSpan.Zero;

    /// <summary>How long until a ready pod counts as available; null for a pod that is not ready.</summary>
    internal static TimeSpan? AvailableIn(V1Pod pod, int minReadySeconds, DateTime now)
    {
        if (Condition(pod, "Ready") is not { Status: "True" } ready) return null;
        if (minReadySeconds == 0) return TimeSpan.Zero;
        if (ready.LastTransitionTime is not { } since) return null;
        var left = since.AddSeconds(minReadySeconds) - now;
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    /// <summary>Restarts of the container that restarted most, sidecars told apart as upstream's ranking does.</summary>
    internal static (int Regular, int Sidecar) MaxRestarts(V1Pod pod)
    {
        var regular = 0;
        foreach (var status in pod.Status?.ContainerStatuses ?? []) regular = Math.Max(regular, status.RestartCount);
        var sidecar = 0;
        foreach (var container in pod.Spec?.InitContainers ?? [])
        {
            if (container.RestartPolicy != "Always") continue;
            foreach (var status in pod.Status?.InitContainerStatuses ?? [])
            {
                if (status.Name == container.Name) sidecar = Math.Max(sidecar, status.RestartCount);
            }
        }
        return (regular, sidecar);
    }
}
