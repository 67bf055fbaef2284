using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>
/// Whether removing pods of lesser priority from one node makes room, and from which one it costs least. Only thinks; removing is the caller's.
/// Owned by the scheduling loop.
/// </summary>
internal sealed class Preemptor(ClusterState state, Placement placement, Func<IReadOnlyList<V1PodDisruptionBudget>> budgets)
{
    // Candidates compared: 10 % of the nodes, at least 100 (upstream).
    private const int MinCandidates = 100;
    private const int CandidatePercentage = 10;

    /// <summary>The node and the pods to remove, or null and a message in upstream's words (empty = none).</summary>
    internal Victims? Find(PodInfo pod, Refusal refusal, out string message)
    {
        message = "";
        if (pod.Pod.Spec.PreemptionPolicy == "Never")
        {
            message = "preemption: not eligible due to preemptionPolicy=Never.";
            return null;
        }
        if (IsUnderWay(pod, refusal))
        {
            message = "preemption: not eligible due to a terminating pod on the nominated node.";
            return null;
        }
        var enough = Math.Max(MinCandidates, state.Nodes.Count * CandidatePercentage / 100);
        var found = new List<Victims>();
        var failures = new Refusal(state.Nodes.Count);
        failures.Count("Preemption is not helpful for scheduling", state.Nodes.Count - refusal.Resolvable.Count);
        if (refusal.Resolvable.Count > 0) placement.Begin(pod);
        var budgetsNow = refusal.Resolvable.Count > 0 ? budgets() : [];
        foreach (var node in refusal.Resolvable)
        {
            if (Select(pod, node, budgetsNow, out var why) is { } victims) found.Add(victims);
            else failures.Count(why);
            if (found.Count >= enough) break;
        }
        if (found.Count > 0) return found.Min();
        if (state.Nodes.Count > 0) message = $"preemption: {failures}";
        return null;
    }

    // Victims of the last time are still leaving: they are waited for.
    private bool IsUnderWay(PodInfo pod, Refusal refusal)
    {
        if (state.Find(pod.Pod.Status?.NominatedNodeName) is not { } node || !refusal.Resolvable.Contains(node)) return false;
        foreach (var other in node.Pods)
        {
            if (other.Priority < pod.Priority && other.IsVictim) return true;
        }
        return false;
    }

    private Victims? Select(PodInfo pod, NodeInfo node, IReadOnlyList<V1PodDisruptionBudget> budgetsNow, out Verdict why)
    {
        why = default;
        var candidates = node.Pods.Where(other => other.Priority < pod.Priority).ToList();
        if (candidates.Count == 0)
        {
            why = new Verdict("No preemption victims found for incoming pod", IsUnresolvable: true);
            return null;
        }
        foreach (var other in candidates) placement.Remove(pod, other, node);
        try
        {
            why = placement.Check(pod, node, out _);
            if (!why.IsFit) return null;
            // Those that matter most are given their place back first, and among all those whose budget would be broken.
            candidates.Sort(CompareImportance);
            var (violating, others) = SplitByBudgets(candidates, budgetsNow);
            var victims = new List<PodInfo>();
            var broken = 0;
            foreach (var other in violating)
            {
                if (!GivesBack(pod, other, node, victims)) broken++;
            }
            foreach (var other in others) GivesBack(pod, other, node, victims);
            victims.Sort(CompareImportance);
            return new Victims(node.Name, victims, broken);
        }
        finally
        {
            foreach (var other in candidates)
            {
                if (!node.Pods.Contains(other)) placement.Add(pod, other, node);
            }
        }
    }

    private bool GivesBack(PodInfo pod, PodInfo other, NodeInfo node, List<PodInfo> victims)
    {
        placement.Add(pod, other, node);
        if (placement.Check(pod, node, out _).IsFit) return true;
        placement.Remove(pod, other, node);
        victims.Add(other);
        return false;
    }

    private static (List<PodInfo> Violating, List<PodInfo> Others) SplitByBudgets(List<PodInfo> candidates, IReadOnlyList<V1PodDisruptionBudget> budgetsNow)
    {
        var (violating, others) = (new List<PodInfo>(), new List<PodInfo>());
        var left = budgetsNow.Select(static budget => budget.Status?.DisruptionsAllowed ?? 0).ToArray();
        foreach (var candidate in candidates)
        {
            var breaks = false;
            for (var i = 0; i < left.Length; i++)
            {
                var budget = budgetsNow[i];
                if (budget.Metadata.NamespaceProperty != candidate.Namespace) continue;
                if (LabelMatcher.Of(budget.Spec.Selector) is not { IsEverything: false } selector || !selector.Matches(candidate.Labels)) continue;
                // Counted as disrupted already.
                if (budget.Status?.DisruptedPods?.ContainsKey(candidate.Name) == true) continue;
                if (--left[i] < 0) breaks = true;
            }
            (breaks ? violating : others).Add(candidate);
        }
        return (violating, others);
    }

    // Higher priority, then longer running.
    private static int CompareImportance(PodInfo a, PodInfo b)
    {
        var order = b.Priority.CompareTo(a.Priority);
        return order != 0 ? order : a.StartTime.CompareTo(b.StartTime);
    }
}

/// <summary>The pods to remove from a node, most important first. Ordered by what their removal costs, cheapest first.</summary>
internal sealed record Victims(string Node, IReadOnlyList<PodInfo> Pods, int BrokenBudgets) : IComparable<Victims>
{
    /// <inheritdoc/>
    public int CompareTo(Victims? other)
    {
        if (other is null) return -1;
        var order = BrokenBudgets.CompareTo(other.BrokenBudgets);
        if (order != 0) return order;
        order = Highest.CompareTo(other.Highest);
        if (order != 0) return order;
        // Priorities may be negative: each counts from the lowest possible, so that more pods never cost less.
        order = Pods.Sum(Cost).CompareTo(other.Pods.Sum(Cost));
        if (order != 0) return order;
        order = Pods.Count.CompareTo(other.Pods.Count);
        return order != 0 ? order : other.EarliestStart.CompareTo(EarliestStart);
    }

        private int Highest => Pods.Count == 0 ? int.MinValue : Pods[0].Priority;

    private DateTime EarliestStart => Pods.Count == 0 ? DateTime.MaxValue : Pods.Where(pod => pod.Priority == Highest).Min(static pod => pod.StartTime);

    private static long Cost(PodInfo pod) => (long)pod.Priority + int.MaxValue + 1;
}
