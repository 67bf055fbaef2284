using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>
/// What placed pods have in common, kept once: those of a node its spec, those of a workload its labels, those that began together their status. The
/// newest of what falls into a place is shared; others have parts of their own. One thread at a time.
/// </summary>
internal sealed class PlacedParts
{
    // Of each kind: more nodes and workloads than a small cluster has.
    private const int Places = 1024;

    private readonly V1PodSpec?[] _specs = new V1PodSpec?[Places];
    private readonly V1PodStatus?[] _statuses = new V1PodStatus?[Places];
    private readonly IDictionary<string, string>?[] _labels = new IDictionary<string, string>?[Places];

    internal V1PodSpec Spec(string nodeName, int? priority)
    {
        ref var known = ref _specs[PlaceOf(HashCode.Combine(nodeName, priority))];
        if (known is null || known.NodeName != nodeName || known.Priority != priority) known = new V1PodSpec { NodeName = nodeName, Priority = priority };
        return known;
    }

    /// <summary>The status of a pod that is not leaving.</summary>
    internal V1PodStatus Status(string? phase, DateTime? startTime)
    {
        ref var known = ref _statuses[PlaceOf(HashCode.Combine(phase, startTime))];
        if (known is null || known.Phase != phase || known.StartTime != startTime) known = new V1PodStatus { Phase = phase, StartTime = startTime };
        return known;
    }

    internal IDictionary<string, string>? Labels(IDictionary<string, string>? labels)
    {
        if (labels is null) return null;
        var hash = 0;
        foreach (var label in labels) hash ^= HashCode.Combine(label.Key, label.Value);
        ref var known = ref _labels[PlaceOf(hash)];
        if (known is null || !AreSame(known, labels)) known = labels;
        return known;
    }

    private static int PlaceOf(int hash) => hash & (Places - 1);

    private static bool AreSame(IDictionary<string, string> left, IDictionary<string, string> right)
    {
        if (left.Count != right.Count) return false;
        foreach (var label in left)
        {
            if (!right.TryGetValue(label.Key, out var value) || value != label.Value) return false;
        }
        return true;
    }
}
