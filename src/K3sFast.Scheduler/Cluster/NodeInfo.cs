using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>A node, the pods on it (assumed ones too) and their sums. Owned by the scheduling loop.</summary>
internal sealed class NodeInfo
{
    private readonly Dictionary<string, long> _images = [];

    internal NodeInfo(V1Node node)
    {
        Node = node;
        Allocatable = new ResourceAmounts();
        Update(node);
    }

    internal V1Node Node { get; private set; }

    internal string Name => Node.Metadata.Name;

    internal ResourceAmounts Allocatable { get; private set; }

    internal long AllowedPods { get; private set; }

    internal ResourceAmounts Requested { get; } = new();

    internal ResourceAmounts ScoreRequested { get; } = new();

    internal List<PodInfo> Pods { get; } = [];

    /// <summary>Those of <see cref="Pods"/> with any affinity term.</summary>
    internal List<PodInfo> PodsWithAffinity { get; } = [];

    /// <summary>Those of <see cref="Pods"/> with required anti-affinity.</summary>
    internal List<PodInfo> PodsWithAntiAffinity { get; } = [];

    internal List<HostPort> UsedPorts { get; } = [];

    /// <summary>Sizes of the images that are there, by name.</summary>
    internal IReadOnlyDictionary<string, long> Images => _images;

    internal string? Label(string key) => Node.Metadata.Labels is { } labels && labels.TryGetValue(key, out var value) ? value : null;

    internal void Update(V1Node node)
    {
        Node = node;
        Allocatable = ResourceAmounts.Of(node.Status?.Allocatable);
        AllowedPods = node.Status?.Allocatable is { } allocatable && allocatable.TryGetValue("pods", out var pods) ? pods.ToInt64() : 0;
        _images.Clear();
        foreach (var image in node.Status?.Images ?? [])
        {
            foreach (var name in image.Names ?? []) _images[name] = image.SizeBytes ?? 0;
        }
    }

    internal void Add(PodInfo pod)
    {
        Pods.Add(pod);
        if (pod.HasAffinity) PodsWithAffinity.Add(pod);
        if (pod.RequiredAntiAffinity.Length > 0) PodsWithAntiAffinity.Add(pod);
        UsedPorts.AddRange(pod.HostPorts);
        Requested.Add(pod.Requests);
        ScoreRequested.Add(pod.ScoreRequests);
    }

    /// <summary>Takes out the very instance that was added; false when it is not here.</summary>
    internal bool Remove(PodInfo pod)
    {
        if (!Pods.Remove(pod)) return false;
        if (pod.HasAffinity) PodsWithAffinity.Remove(pod);
        if (pod.RequiredAntiAffinity.Length > 0) PodsWithAntiAffinity.Remove(pod);
        foreach (var port in pod.HostPorts) UsedPorts.Remove(port);
        Requested.Add(pod.Requests, -1);
        ScoreRequested.Add(pod.ScoreRequests, -1);
        return true;
    }
}
