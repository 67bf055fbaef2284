namespace K3sFast.Scheduler;

/// <summary>Topology spread constraints that should hold (ScheduleAnyway): the fewer matching pods in a node's domains, the better.</summary>
internal sealed class TopologySpreadScore(int weight) : ScorePlugin(weight)
{
    private const string HostName = "kubernetes.io/hostname";
    private const long Ignored = -1;

    // Of the pod under consideration
    private SpreadConstraint[] _constraints = [];
    private Dictionary<string, int>[] _counts = [];
    private double[] _weights = [];

    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes)
    {
        _constraints = SpreadConstraint.Of(pod.Pod, "ScheduleAnyway");
        if (_constraints.Length == 0) return false;
        _counts = [.. _constraints.Select(static _ => new Dictionary<string, int>())];
        var qualified = 0;
        foreach (var node in nodes)
        {
            if (!HasAllKeys(node)) continue;
            qualified++;
            for (var i = 0; i < _constraints.Length; i++) _counts[i].TryAdd(node.Label(_constraints[i].TopologyKey)!, 0);
        }
        foreach (var node in state.Nodes)
        {
            if (!HasAllKeys(node)) continue;
            for (var i = 0; i < _constraints.Length; i++)
            {
                var domain = node.Label(_constraints[i].TopologyKey)!;
                if (!_counts[i].TryGetValue(domain, out var count) || !_constraints[i].Includes(pod.Pod, node)) continue;
                _counts[i][domain] = count + _constraints[i].CountOn(pod.Pod, node);
            }
        }
        // Many small domains weigh more than few large ones (upstream's normalising weight).
        _weights = [.. _constraints.Select((constraint, i) => Math.Log((constraint.TopologyKey == HostName ? qualified : _counts[i].Count) + 2))];
        return true;
    }

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        if (!HasAllKeys(node)) return Ignored;
        double sum = 0;
        for (var i = 0; i < _constraints.Length; i++)
        {
            sum += (_counts[i].GetValueOrDefault(node.Label(_constraints[i].TopologyKey)!) * _weights[i]) + (_constraints[i].MaxSkew - 1);
        }
        return (long)Math.Round(sum, MidpointRounding.AwayFromZero);
    }

    internal override void Normalize(List<NodeInfo> nodes, Span<long> scores)
    {
        long min = long.MaxValue, max = 0;
        foreach (var score in scores)
        {
            if (score != Ignored) (min, max) = (Math.Min(min, score), Math.Max(max, score));
        }
        for (var i = 0; i < scores.Length; i++)
        {
            if (scores[i] == Ignored) scores[i] = 0;
            else scores[i] = max == 0 ? MaxScore : MaxScore * (max + min - scores[i]) / max;
        }
    }

    private bool HasAllKeys(NodeInfo node)
    {
        foreach (var constraint in _constraints)
        {
            if (node.Label(constraint.TopologyKey) is null) return false;
        }
        return true;
    }
}
