using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Probes;
using k8s.Models;

namespace K3sFast.Kubelet.Status;

/// <summary>Why a container does not run: shown as its waiting state.</summary>
internal sealed record WaitReason(string Reason, string Message);

/// <summary>Why a whole pod has ended other than by its containers: shown as phase Failed with this reason.</summary>
internal sealed record PodFailure(string Reason, string Message);

/// <summary>All that a pod's status follows from.</summary>
internal sealed record PodStatusInput
{
    public required V1Pod Pod { get; init; }
    public required IReadOnlyList<PodContainer> Containers { get; init; }
    public required PodRuntime Runtime { get; init; }
    public required V1PodStatus? Previous { get; init; }
    public required PodProbes? Probes { get; init; }
    public required IReadOnlyDictionary<string, WaitReason> WaitReasons { get; init; }
    public required IReadOnlyList<string> HostIPs { get; init; }
    public required DateTime Now { get; init; }
    public bool IsTerminal { get; init; }
    public bool IsStatic { get; init; }
    public PodFailure? Failure { get; init; }
}

/// <summary>Builds the status of a pod as the API shows it. A pure function of its input.</summary>
internal static class PodStatusBuilder
{
    public static V1PodStatus Build(PodStatusInput input)
    {
        var (pod, runtime, previous) = (input.Pod, input.Runtime, input.Previous);
        var byName = new Dictionary<string, V1ContainerStatus>(StringComparer.Ordinal);
        var hasInit = pod.Spec.InitContainers?.Count > 0;
        foreach (var container in input.Containers) byName[container.Name] = Container(input, container, hasInit);

        var hasMainStarted = input.Containers.Any(container =>
            container.Role == ContainerRole.Main && runtime.Latest(container.Name) is { State: ContainerState.ContainerRunning or ContainerState.ContainerExited });
        var phase = PodPhases.Compute(pod, input.Containers, byName, input.IsTerminal && !input.IsStatic, hasMainStarted);
        var status = new V1PodStatus
        {
            ObservedGeneration = pod.Metadata.Generation,
            StartTime = previous?.StartTime ?? input.Now,
            QosClass = pod.QosClass(),
            NominatedNodeName = previous?.NominatedNodeName,
            InitContainerStatuses = Pick(input.Containers, byName, container => container.IsInit),
            ContainerStatuses = Pick(input.Containers, byName, container => container.Role == ContainerRole.Main),
            EphemeralContainerStatuses = Pick(input.Containers, byName, container => container.Role == ContainerRole.Ephemeral),
        };
        // A pod never comes back from its end.
        var oldPhase = previous?.Phase is "Succeeded" or "Failed" ? previous.Phase : null;
        if (input.Failure is { } failure)
        {
            (phase, status.Reason, status.Message) = ("Failed", failure.Reason, failure.Message);
        }
        else if (oldPhase is not null)
        {
            phase = oldPhase;
        }
        if (input.Failure is null && previous?.Phase == phase) (status.Reason, status.Message) = (previous.Reason, previous.Message);
        status.Phase = phase;
        SetAddresses(status, input);
        var hasSandbox = runtime.Sandbox is { IsReady: true } sandbox && (pod.IsHostNetwork() || sandbox.IPs.Count > 0);
        status.Conditions = PodConditions.Build(pod, input.Containers, byName, phase, hasSandbox, previous?.Conditions, input.Now);
        return status;
    }

    private static void SetAddresses(V1PodStatus status, PodStatusInput input)
    {
        if (input.HostIPs.Count > 0)
        {
            status.HostIP = input.HostIPs[0];
            status.HostIPs = [.. input.HostIPs.Select(ip => new V1HostIP { Ip = ip })];
        }
        IReadOnlyList<string> ips = [];
        if (input.Pod.IsHostNetwork()) ips = input.HostIPs;
        else if (input.Runtime.Sandbox is { IPs.Count: > 0 } sandbox) ips = sandbox.IPs;
        else if (input.Previous?.PodIPs is { Count: > 0 } old) ips = [.. old.Select(ip => ip.Ip)];
        if (ips.Count == 0) return;
        status.PodIP = ips[0];
        status.PodIPs = [.. ips.Select(ip => new V1PodIP { Ip = ip })];
    }

    // Main and ephemeral statuses in the order of their names, init statuses in the order of the spec: as upstream.
    private static List<V1ContainerStatus>? Pick(
        IReadOnlyList<PodContainer> containers, Dictionary<string, V1ContainerStatus> byName, Func<PodContainer, bool> choose)
    {
        List<V1ContainerStatus>? picked = null;
        var isInit = false;
        foreach (var container in containers)
        {
            if (!choose(container)) continue;
            isInit = container.IsInit;
            (picked ??= []).Add(byName[container.Name]);
        }
        if (!isInit) picked?.Sort(static (a, b) => string.CompareOrdinal(a.Name, b.Name));
        return picked;
    }

