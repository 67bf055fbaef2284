namespace K3sFast.Scheduler;

/// <summary>
/// Preferred pod affinity in both directions: every matching pod gives its domain the term's weight; a pod that requires to be with such pods
/// pulls a little, too.
/// </summary>
internal sealed class InterPodAffinityScore(int weight, Func<string, IDictionary<string, string>?> namespaceLabels) : ScorePlugin(weight)
{
    // What an existing pod's required affinity counts for (upstream: hardPodAffinityWeight).
    private const int RequiredWeight = 1;

    private readonly Dictionary<(string Key, string Value), long> _scores = [];

    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes)
    {
        _scores.Clear();
        var hasOwn = pod.PreferredAffinity.Length + pod.PreferredAntiAffinity.Length > 0;
        if (!hasOwn && state.PodsWithAffinity == 0) return false;
        foreach (var node in state.Nodes)
        {
            foreach (var other in hasOwn ? node.Pods : node.PodsWithAffinity)
            {
                foreach (var term in pod.PreferredAffinity) Count(term, other, node, term.Weight);
                foreach (var term in pod.PreferredAntiAffinity) Count(term, other, node, term.Weight);
                foreach (var term in other.RequiredAffinity) Count(term, pod, node, RequiredWeight);
                foreach (var term in other.PreferredAffinity) Count(term, pod, node, term.Weight);
                foreach (var term in other.PreferredAntiAffinity) Count(term, pod, node, term.Weight);
            }
        }
        return _scores.Count > 0;
    }

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        long sum = 0;
        foreach (var ((key, value), score) in _scores)
        {
            if (node.Label(key) == value) sum += score;
        }
        return sum;
    }

    internal override void Normalize(List<NodeInfo> nodes, Span<long> scores)
    {
        long min = long.MaxValue, max = long.MinValue;
        foreach (var score in scores) (min, max) = (Math.Min(min, score), Math.Max(max, score));
        for (var i = 0; i < scores.Length; i++) scores[i] = max == min ? 0 : (long)((double)MaxScore * (scores[i] - min) / (max - min));
    }

    private void Count(AffinityTerm term, PodInfo candidate, NodeInfo node, int weight)
    {
        if (node.Label(term.TopologyKey) is not { } value || !term.Matches(candidate, namespaceLabels)) return;
        _scores[(term.TopologyKey, value)] = _scores.GetValueOrDefault((term.TopologyKey, value)) + weight;
    }
}
