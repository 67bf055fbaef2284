using System.Globalization;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Which pods go first when there are too many: unassigned before assigned, pending before running, not ready before ready, cheaper deletion
/// cost first, more siblings on the node first, shorter ready first, more restarts first, younger first. Upstream's order (ActivePodsWithRanks).
/// </summary>
internal static class PodRanking
{
    internal const string DeletionCostAnnotation = "controller.kubernetes.io/pod-deletion-cost";

    /// <summary>Sorts in place, first to be deleted first. <paramref name="siblings"/>: active pods of the same owner per node name.</summary>
    internal static void Sort(List<V1Pod> pods, IReadOnlyDictionary<string, int> siblings, DateTime now) =>
        pods.Sort((a, b) => Compare(a, b, siblings, now));

    internal static int Compare(V1Pod a, V1Pod b, IReadOnlyDictionary<string, int> siblings, DateTime now)
    {
        var order = IsAssigned(a).CompareTo(IsAssigned(b));
        if (order != 0) return order;
        order = PhaseRank(a).CompareTo(PhaseRank(b));
        if (order != 0) return order;
        order = PodState.IsReady(a).CompareTo(PodState.IsReady(b));
        if (order != 0) return order;
        order = DeletionCost(a).CompareTo(DeletionCost(b));
        if (order != 0) return order;
        order = Siblings(b, siblings).CompareTo(Siblings(a, siblings));
        if (order != 0) return order;
        if (PodState.IsReady(a) && PodState.IsReady(b))
        {
            order = CompareAges(PodState.Condition(a, "Ready")!.LastTransitionTime, PodState.Condition(b, "Ready")!.LastTransitionTime, a, b, now);
            if (order != 0) return order;
        }
        var (regularA, sidecarA) = PodState.MaxRestarts(a);
        var (regularB, sidecarB) = PodState.MaxRestarts(b);
        order = regularB.CompareTo(regularA);
        if (order != 0) return order;
        order = sidecarB.CompareTo(sidecarA);
        return order != 0 ? order : CompareAges(a.Metadata.CreationTimestamp, b.Metadata.CreationTimestamp, a, b, now);
    }

    // Ages are compared by their order of magnitude, so that old pods are not always the ones that stay; within one it is by uid, which is random.
    private static int CompareAges(DateTime? a, DateTime? b, V1Pod podA, V1Pod podB, DateTime now)
    {
        if (a == b) return 0;
        if (a is null || b is null) return a is null ? -1 : 1;
        var order = Magnitude(now - a.Value).CompareTo(Magnitude(now - b.Value));
        return order != 0 ? order : string.CompareOrdinal(podA.Metadata.Uid, podB.Metadata.Uid);
    }

    private static long Magnitude(TimeSpan age) => age <= TimeSpan.Zero ? -1 : (long)Math.Log2(Math.Max(1, age.Ticks * 100.0));

    private static bool IsAssigned(V1Pod pod) => !string.IsNullOrEmpty(pod.Spec?.NodeName);

    private static int PhaseRank(V1Pod pod) => pod.Status?.Phase switch
    {
        null or "" or "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };

    private static int Siblings(V1Pod pod, IReadOnlyDictionary<string, int> siblings) =>
        siblings.GetValueOrDefault(pod.Spec?.NodeName ?? "");

    private static int DeletionCost(V1Pod pod) =>
        pod.Metadata.Annotations is { } annotations
        && annotations.TryGetValue(DeletionCostAnnotation, out var text)
        && int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var cost)
            ? cost
            : 0;
}
