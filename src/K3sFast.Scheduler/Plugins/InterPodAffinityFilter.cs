namespace K3sFast.Scheduler;

/// <summary>
/// Required pod affinity and anti-affinity, in both directions. <see cref="Begin"/> counts the matching pods per topology domain once;
/// a node is then judged by its labels alone.
/// </summary>
internal sealed class InterPodAffinityFilter(Func<string, IDictionary<string, string>?> namespaceLabels) : FilterPlugin
{
    // Counts by (topology key, value), for the pod under consideration
    private readonly Dictionary<(string Key, string Value), int> _refusedByOthers = [];
    private readonly Dictionary<(string Key, string Value), int> _wanted = [];
    private readonly Dictionary<(string Key, string Value), int> _unwanted = [];

    internal override ClusterEvents WakeUp =>
        ClusterEvents.NodeAdded | ClusterEvents.NodeLabels | ClusterEvents.PodAssigned | ClusterEvents.PodRemoved;

    internal override bool Begin(PodInfo pod, ClusterState state)
    {
        _refusedByOthers.Clear();
        _wanted.Clear();
        _unwanted.Clear();
        var hasOwn = pod.RequiredAffinity.Length + pod.RequiredAntiAffinity.Length > 0;
        if (!hasOwn && state.PodsWithAntiAffinity == 0) return false;
        foreach (var node in state.Nodes)
        {
            foreach (var other in hasOwn ? node.Pods : node.PodsWithAntiAffinity) Count(pod, other, node, 1);
        }
        return hasOwn || _refusedByOthers.Count > 0;
    }

    internal override Verdict Check(PodInfo pod, NodeInfo node)
    {
        if (!SatisfiesAffinity(pod, node)) return new Verdict("node(s) didn't match pod affinity rules", IsUnresolvable: true);
        foreach (var term in pod.RequiredAntiAffinity)
        {
            if (node.Label(term.TopologyKey) is { } value && _unwanted.GetValueOrDefault((term.TopologyKey, value)) > 0)
            {
                return new Verdict("node(s) didn't match pod anti-affinity rules");
            }
        }
        if (_refusedByOthers.Count == 0) return Verdict.Fits;
        foreach (var ((key, value), count) in _refusedByOthers)
        {
            if (count > 0 && node.Label(key) == value) return new Verdict("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        return Verdict.Fits;
    }

    internal override void Changed(PodInfo pod, PodInfo other, NodeInfo node, int sign) => Count(pod, other, node, sign);

    private bool SatisfiesAffinity(PodInfo pod, NodeInfo node)
    {
        var all = true;
        foreach (var term in pod.RequiredAffinity)
        {
            // A node without the label belongs to no domain.
            if (node.Label(term.TopologyKey) is not { } value) return false;
            all &= _wanted.GetValueOrDefault((term.TopologyKey, value)) > 0;
        }
        if (all) return true;
        // The first of a group that wants to be with its own kind may go anywhere.
        foreach (var count in _wanted.Values)
        {
            if (count > 0) return false;
        }
        return MatchesAll(pod, pod);
    }

    private void Count(PodInfo pod, PodInfo other, NodeInfo node, int sign)
    {
        foreach (var term in other.RequiredAntiAffinity)
        {
            if (term.Matches(pod, namespaceLabels)) Add(_refusedByOthers, term.TopologyKey, node, sign);
        }
        if (pod.RequiredAffinity.Length > 0 && MatchesAll(pod, other))
        {
            foreach (var term in pod.RequiredAffinity) Add(_wanted, term.TopologyKey, node, sign);
        }
        foreach (var term in pod.RequiredAntiAffinity)
        {
            if (term.Matches(other, namespaceLabels)) Add(_unwanted, term.TopologyKey, node, sign);
        }
    }

    // All terms must be met by the same pod.
    private bool MatchesAll(PodInfo pod, PodInfo other)
    {
        foreach (var term in pod.RequiredAffinity)
        {
            if (!term.Matches(other, namespaceLabels)) return false;
        }
        return true;
    }

    private static void Add(Dictionary<(string Key, string Value), int> counts, string key, NodeInfo node, int sign)
    {
        if (node.Label(key) is not { } value) return;
        counts[(key, value)] = counts.GetValueOrDefault((key, value)) + sign;
    }
}
