using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>Keeps pods off cordoned nodes, unless they tolerate the taint that a cordon stands for.</summary>
internal sealed class NodeUnschedulableFilter : FilterPlugin
{
    private static readonly V1Taint s_cordon = new() { Key = "node.kubernetes.io/unschedulable", Effect = Tolerations.NoSchedule };

    internal override ClusterEvents WakeUp => ClusterEvents.NodeAdded | ClusterEvents.NodeTaints;

    internal override bool Begin(PodInfo pod, ClusterState state) => !Tolerations.Tolerates(pod.Pod.Spec.Tolerations, s_cordon);

    internal override Verdict Check(PodInfo pod, NodeInfo node) =>
        node.Node.Spec?.Unschedulable == true ? new Verdict("node(s) were unschedulable", IsUnresolvable: true) : Verdict.Fits;
}

/// <summary>A pod that names its node goes there only.</summary>
internal sealed class NodeNameFilter : FilterPlugin
{
    internal override ClusterEvents WakeUp => ClusterEvents.NodeAdded;

    internal override bool Begin(PodInfo pod, ClusterState state) => !string.IsNullOrEmpty(pod.Pod.Spec.NodeName);

    internal override Verdict Check(PodInfo pod, NodeInfo node) =>
        pod.Pod.Spec.NodeName == node.Name ? Verdict.Fits : new Verdict("node(s) didn't match the requested node name", IsUnresolvable: true);
}

/// <summary>NoSchedule and NoExecute taints.</summary>
internal sealed class TaintTolerationFilter : FilterPlugin
{
    internal override ClusterEvents WakeUp => ClusterEvents.NodeAdded | ClusterEvents.NodeTaints;

    internal override bool Begin(PodInfo pod, ClusterState state) => true;

    internal override Verdict Check(PodInfo pod, NodeInfo node) =>
        Tolerations.FindUntolerated(node.Node.Spec?.Taints, pod.Pod.Spec.Tolerations) is null
            ? Verdict.Fits
            : new Verdict("node(s) had untolerated taint(s)", IsUnresolvable: true);
}

/// <summary>nodeSelector and required node affinity.</summary>
internal sealed class NodeAffinityFilter : FilterPlugin
{
    internal override ClusterEvents WakeUp => ClusterEvents.NodeAdded | ClusterEvents.NodeLabels;

    internal override bool Begin(PodInfo pod, ClusterState state) =>
        pod.Pod.Spec.NodeSelector is { Count: > 0 } || pod.Pod.Spec.Affinity?.NodeAffinity?.RequiredDuringSchedulingIgnoredDuringExecution is not null;

    internal override Verdict Check(PodInfo pod, NodeInfo node) =>
        NodeMatcher.Matches(pod.Pod.Spec, node.Node) ? Verdict.Fits : new Verdict("node(s) didn't match Pod's node affinity/selector", IsUnresolvable: true);
}

/// <summary>Host ports are free.</summary>
internal sealed class NodePortsFilter : FilterPlugin
{
    internal override ClusterEvents WakeUp => ClusterEvents.NodeAdded | ClusterEvents.PodRemoved;

    internal override bool Begin(PodInfo pod, ClusterState state) => pod.HostPorts.Length > 0;

    internal override Verdict Check(PodInfo pod, NodeInfo node)
    {
        foreach (var wanted in pod.HostPorts)
        {
            foreach (var used in node.UsedPorts)
            {
                if (wanted.ConflictsWith(used)) return new Verdict("node(s) didn't have free ports for the requested pod ports");
            }
        }
        return Verdict.Fits;
    }
}

/// <summary>Enough of every resource is left, and room for one more pod.</summary>
internal sealed class NodeResourcesFilter : FilterPlugin
{
    internal override ClusterEvents WakeUp => ClusterEvents.NodeAdded | ClusterEvents.NodeAllocatable | ClusterEvents.PodRemoved | ClusterEvents.PodShrunk;

    internal override bool Begin(PodInfo pod, ClusterState state) => true;

    internal override Verdict Check(PodInfo pod, NodeInfo node)
    {
        var (asked, has, taken) = (pod.Requests, node.Allocatable, node.Requested);
        var lacksRoom = node.Pods.Count + 1 > node.AllowedPods;
        if (!lacksRoom && Fits(asked.MilliCpu, has.MilliCpu, taken.MilliCpu) && Fits(asked.Memory, has.Memory, taken.Memory)
            && Fits(asked.EphemeralStorage, has.EphemeralStorage, taken.EphemeralStorage) && asked.Scalars is null)
        {
            return Verdict.Fits;
        }
        return Explain(asked, has, taken, lacksRoom);
    }

    private static bool Fits(long asked, long has, long taken) => asked == 0 || asked <= has - taken;

    private static Verdict Explain(ResourceAmounts asked, ResourceAmounts has, ResourceAmounts taken, bool lacksRoom)
    {
        var reasons = new List<string>();
        // More than the whole node has: no preemption helps.
        var isUnresolvable = false;
        if (lacksRoom) reasons.Add("Too many pods");
        Look("cpu", asked.MilliCpu, has.MilliCpu, taken.MilliCpu);
        Look("memory", asked.Memory, has.Memory, taken.Memory);
        Look("ephemeral-storage", asked.EphemeralStorage, has.EphemeralStorage, taken.EphemeralStorage);
        foreach (var (name, amount) in asked.Scalars ?? []) Look(name, amount, has.Get(name), taken.Get(name));
        return reasons.Count == 0 ? Verdict.Fits : new Verdict(reasons[0], isUnresolvable, reasons.Count > 1 ? [.. reasons.Skip(1)] : null);

        void Look(string name, long amount, long all, long used)
        {
            if (Fits(amount, all, used)) return;
            reasons.Add("Insufficient " + name);
            isUnresolvable |= amount > all;
        }
    }
}
