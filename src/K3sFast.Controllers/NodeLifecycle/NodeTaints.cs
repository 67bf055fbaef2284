using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Which taints a node's conditions ask for. Pure.</summary>
internal static class NodeTaints
{
    internal const string NotReady = "node.kubernetes.io/not-ready";
    internal const string Unreachable = "node.kubernetes.io/unreachable";
    internal const string OutOfService = "node.kubernetes.io/out-of-service";
    private const string Unschedulable = "node.kubernetes.io/unschedulable";

    private static readonly (string Condition, string Status, string Taint)[] s_byCondition =
    [
        ("Ready", "False", NotReady),
        ("Ready", "Unknown", Unreachable),
        ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
        ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
        ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
        ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ];

    internal static V1NodeCondition? Condition(V1Node node, string type) =>
        node.Status?.Conditions?.FirstOrDefault(condition => condition.Type == type);

    internal static bool IsReady(V1Node node) => Condition(node, "Ready")?.Status == "True";

    /// <summary>
    /// The taints that the node should have, or null when it has them. Others' taints stay. <paramref name="mayEvict"/> false keeps NoExecute
    /// away: when no node at all answers, the fault is more likely here than there.
    /// </summary>
    internal static List<V1Taint>? Wanted(V1Node node, bool mayEvict, DateTime now)
    {
        var wanted = new List<(string Key, string Effect)>();
        foreach (var (type, status, taint) in s_byCondition)
        {
            if (Condition(node, type)?.Status == status) wanted.Add((taint, Tolerations.NoSchedule));
        }
        if (node.Spec?.Unschedulable == true) wanted.Add((Unschedulable, Tolerations.NoSchedule));
        if (mayEvict)
        {
            switch (Condition(node, "Ready")?.Status)
            {
                case "False":
                    wanted.Add((NotReady, Tolerations.NoExecute));
                    break;
                case "Unknown":
                    wanted.Add((Unreachable, Tolerations.NoExecute));
                    break;
            }
        }
        var taints = new List<V1Taint>();
        var isChanged = false;
        foreach (var taint in node.Spec?.Taints ?? [])
        {
            // A node that never told its state keeps what it was registered with.
            if (!IsOurs(taint) || Condition(node, "Ready") is null || wanted.Remove((taint.Key, taint.Effect))) taints.Add(taint);
            else isChanged = true;
        }
        foreach (var (key, effect) in wanted)
        {
            if (taints.Any(taint => taint.Key == key && taint.Effect == effect)) continue;
            taints.Add(new V1Taint { Key = key, Effect = effect, TimeAdded = now });
            isChanged = true;
        }
        return isChanged ? taints : null;
    }

    private static bool IsOurs(V1Taint taint) => taint.Effect switch
    {
        Tolerations.NoExecute => taint.Key is NotReady or Unreachable,
        Tolerations.NoSchedule => taint.Key == Unschedulable || Array.Exists(s_byCondition, known => known.Taint == taint.Key),
        _ => false,
    };
}
