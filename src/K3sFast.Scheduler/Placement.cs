namespace K3sFast.Scheduler;

/// <summary>
/// Finds the node for a pod: filters, then scores, in upstream's default set and weights. Owned by the scheduling loop; state of the pod under
/// consideration lives in the plugins.
/// </summary>
internal sealed class Placement
{
    // Below this many nodes all are looked at (upstream).
    private const int MinFeasibleNodes = 100;

    private readonly ClusterState _state;
    private readonly SchedulerOptions _options;
    private readonly Random _random = new();
    private readonly FilterPlugin[] _filters;
    private readonly ScorePlugin[] _scorers;
    private readonly List<FilterPlugin> _active = [];
    private readonly List<NodeInfo> _feasible = [];
    private int _start;

    internal Placement(ClusterState state, SchedulerOptions options, Func<string, IDictionary<string, string>?> namespaceLabels)
    {
        (_state, _options) = (state, options);
        // The order decides which reason a node is refused with: upstream's.
        _filters =
        [
            new NodeUnschedulableFilter(),
            new NodeNameFilter(),
            new TaintTolerationFilter(),
            new NodeAffinityFilter(),
            new NodePortsFilter(),
            new NodeResourcesFilter(),
            new TopologySpreadFilter(),
            new InterPodAffinityFilter(namespaceLabels),
        ];
        _scorers =
        [
            new TaintTolerationScore(3),
            new NodeAffinityScore(2),
            new TopologySpreadScore(2),
            new InterPodAffinityScore(2, namespaceLabels),
            new LeastAllocatedScore(1),
            new BalancedAllocationScore(1),
            new ImageLocalityScore(1),
        ];
    }

    /// <summary>The best node, or null and why there is none.</summary>
    internal NodeInfo? Find(PodInfo pod, out Refusal refusal)
    {
        refusal = new Refusal(_state.Nodes.Count);
        Begin(pod);
        _feasible.Clear();
        // Victims were removed for it there: nothing better is looked for.
        if (_state.Find(pod.Pod.Status?.NominatedNodeName) is { } nominated && Check(pod, nominated, out _).IsFit) return nominated;
        Filter(pod, refusal);
        return _feasible.Count switch
        {
            0 => null,
            1 => _feasible[0],
            _ => Best(pod),
        };
    }

    /// <summary>Prepares the filters for <paramref name="pod"/>, to <see cref="Check"/> single nodes with.</summary>
    internal void Begin(PodInfo pod)
    {
        _active.Clear();
        foreach (var filter in _filters)
        {
            if (filter.Begin(pod, _state)) _active.Add(filter);
        }
    }

    /// <summary>Does <paramref name="node"/> take the pod, also once the pods that are to come there have come?</summary>
    internal Verdict Check(PodInfo pod, NodeInfo node, out FilterPlugin? by)
    {
        if (_state.HasNominations && _state.NominatedBefore(node.Name, pod.Priority, pod.Uid) is { Count: > 0 } expected)
        {
            foreach (var other in expected) Add(pod, other, node);
            var verdict = CheckNow(pod, node, out by);
            foreach (var other in expected) Remove(pod, other, node);
            if (!verdict.IsFit) return verdict;
        }
        // Without them, too: they may never come, and affinity to them must not be relied on.
        return CheckNow(pod, node, out by);
    }

    /// <summary>What-if: <paramref name="other"/> is on <paramref name="node"/>. To be undone by <see cref="Remove"/>.</summary>
    internal void Add(PodInfo pod, PodInfo other, NodeInfo node)
    {
        node.Add(other);
        foreach (var filter in _active) filter.Changed(pod, other, node, 1);
    }

    /// <summary>What-if: <paramref name="other"/> is not on <paramref name="node"/>. To be undone by <see cref="Add"/>.</summary>
    internal void Remove(PodInfo pod, PodInfo other, NodeInfo node)
    {
        node.Remove(other);
        foreach (var filter in _active) filter.Changed(pod, other, node, -1);
    }

    private void Filter(PodInfo pod, Refusal refusal)
    {
        var nodes = _state.Nodes;
        var enough = EnoughNodes(nodes.Count);
        var looked = 0;
        for (; looked < nodes.Count && _feasible.Count < enough; looked++)
        {
            // Another pod starts at another node, so that all nodes get their turn.
            var node = nodes[(_start + looked) % nodes.Count];
            var verdict = Check(pod, node, out var by);
            if (verdict.IsFit) _feasible.Add(node);
            else refusal.Add(node, verdict, by!.WakeUp);
        }
        _start = nodes.Count == 0 ? 0 : (_start + looked) % nodes.Count;
    }

    private int EnoughNodes(int all)
    {
        if (all <= MinFeasibleNodes) return all;
        var percentage = _options.PercentageOfNodesToScore;
        if (percentage == 0) percentage = Math.Max(5, 50 - (all / 125));
        return Math.Max(MinFeasibleNodes, (int)((long)all * percentage / 100));
    }

    private Verdict CheckNow(PodInfo pod, NodeInfo node, out FilterPlugin? by)
    {
        foreach (var filter in _active)
        {
            var verdict = filter.Check(pod, node);
            if (verdict.IsFit) continue;
            by = filter;
            return verdict;
        }
        by = null;
        return Verdict.Fits;
    }

    private NodeInfo Best(PodInfo pod)
    {
        var totals = new long[_feasible.Count];
        var scores = new long[_feasible.Count];
        foreach (var scorer in _scorers)
        {
            if (!scorer.Begin(pod, _state, _feasible)) continue;
            for (var i = 0; i < scores.Length; i++) scores[i] = scorer.Score(pod, _feasible[i]);
            scorer.Normalize(_feasible, scores);
            for (var i = 0; i < scores.Length; i++) totals[i] += scorer.Weight * scores[i];
        }
        var (best, equals) = (0, 1);
        for (var i = 1; i < totals.Length; i++)
        {
            if (totals[i] < totals[best]) continue;
            equals = totals[i] == totals[best] ? equals + 1 : 1;
            // Among equals each is taken with the same chance.
            if (equals == 1 || _random.Next(equals) == 0) best = i;
        }
        return _feasible[best];
    }
}
