using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>A topology spread constraint made ready for many matches. Immutable.</summary>
internal sealed class SpreadConstraint
{
    private readonly LabelMatcher _selector;
    private readonly bool _honorsAffinity;
    private readonly bool _honorsTaints;

    internal SpreadConstraint(V1TopologySpreadConstraint constraint, V1Pod pod)
    {
        TopologyKey = constraint.TopologyKey;
        MaxSkew = constraint.MaxSkew;
        MinDomains = constraint.MinDomains ?? 1;
        // Unless said otherwise, affinity narrows the domains and taints do not.
        _honorsAffinity = constraint.NodeAffinityPolicy is null or "Honor";
        _honorsTaints = constraint.NodeTaintsPolicy == "Honor";
        _selector = LabelMatcher.Of(WithLabelKeys(constraint, pod));
        MatchesSelf = _selector.Matches(pod.Metadata.Labels);
    }

    internal string TopologyKey { get; }

    internal int MaxSkew { get; }

    internal int MinDomains { get; }

    internal bool MatchesSelf { get; }

    internal static SpreadConstraint[] Of(V1Pod pod, string whenUnsatisfiable)
    {
        if (pod.Spec.TopologySpreadConstraints is not { Count: > 0 } constraints) return [];
        return [.. constraints.Where(constraint => constraint.WhenUnsatisfiable == whenUnsatisfiable).Select(constraint => new SpreadConstraint(constraint, pod))];
    }

    /// <summary>Does the node count as part of a domain?</summary>
    internal bool Includes(V1Pod pod, NodeInfo node) =>
        (!_honorsAffinity || NodeMatcher.Matches(pod.Spec, node.Node))
        && (!_honorsTaints || Tolerations.FindUntolerated(node.Node.Spec?.Taints, pod.Spec.Tolerations) is null);

    internal int CountOn(V1Pod pod, NodeInfo node)
    {
        var count = 0;
        foreach (var other in node.Pods)
        {
            if (Counts(pod, other)) count++;
        }
        return count;
    }

    /// <summary>Pods being deleted no longer count; those of other namespaces never do.</summary>
    internal bool Counts(V1Pod pod, PodInfo other) =>
        !other.IsLeaving && other.Namespace == pod.Metadata.NamespaceProperty && _selector.Matches(other.Labels);

    private static V1LabelSelector? WithLabelKeys(V1TopologySpreadConstraint constraint, V1Pod pod)
    {
        if (constraint.MatchLabelKeys is not { Count: > 0 } keys || constraint.LabelSelector is null) return constraint.LabelSelector;
        var expressions = new List<V1LabelSelectorRequirement>(constraint.LabelSelector.MatchExpressions ?? []);
        foreach (var key in keys)
        {
            if (pod.Metadata.Labels is { } labels && labels.TryGetValue(key, out var value))
            {
                expressions.Add(new V1LabelSelectorRequirement { Key = key, OperatorProperty = "In", Values = [value] });
            }
        }
        return constraint.LabelSelector with { MatchExpressions = expressions };
    }
}
