using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Status;

/// <summary>The pod conditions that the kubelet owns, in upstream's words. Pure; times are set against the previous conditions.</summary>
internal static class PodConditions
{
    public static List<V1PodCondition> Build(
        V1Pod pod,
        IReadOnlyList<PodContainer> containers,
        IReadOnlyDictionary<string, V1ContainerStatus> statuses,
        string phase,
        bool hasReadySandbox,
        IList<V1PodCondition>? previous,
        DateTime now)
    {
        var ready = ContainersReady(containers, statuses, phase);
        List<V1PodCondition> conditions =
        [
            Condition("PodReadyToStartContainers", hasReadySandbox),
            Initialized(containers, statuses, phase),
            Ready(pod, ready),
            ready,
            Condition("PodScheduled", true),
        ];
        foreach (var condition in conditions)
        {
            condition.ObservedGeneration = pod.Metadata.Generation;
            var old = previous?.FirstOrDefault(candidate => candidate.Type == condition.Type);
            condition.LastTransitionTime = old is not null && old.Status == condition.Status && old.LastTransitionTime is { } time ? time : now;
        }
        return conditions;
    }

    private static V1PodCondition ContainersReady(IReadOnlyList<PodContainer> containers, IReadOnlyDictionary<string, V1ContainerStatus> statuses, string phase)
    {
        if (phase == "Failed") return Condition("ContainersReady", false, "PodFailed");
        List<string> unknown = [], unready = [];
        foreach (var container in containers)
        {
            if (container.Role is not (ContainerRole.Main or ContainerRole.Sidecar)) continue;
            if (!statuses.TryGetValue(container.Name, out var status)) unknown.Add(container.Name);
            else if (!status.Ready) unready.Add(container.Name);
        }
        if (phase == "Succeeded" && unknown.Count == 0) return Condition("ContainersReady", false, "PodCompleted");
        var message = Message(("containers with unknown status", unknown), ("containers with unready status", unready));
        return message.Length > 0 ? Condition("ContainersReady", false, "ContainersNotReady", message) : Condition("ContainersReady", true);
    }

    private static V1PodCondition Ready(V1Pod pod, V1PodCondition containersReady)
    {
        if (containersReady.Status != "True") return Condition("Ready", false, containersReady.Reason, containersReady.Message);
        var messages = new List<string>();
        foreach (var gate in pod.Spec.ReadinessGates ?? [])
        {
            var condition = pod.Status?.Conditions?.FirstOrDefault(candidate => candidate.Type == gate.ConditionType);
            if (condition is null) messages.Add($"corresponding condition of pod readiness gate \"{gate.ConditionType}\" does not exist.");
            else if (condition.Status != "True") messages.Add($"the status of pod readiness gate \"{gate.ConditionType}\" is not \"True\", but {condition.Status}");
        }
        return messages.Count > 0 ? Condition("Ready", false, "ReadinessGatesNotReady", string.Join(", ", messages)) : Condition("Ready", true);
    }

    private static V1PodCondition Initialized(IReadOnlyList<PodContainer> containers, IReadOnlyDictionary<string, V1ContainerStatus> statuses, string phase)
    {
        List<string> unknown = [], incomplete = [];
        var hasMainStarted = false;
        foreach (var container in containers)
        {
            var status = statuses.GetValueOrDefault(container.Name);
            if (container.Role == ContainerRole.Main)
            {
                hasMainStarted |= status?.State?.Running is not null || status?.State?.Terminated is not null || status?.LastState?.Terminated is not null;
            }
            if (!container.IsInit) continue;
            if (status is null) unknown.Add(container.Name);
            else if (container.Role == ContainerRole.Sidecar ? status.Started != true : !status.Ready) incomplete.Add(container.Name);
        }
        if (phase == "Succeeded" && unknown.Count == 0) return Condition("Initialized", true, "PodCompleted");
        if (hasMainStarted) return Condition("Initialized", true);
        var message = Message(("containers with unknown status", unknown), ("containers with incomplete status", incomplete));
        return message.Length > 0 ? Condition("Initialized", false, "ContainersNotInitialized", message) : Condition("Initialized", true);
    }

    private static string Message(params ReadOnlySpan<(string What, List<string> Names)> parts)
    {
        var texts = new List<string>();
        foreach (var (what, names) in parts)
        {
            if (names.Count > 0) texts.Add($"{what}: [{string.Join(' ', names)}]");
        }
        return string.Join(", ", texts);
    }

    private static V1PodCondition Condition(string type, bool isTrue, string? reason = null, string? message = null) =>
        new() { Type = type, Status = isTrue ? "True" : "False", Reason = reason, Message = message };
}
