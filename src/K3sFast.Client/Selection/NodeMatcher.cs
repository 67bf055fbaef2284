using System.Globalization;
using k8s.Models;

namespace K3sFast.Client.Selection;

/// <summary>Does a pod's nodeSelector and required node affinity let it run on a node? Stateless.</summary>
public static class NodeMatcher
{
    /// <summary>nodeSelector and requiredDuringSchedulingIgnoredDuringExecution together, as the scheduler and DaemonSets read them.</summary>
    public static bool Matches(V1PodSpec pod, V1Node node)
    {
        foreach (var (key, value) in pod.NodeSelector ?? s_empty)
        {
            if (node.Metadata.Labels is not { } labels || !labels.TryGetValue(key, out var actual) || actual != value) return false;
        }
        return pod.Affinity?.NodeAffinity?.RequiredDuringSchedulingIgnoredDuringExecution is not { } required || Matches(required, node);
    }

    /// <summary>Any term matches; no terms match nothing.</summary>
    public static bool Matches(V1NodeSelector selector, V1Node node)
    {
        foreach (var term in selector.NodeSelectorTerms ?? [])
        {
            if (Matches(term, node)) return true;
        }
        return false;
    }

    /// <summary>All expressions and fields match; a term with neither matches nothing.</summary>
    public static bool Matches(V1NodeSelectorTerm term, V1Node node)
    {
        if (term.MatchExpressions is not { Count: > 0 } && term.MatchFields is not { Count: > 0 }) return false;
        foreach (var expression in term.MatchExpressions ?? [])
        {
            string? value = null;
            var isPresent = node.Metadata.Labels is { } labels && labels.TryGetValue(expression.Key, out value);
            if (!Holds(expression, isPresent, value)) return false;
        }
        foreach (var field in term.MatchFields ?? [])
        {
            // metadata.name is the only field that nodes are selected by.
            if (field.Key != "metadata.name" || !Holds(field, true, node.Metadata.Name)) return false;
        }
        return true;
    }

    private static readonly Dictionary<string, string> s_empty = [];

    private static bool Holds(V1NodeSelectorRequirement requirement, bool isPresent, string? value) => requirement.OperatorProperty switch
    {
        "In" => isPresent && requirement.Values?.Contains(value!) == true,
        "NotIn" => !isPresent || requirement.Values?.Contains(value!) != true,
        "Exists" => isPresent,
        "DoesNotExist" => !isPresent,
        "Gt" => isPresent && Compare(requirement, value!) is > 0,
        "Lt" => isPresent && Compare(requirement, value!) is < 0,
        _ => false,
    };

    private static int? Compare(V1NodeSelectorRequirement requirement, string value)
    {
        if (requirement.Values is not [var bound]) return null;
        if (!long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var actual)) return null;
        return long.TryParse(bound, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var limit) ? actual.CompareTo(limit) : null;
    }
}