    private static V1ContainerStatus Container(PodStatusInput input, PodContainer container, bool hasInit)
    {
        var current = input.Runtime.Latest(container.Name);
        var old = Old(input.Previous, container);
        var status = new V1ContainerStatus
        {
            Name = container.Name,
            Image = container.Spec.Image,
            ImageID = "",
            Ready = false,
            Started = false,
            State = new V1ContainerState(),
            LastState = new V1ContainerState(),
            VolumeMounts = VolumeMounts(container.Spec),
            Resources = container.Spec.Resources,
            AllocatedResources = container.Spec.Resources?.Requests is { Count: > 0 } requests ? requests : null,
        };
        if (current is null) SetUnknown(status, old, hasInit, input, container);
        else SetKnown(status, current, input, container);
        return status;
    }

    private static void SetUnknown(V1ContainerStatus status, V1ContainerStatus? old, bool hasInit, PodStatusInput input, PodContainer container)
    {
        if (old?.State?.Terminated is { } ended)
        {
            // Removed by clean-up: what was written once stays true.
            (status.RestartCount, status.State, status.LastState) = (old.RestartCount, new V1ContainerState { Terminated = ended }, old.LastState);
            (status.Image, status.ImageID, status.ContainerID) = (old.Image, old.ImageID, old.ContainerID);
            status.Ready = container.Role == ContainerRole.Init && ended.ExitCode == 0;
            return;
        }
        if (old is not null) (status.RestartCount, status.LastState) = (old.RestartCount, old.LastState ?? new V1ContainerState());
        if (old?.State?.Running is not null)
        {
            var lost = new V1ContainerStateTerminated
            {
                Reason = "ContainerStatusUnknown",
                Message = "The container could not be located when the pod was terminated",
                ExitCode = 137,
            };
            if (input.IsTerminal)
            {
                status.State.Terminated = lost;
                return;
            }
            status.LastState = new V1ContainerState { Terminated = lost };
            status.RestartCount++;
        }
        status.State.Waiting = input.WaitReasons.TryGetValue(container.Name, out var reason)
            ? new V1ContainerStateWaiting { Reason = reason.Reason, Message = reason.Message }
            : new V1ContainerStateWaiting { Reason = hasInit ? "PodInitializing" : "ContainerCreating" };
    }

    private static void SetKnown(V1ContainerStatus status, ContainerRecord current, PodStatusInput input, PodContainer container)
    {
        status.RestartCount = current.RestartCount;
        status.Image = current.Image.Length > 0 ? current.Image : status.Image;
        status.ImageID = current.ImageRef;
        status.ContainerID = current.QualifiedId;
        if (input.Runtime.PreviousExited(container.Name, current) is { } last) status.LastState = new V1ContainerState { Terminated = Terminated(last) };
        if (current.IsRunning)
        {
            status.State.Running = new V1ContainerStateRunning { StartedAt = current.StartedAt };
            status.Started = input.Probes?.IsStarted(container, current) ?? true;
            status.Ready = container.Role is ContainerRole.Main or ContainerRole.Sidecar && (input.Probes?.IsReady(container, current) ?? true);
        }
        else if (current.IsExited)
        {
            var willRestart = !input.IsTerminal && input.Failure is null && container.RestartsAfter(current.ExitCode, input.Pod.RestartPolicyOrDefault());
            if (willRestart && input.WaitReasons.TryGetValue(container.Name, out var reason))
            {
                status.LastState = new V1ContainerState { Terminated = Terminated(current) };
                status.State.Waiting = new V1ContainerStateWaiting { Reason = reason.Reason, Message = reason.Message };
            }
            else
            {
                status.State.Terminated = Terminated(current);
                status.Ready = container.Role == ContainerRole.Init && current.ExitCode == 0;
            }
        }
        else
        {
            status.State.Waiting = input.WaitReasons.TryGetValue(container.Name, out var reason)
                ? new V1ContainerStateWaiting { Reason = reason.Reason, Message = reason.Message }
                : new V1ContainerStateWaiting { Reason = "ContainerCreating" };
        }
    }

    private static V1ContainerStateTerminated Terminated(ContainerRecord record) => new()
    {
        ExitCode = record.ExitCode,
        Reason = record.Reason.Length > 0 ? record.Reason : record.ExitCode == 0 ? "Completed" : "Error",
        Message = record.Message.Length > 0 ? record.Message : null,
        StartedAt = record.StartedAt == default ? null : record.StartedAt,
        FinishedAt = record.FinishedAt == default ? null : record.FinishedAt,
        ContainerID = record.QualifiedId,
    };

    private static V1ContainerStatus? Old(V1PodStatus? previous, PodContainer container)
    {
        var list = container.Role switch
        {
            ContainerRole.Main => previous?.ContainerStatuses,
            ContainerRole.Ephemeral => previous?.EphemeralContainerStatuses,
            _ => previous?.InitContainerStatuses,
        };
        return list?.FirstOrDefault(status => status.Name == container.Name);
    }

    private static List<V1VolumeMountStatus>? VolumeMounts(V1Container spec)
    {
        if (spec.VolumeMounts is not { Count: > 0 } mounts) return null;
        var statuses = new List<V1VolumeMountStatus>(mounts.Count);
        foreach (var mount in mounts)
        {
            statuses.Add(new V1VolumeMountStatus
            {
                Name = mount.Name,
                MountPath = mount.MountPath,
                ReadOnlyProperty = mount.ReadOnlyProperty,
                RecursiveReadOnly = mount.ReadOnlyProperty == true ? "Disabled" : null,
            });
        }
        return statuses;
    }
}
