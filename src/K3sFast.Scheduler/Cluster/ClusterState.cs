using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>
/// The cluster as the scheduler sees it: nodes with their pods, those included that it has placed and whose binding it has not seen yet.
/// Owned by the scheduling loop; there is no snapshot to copy because nobody else writes.
/// </summary>
internal sealed class ClusterState
{
    private readonly Dictionary<string, NodeInfo> _byName = [];
    private readonly HashSet<PodInfo> _placed = new(UidComparer.Instance);
    private readonly HashSet<PodInfo>.AlternateLookup<ObjectUid> _placedByUid;
    private readonly Dictionary<string, List<PodInfo>> _homeless = [];
    private readonly Dictionary<string, int> _imageNodes = [];
    private readonly Dictionary<ObjectUid, (PodInfo Pod, string Node)> _nominated = [];

    internal ClusterState() => _placedByUid = _placed.GetAlternateLookup<ObjectUid>();

    /// <summary>All nodes, in the order they came.</summary>
    internal List<NodeInfo> Nodes { get; } = [];

    /// <summary>Pods on nodes.</summary>
    internal int PlacedPods => _placed.Count;

    /// <summary>Placed pods with required anti-affinity anywhere: while there are none, nobody needs to look for them.</summary>
    internal int PodsWithAntiAffinity { get; private set; }

    /// <summary>Placed pods with any affinity.</summary>
    internal int PodsWithAffinity { get; private set; }

    internal NodeInfo? Find(string? name) => name is null ? null : _byName.GetValueOrDefault(name);

    internal PodInfo? FindPlaced(ObjectUid uid) => _placedByUid.TryGetValue(uid, out var placed) ? placed : null;

    internal void SetNode(V1Node node)
    {
        if (_byName.TryGetValue(node.Metadata.Name, out var known))
        {
            CountImages(known, -1);
            known.Update(node);
            CountImages(known, 1);
            return;
        }
        var added = new NodeInfo(node);
        _byName[added.Name] = added;
        Nodes.Add(added);
        CountImages(added, 1);
        // Pods may be heard of before their node.
        if (_homeless.Remove(added.Name, out var waiting)) waiting.ForEach(added.Add);
    }

    internal void RemoveNode(string name)
    {
        if (!_byName.Remove(name, out var node)) return;
        Nodes.Remove(node);
        CountImages(node, -1);
        if (node.Pods.Count > 0) _homeless[name] = [.. node.Pods];
    }

    /// <summary>Puts a pod on a node, in place of an earlier state of it.</summary>
    internal void Place(PodInfo pod, string node)
    {
        Remove(pod.Uid);
        var info = Find(node);
        // The node's own string: each pod came with another.
        pod.Node = info?.Name ?? node;
        _placed.Add(pod);
        Count(pod, 1);
        if (info is not null) info.Add(pod);
        else if (_homeless.TryGetValue(node, out var waiting)) waiting.Add(pod);
        else _homeless[node] = [pod];
    }

    /// <summary>Takes a pod off its node; false when it was on none.</summary>
    internal bool Remove(ObjectUid uid)
    {
        if (FindPlaced(uid) is not { Node: { } node } placed) return false;
        _placed.Remove(placed);
        placed.Node = null;
        Count(placed, -1);
        if (Find(node) is { } info) info.Remove(placed);
        else if (_homeless.TryGetValue(node, out var waiting) && waiting.Remove(placed) && waiting.Count == 0) _homeless.Remove(node);
        return true;
    }

    /// <summary>Remembers that a pod waits for victims to leave a node, so that nobody of lesser priority takes the room.</summary>
    internal void Nominate(PodInfo pod, string node) => _nominated[pod.Uid] = (pod, node);

    internal void RemoveNomination(ObjectUid uid) => _nominated.Remove(uid);

    internal bool HasNominations => _nominated.Count > 0;

    /// <summary>Nominated pods for a node that go before one of <paramref name="priority"/>.</summary>
    internal List<PodInfo> NominatedBefore(string node, int priority, ObjectUid uid)
    {
        var found = new List<PodInfo>();
        foreach (var (pod, target) in _nominated.Values)
        {
            if (target == node && pod.Priority >= priority && pod.Uid != uid) found.Add(pod);
        }
        return found;
    }

    /// <summary>Nominated pods for a node that are of lesser priority than <paramref name="priority"/>.</summary>
    internal List<PodInfo> NominatedBelow(string node, int priority)
    {
        var found = new List<PodInfo>();
        foreach (var (pod, target) in _nominated.Values)
        {
            if (target == node && pod.Priority < priority) found.Add(pod);
        }
        return found;
    }

    /// <summary>On how many nodes an image is.</summary>
    internal int ImageNodes(string image) => _imageNodes.GetValueOrDefault(image);

    private void Count(PodInfo pod, int sign)
    {
        if (pod.RequiredAntiAffinity.Length > 0) PodsWithAntiAffinity += sign;
        if (pod.HasAffinity) PodsWithAffinity += sign;
    }

    private void CountImages(NodeInfo node, int sign)
    {
        foreach (var image in node.Images.Keys)
        {
            var count = _imageNodes.GetValueOrDefault(image) + sign;
            if (count == 0) _imageNodes.Remove(image);
            else _imageNodes[image] = count;
        }
    }

    /// <summary>Placed pods are known by their uid.</summary>
    private sealed class UidComparer : IEqualityComparer<PodInfo>, IAlternateEqualityComparer<ObjectUid, PodInfo>
    {
        internal static readonly UidComparer Instance = new();

        public bool Equals(PodInfo? x, PodInfo? y) => x?.Uid == y?.Uid;

        public int GetHashCode(PodInfo obj) => obj.Uid.GetHashCode();

        public bool Equals(ObjectUid alternate, PodInfo other) => other.Uid == alternate;

        public int GetHashCode(ObjectUid alternate) => alternate.GetHashCode();

        public PodInfo Create(ObjectUid alternate) => throw new NotSupportedException("a uid alone is no pod");
    }
}
