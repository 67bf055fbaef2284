namespace K3sFast.Scheduler;

/// <summary>What a filter says of a node: fits, or why not, and whether removing pods could change that.</summary>
internal readonly record struct Verdict(string? Reason, bool IsUnresolvable = false, string[]? MoreReasons = null)
{
    internal static Verdict Fits => default;

    internal bool IsFit => Reason is null;
}

/// <summary>
/// Says whether a node can take a pod. State of the pod under consideration is kept in the plugin from <see cref="Begin"/> on: one loop, one
/// pod at a time.
/// </summary>
internal abstract class FilterPlugin
{
    /// <summary>What can make a pod fit that this filter refused.</summary>
    internal abstract ClusterEvents WakeUp { get; }

    /// <summary>Prepares for a pod; false = this filter has nothing to say about it.</summary>
    internal abstract bool Begin(PodInfo pod, ClusterState state);

    internal abstract Verdict Check(PodInfo pod, NodeInfo node);

    /// <summary>Another pod was added to (sign 1) or taken from (sign -1) a node for a what-if.</summary>
    internal virtual void Changed(PodInfo pod, PodInfo other, NodeInfo node, int sign)
    {
    }
}

/// <summary>Says how good a node is for a pod, 0 to 100 after <see cref="Normalize"/>.</summary>
internal abstract class ScorePlugin(int weight)
{
    internal const long MaxScore = 100;

    internal int Weight { get; } = weight;

    /// <summary>Prepares for a pod and the nodes it may go to; false = no opinion.</summary>
    internal abstract bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes);

    internal abstract long Score(PodInfo pod, NodeInfo node);

    internal virtual void Normalize(List<NodeInfo> nodes, Span<long> scores)
    {
    }

    /// <summary>Stretches scores so that the highest is 100; reversed, the highest becomes 0.</summary>
    protected static void Stretch(Span<long> scores, bool isReversed)
    {
        long max = 0;
        foreach (var score in scores) max = Math.Max(max, score);
        for (var i = 0; i < scores.Length; i++)
        {
            var score = max == 0 ? 0 : MaxScore * scores[i] / max;
            scores[i] = isReversed ? MaxScore - score : score;
        }
    }
}
