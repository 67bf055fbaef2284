using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>A pod (anti-)affinity term made ready for many matches. Immutable.</summary>
internal sealed class AffinityTerm
{
    private readonly LabelMatcher _pods;
    private readonly LabelMatcher _namespaces;
    private readonly HashSet<string> _names;

    internal AffinityTerm(V1PodAffinityTerm term, V1Pod owner, int weight)
    {
        _pods = LabelMatcher.Of(term.LabelSelector);
        _namespaces = LabelMatcher.Of(term.NamespaceSelector);
        _names = [.. term.Namespaces ?? []];
        // Neither names nor a selector: the pod's own namespace.
        if (_names.Count == 0 && term.NamespaceSelector is null) _names.Add(owner.Metadata.NamespaceProperty);
        (TopologyKey, Weight) = (term.TopologyKey, weight);
    }

    internal string TopologyKey { get; }

    internal int Weight { get; }

    /// <summary>Is <paramref name="pod"/> one that the term speaks of? <paramref name="namespaceLabels"/> gives its namespace's labels.</summary>
    internal bool Matches(PodInfo pod, Func<string, IDictionary<string, string>?> namespaceLabels)
    {
        if (!_names.Contains(pod.Namespace) && !(_namespaces.IsEverything || _namespaces.Matches(namespaceLabels(pod.Namespace)))) return false;
        return _pods.Matches(pod.Labels);
    }
}
