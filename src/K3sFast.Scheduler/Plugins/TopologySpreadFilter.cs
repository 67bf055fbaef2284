namespace K3sFast.Scheduler;

/// <summary>Topology spread constraints that must hold (DoNotSchedule).</summary>
internal sealed class TopologySpreadFilter : FilterPlugin
{
    // Of the pod under consideration: matching pods per domain, one table per constraint
    private SpreadConstraint[] _constraints = [];
    private Dictionary<string, int>[] _counts = [];

    internal override ClusterEvents WakeUp =>
        ClusterEvents.NodeAdded | ClusterEvents.NodeRemoved | ClusterEvents.NodeLabels | ClusterEvents.NodeTaints | ClusterEvents.PodAssigned | ClusterEvents.PodRemoved;

    internal override bool Begin(PodInfo pod, ClusterState state)
    {
        _constraints = SpreadConstraint.Of(pod.Pod, "DoNotSchedule");
        if (_constraints.Length == 0) return false;
        _counts = [.. _constraints.Select(static _ => new Dictionary<string, int>())];
        foreach (var node in state.Nodes)
        {
            if (!HasAllKeys(node)) continue;
            for (var i = 0; i < _constraints.Length; i++)
            {
                if (!_constraints[i].Includes(pod.Pod, node)) continue;
                var domain = node.Label(_constraints[i].TopologyKey)!;
                _counts[i][domain] = _counts[i].GetValueOrDefault(domain) + _constraints[i].CountOn(pod.Pod, node);
            }
        }
        return true;
    }

    internal override Verdict Check(PodInfo pod, NodeInfo node)
    {
        for (var i = 0; i < _constraints.Length; i++)
        {
            var constraint = _constraints[i];
            if (node.Label(constraint.TopologyKey) is not { } domain)
            {
                return new Verdict("node(s) didn't match pod topology spread constraints (missing required label)", IsUnresolvable: true);
            }
            var skew = _counts[i].GetValueOrDefault(domain) + (constraint.MatchesSelf ? 1 : 0) - Minimum(_counts[i], constraint);
            if (skew > constraint.MaxSkew) return new Verdict("node(s) didn't match pod topology spread constraints");
        }
        return Verdict.Fits;
    }

    internal override void Changed(PodInfo pod, PodInfo other, NodeInfo node, int sign)
    {
        if (!HasAllKeys(node)) return;
        for (var i = 0; i < _constraints.Length; i++)
        {
            if (!_constraints[i].Includes(pod.Pod, node) || !_constraints[i].Counts(pod.Pod, other)) continue;
            var domain = node.Label(_constraints[i].TopologyKey)!;
            _counts[i][domain] = _counts[i].GetValueOrDefault(domain) + sign;
        }
    }

    // Fewer domains than asked for: an empty one is imagined.
    private static int Minimum(Dictionary<string, int> counts, SpreadConstraint constraint)
    {
        if (counts.Count < constraint.MinDomains) return 0;
        var minimum = int.MaxValue;
        foreach (var count in counts.Values) minimum = Math.Min(minimum, count);
        return minimum;
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
