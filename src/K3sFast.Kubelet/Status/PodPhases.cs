using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Status;

/// <summary>The phase of a pod from the states of its containers. Pure.</summary>
internal static class PodPhases
{
    /// <param name="statuses">Statuses of all init and main containers, by name.</param>
    /// <param name="isTerminal">No container will be started any more, whatever the restart policy.</param>
    /// <param name="hasInitialized">Some main container has run already: restarting sidecars do not bring the pod back to Pending.</param>
    public static string Compute(
        V1Pod pod, IReadOnlyList<PodContainer> containers, IReadOnlyDictionary<string, V1ContainerStatus> statuses, bool isTerminal, bool hasInitialized)
    {
        var policy = pod.RestartPolicyOrDefault();
        var count = new Counts();
        foreach (var container in containers)
        {
            var status = statuses.GetValueOrDefault(container.Name);
            switch (container.Role)
            {
                case ContainerRole.Init:
                    count.AddInit(container, status, policy);
                    break;
                case ContainerRole.Sidecar:
                    count.AddSidecar(status);
                    break;
                case ContainerRole.Main:
                    count.AddMain(container, status, policy);
                    break;
                default:
                    break;
            }
        }
        if (count.HasFailedInit) return "Failed";
        if (count.PendingInit > 0 || (count.PendingSidecar > 0 && !hasInitialized) || count.Waiting > 0) return "Pending";
        if (count.Running > 0 && count.Unknown == 0) return "Running";
        if (count.Running == 0 && count.Stopped > 0 && count.Unknown == 0)
        {
            if (!isTerminal && count.Stopped != count.StoppedForGood) return "Running";
            return count.Stopped == count.Succeeded ? "Succeeded" : "Failed";
        }
        return "Pending";
    }

    private struct Counts
    {
        public int PendingInit, PendingSidecar, Waiting, Running, Unknown, Stopped, StoppedForGood, Succeeded;
        public bool HasFailedInit;

        public void AddInit(PodContainer container, V1ContainerStatus? status, string policy)
        {
            var ended = status?.State?.Terminated ?? (status?.State?.Waiting is not null ? status.LastState?.Terminated : null);
            if (ended is null) PendingInit++;
            else if (ended.ExitCode != 0) HasFailedInit |= !container.RestartsAfter(ended.ExitCode, policy);
        }

        public void AddSidecar(V1ContainerStatus? status)
        {
            if (status?.State?.Running is not null)
            {
                if (status.Started != true) PendingSidecar++;
                Running++;
            }
            else if (status?.State?.Waiting is not null && status.LastState?.Terminated is null)
            {
                PendingSidecar++;
                Waiting++;
            }
            else if (status?.State?.Terminated is null && status?.LastState?.Terminated is null)
            {
                Unknown++;
            }
        }

        public void AddMain(PodContainer container, V1ContainerStatus? status, string policy)
        {
            if (status?.State?.Running is not null)
            {
                Running++;
            }
            else if (status?.State?.Terminated is { } ended)
            {
                Stopped++;
                if (!container.RestartsAfter(ended.ExitCode, policy)) StoppedForGood++;
                if (ended.ExitCode == 0) Succeeded++;
            }
            else if (status?.State?.Waiting is not null)
            {
                if (status.LastState?.Terminated is { } last)
                {
                    Stopped++;
                    if (!container.RestartsAfter(last.ExitCode, policy)) StoppedForGood++;
                }
                else
                {
                    Waiting++;
                }
            }
            else
            {
                Unknown++;
            }
        }
    }
}
