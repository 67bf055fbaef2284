using K3sFast.Client.Selection;

namespace K3sFast.Scheduler;

/// <summary>The emptier the better, CPU and memory counting the same.</summary>
internal sealed class LeastAllocatedScore(int weight) : ScorePlugin(weight)
{
    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes) => true;

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        long sum = 0, resources = 0;
        Count(node.Allocatable.MilliCpu, node.ScoreRequested.MilliCpu + pod.ScoreRequests.MilliCpu);
        Count(node.Allocatable.Memory, node.ScoreRequested.Memory + pod.ScoreRequests.Memory);
        return resources == 0 ? 0 : sum / resources;

        void Count(long has, long asked)
        {
            if (has == 0) return;
            resources++;
            if (asked <= has) sum += (long)((double)(has - asked) * MaxScore / has);
        }
    }
}

/// <summary>The more evenly CPU and memory are used with the pod than without it, the better.</summary>
internal sealed class BalancedAllocationScore(int weight) : ScorePlugin(weight)
{
    // A pod that asks for nothing changes no balance.
    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes) => pod.Requests.MilliCpu > 0 || pod.Requests.Memory > 0;

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        var with = Balance(node, node.Requested.MilliCpu + pod.Requests.MilliCpu, node.Requested.Memory + pod.Requests.Memory);
        var without = Balance(node, node.Requested.MilliCpu, node.Requested.Memory);
        return (MaxScore / 2) + (((MaxScore / 2) + with - without) / 2);
    }

    private static long Balance(NodeInfo node, long cpu, long memory)
    {
        if (node.Allocatable.MilliCpu == 0 || node.Allocatable.Memory == 0) return MaxScore;
        var difference = Math.Min(1.0, (double)cpu / node.Allocatable.MilliCpu) - Math.Min(1.0, (double)memory / node.Allocatable.Memory);
        return (long)((1 - (Math.Abs(difference) / 2)) * MaxScore);
    }
}

/// <summary>The fewer PreferNoSchedule taints that the pod does not tolerate, the better.</summary>
internal sealed class TaintTolerationScore(int weight) : ScorePlugin(weight)
{
    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes)
    {
        foreach (var node in nodes)
        {
            if (Score(pod, node) > 0) return true;
        }
        return false;
    }

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        if (node.Node.Spec?.Taints is not { Count: > 0 } taints) return 0;
        long count = 0;
        foreach (var taint in taints)
        {
            if (taint.Effect == Tolerations.PreferNoSchedule && !Tolerations.Tolerates(pod.Pod.Spec.Tolerations, taint)) count++;
        }
        return count;
    }

    internal override void Normalize(List<NodeInfo> nodes, Span<long> scores) => Stretch(scores, isReversed: true);
}

/// <summary>Preferred node affinity: the sum of the weights of the terms that match.</summary>
internal sealed class NodeAffinityScore(int weight) : ScorePlugin(weight)
{
    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes) =>
        pod.Pod.Spec.Affinity?.NodeAffinity?.PreferredDuringSchedulingIgnoredDuringExecution is { Count: > 0 };

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        long sum = 0;
        foreach (var term in pod.Pod.Spec.Affinity.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
        {
            if (NodeMatcher.Matches(term.Preference, node.Node)) sum += term.Weight;
        }
        return sum;
    }

    internal override void Normalize(List<NodeInfo> nodes, Span<long> scores) => Stretch(scores, isReversed: false);
}

/// <summary>
/// Nodes that have the pod's images already, by size, and less so where an image is on few nodes only: else all pods of a kind would go there.
/// </summary>
internal sealed class ImageLocalityScore(int weight) : ScorePlugin(weight)
{
    // Sizes below and above these make no difference (upstream's thresholds).
    private const long MinSize = 23 * 1024 * 1024;
    private const long MaxSizePerContainer = 1000L * 1024 * 1024;

    private ClusterState _state = null!;

    internal override bool Begin(PodInfo pod, ClusterState state, List<NodeInfo> nodes)
    {
        _state = state;
        return true;
    }

    internal override long Score(PodInfo pod, NodeInfo node)
    {
        if (node.Images.Count == 0) return 0;
        long sum = 0;
        var containers = 0;
        foreach (var container in pod.Pod.Spec.InitContainers ?? []) Add(container.Image);
        foreach (var container in pod.Pod.Spec.Containers ?? []) Add(container.Image);
        var max = MaxSizePerContainer * containers;
        return max <= MinSize ? 0 : MaxScore * (Math.Clamp(sum, MinSize, max) - MinSize) / (max - MinSize);

        void Add(string? image)
        {
            containers++;
            if (string.IsNullOrEmpty(image)) return;
            // An image without a tag is the latest.
            var name = image.LastIndexOf(':') <= image.LastIndexOf('/') ? image + ":latest" : image;
            if (node.Images.TryGetValue(name, out var size)) sum += (long)((double)size * _state.ImageNodes(name) / _state.Nodes.Count);
        }
    }
}
