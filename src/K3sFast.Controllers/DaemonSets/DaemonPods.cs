using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Which nodes a daemon runs on, and its pods for them. Pure.</summary>
internal static class DaemonPods
{
    internal const string RevisionLabel = "controller-revision-hash";

    private static readonly (string Key, string Effect)[] s_tolerated =
    [
        (NodeTaints.NotReady, Tolerations.NoExecute),
        (NodeTaints.Unreachable, Tolerations.NoExecute),
        ("node.kubernetes.io/disk-pressure", Tolerations.NoSchedule),
        ("node.kubernetes.io/memory-pressure", Tolerations.NoSchedule),
        ("node.kubernetes.io/pid-pressure", Tolerations.NoSchedule),
        ("node.kubernetes.io/unschedulable", Tolerations.NoSchedule),
    ];

    /// <summary>Should a pod be there, and may one that is there stay?</summary>
    internal static (bool ShouldRun, bool MayStay) Judge(V1PodTemplateSpec template, V1Node node)
    {
        var spec = template.Spec;
        if (!string.IsNullOrEmpty(spec.NodeName) && spec.NodeName != node.Metadata.Name) return (false, false);
        if (!NodeMatcher.Matches(spec, node)) return (false, false);
        var tolerations = WithDaemonTolerations(spec);
        var (shouldRun, mayStay) = (true, true);
        foreach (var taint in node.Spec?.Taints ?? [])
        {
            if (taint.Effect == Tolerations.PreferNoSchedule || Tolerations.Tolerates(tolerations, taint)) continue;
            shouldRun = false;
            if (taint.Effect == Tolerations.NoExecute) mayStay = false;
        }
        return (shouldRun, mayStay);
    }

    /// <summary>Makes a template's pod one for a node: the scheduler still places it, but nowhere else.</summary>
    internal static void Pin(V1Pod pod, string node, string revision)
    {
        pod.Metadata.Labels[RevisionLabel] = revision;
        var requirement = new V1NodeSelectorRequirement { Key = "metadata.name", OperatorProperty = "In", Values = [node] };
        var terms = pod.Spec.Affinity?.NodeAffinity?.RequiredDuringSchedulingIgnoredDuringExecution?.NodeSelectorTerms;
        IList<V1NodeSelectorTerm> pinned = terms is { Count: > 0 }
            ? [.. terms.Select(term => term with { MatchFields = [requirement] })]
            : [new V1NodeSelectorTerm { MatchFields = [requirement] }];
        pod.Spec.Affinity = (pod.Spec.Affinity ?? new()) with
        {
            NodeAffinity = (pod.Spec.Affinity?.NodeAffinity ?? new()) with
            {
                RequiredDuringSchedulingIgnoredDuringExecution = new V1NodeSelector { NodeSelectorTerms = pinned },
            },
        };
        pod.Spec.Tolerations = WithDaemonTolerations(pod.Spec);
    }

    /// <summary>The node that a daemon pod is on or meant for.</summary>
    internal static string? NodeOf(V1Pod pod)
    {
        if (!string.IsNullOrEmpty(pod.Spec.NodeName)) return pod.Spec.NodeName;
        foreach (var term in pod.Spec.Affinity?.NodeAffinity?.RequiredDuringSchedulingIgnoredDuringExecution?.NodeSelectorTerms ?? [])
        {
            foreach (var field in term.MatchFields ?? [])
            {
                if (field is { Key: "metadata.name", OperatorProperty: "In", Values: [var name] }) return name;
            }
        }
        return null;
    }

    private static List<V1Toleration> WithDaemonTolerations(V1PodSpec spec)
    {
        var tolerations = new List<V1Toleration>(spec.Tolerations ?? []);
        foreach (var (key, effect) in s_tolerated) Add(key, effect);
        if (spec.HostNetwork == true) Add("node.kubernetes.io/network-unavailable", Tolerations.NoSchedule);
        return tolerations;

        void Add(string key, string effect)
        {
            if (tolerations.Any(toleration => toleration.Key == key && toleration.Effect == effect && toleration.OperatorProperty == "Exists")) return;
            tolerations.Add(new V1Toleration { Key = key, OperatorProperty = "Exists", Effect = effect });
        }
    }
}
