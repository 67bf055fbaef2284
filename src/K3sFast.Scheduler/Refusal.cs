using System.Text;

namespace K3sFast.Scheduler;

/// <summary>Why no node took a pod: what kubectl describe shows, what could change it, and where removing pods may help.</summary>
internal sealed class Refusal(int nodes)
{
    private readonly Dictionary<string, int> _reasons = [];

    /// <summary>Events that are worth another try.</summary>
    internal ClusterEvents WakeUp { get; private set; }

    /// <summary>Nodes where fewer pods could make room.</summary>
    internal List<NodeInfo> Resolvable { get; } = [];

    internal void Add(NodeInfo node, Verdict verdict, ClusterEvents wakeUp)
    {
        WakeUp |= wakeUp;
        Count(verdict);
        if (!verdict.IsUnresolvable) Resolvable.Add(node);
    }

    internal void Count(Verdict verdict)
    {
        Count(verdict.Reason!, 1);
        foreach (var reason in verdict.MoreReasons ?? []) Count(reason, 1);
    }

    internal void Count(string reason, int nodes)
    {
        if (nodes > 0) _reasons[reason] = _reasons.GetValueOrDefault(reason) + nodes;
    }

    /// <summary>In upstream's words, such as <c>0/1 nodes are available: 1 Insufficient cpu.</c></summary>
    public override string ToString()
    {
        if (nodes == 0) return "no nodes available to schedule pods";
        var text = new StringBuilder($"0/{nodes} nodes are available:");
        var histogram = _reasons.Select(static pair => $"{pair.Value} {pair.Key}").Order(StringComparer.Ordinal).ToList();
        if (histogram.Count > 0) text.Append(' ').AppendJoin(", ", histogram).Append('.');
        return text.ToString();
    }
}
