using System.Diagnostics.CodeAnalysis;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>What the graph asks to be looked at.</summary>
internal interface IGraphListener
{
    /// <summary>The object may have to go: its owners changed or went, or it waits for its dependents.</summary>
    void MayDelete(string uid);

    /// <summary>The object is being deleted and its dependents are to be left without it.</summary>
    void MustOrphan(string uid);
}

/// <summary>
/// Who owns whom, by uid. An owner that is named but was never seen is a virtual node until the server says whether it exists. Any thread;
/// the listener is called under the lock and must only queue.
/// </summary>
internal sealed class OwnerGraph(IGraphListener listener)
{
    // Guarded by _gate
    private readonly Lock _gate = new();
    private readonly HashSet<Node> _nodes = new(UidComparer.Instance);
    private readonly Dictionary<DiscoveredResource, NodeKind> _kinds = [];
    private readonly Dictionary<string, string> _namespaces = [];
    private NodeKind? _lastKind;

    /// <summary>Objects known, virtual ones included.</summary>
    internal int Count
    {
        get
        {
            lock (_gate) return _nodes.Count;
        }
    }

    /// <summary>An object was seen for the first time or in a new state.</summary>
    internal void Set(DiscoveredResource resource, GraphMetadata value)
    {
        lock (_gate)
        {
            var uid = new ObjectUid(value.Uid);
            if (!TryFindLocked(uid, out var node))
            {
                _nodes.Add(node = new Node(uid));
                node.Identify(KindLocked(resource), NamespaceLocked(value.Namespace), value.Name);
            }
            else if (node.IsVirtual)
            {
                // What a child said about it may have been wrong: those who said otherwise have no such owner.
                if (!node.IsAt(resource.Group, resource.Kind, resource.IsNamespaced ? value.Namespace : "", value.Name))
                {
                    foreach (var dependent in node.Dependents) listener.MayDelete(dependent.Uid.ToString());
                }
                node.Identify(KindLocked(resource), NamespaceLocked(value.Namespace), value.Name);
            }
            var wasDeleting = node.DeletesDependents;
            node.IsVirtual = false;
            node.IsBeingDeleted = value.IsBeingDeleted;
            node.DeletesDependents = value.DeletesDependents;
            SetOwnersLocked(node, value.OwnerReferences ?? []);
            if (value.OrphansDependents) listener.MustOrphan(value.Uid);
            if (!node.DeletesDependents || wasDeleting) return;
            // From now on its dependents go first.
            foreach (var dependent in node.Dependents) listener.MayDelete(dependent.Uid.ToString());
            listener.MayDelete(value.Uid);
        }
    }

    /// <summary>An object is gone (or the server says that it never was there).</summary>
    internal void Remove(string uid)
    {
        lock (_gate)
        {
            if (!TryFindLocked(new ObjectUid(uid), out var node)) return;
            _nodes.Remove(node);
            foreach (var owner in node.Owners)
            {
                if (!TryFindLocked(owner.Uid, out var parent)) continue;
                parent.RemoveDependent(node);
                if (parent.DeletesDependents) listener.MayDelete(parent.Uid.ToString());
                else if (parent.IsVirtual && parent.Dependents.Count == 0) _nodes.Remove(parent);
            }
            foreach (var dependent in node.Dependents) listener.MayDelete(dependent.Uid.ToString());
        }
    }

    /// <summary>The uids of a resource that are known, to find those that a new list no longer has.</summary>
    internal List<string> UidsOf(DiscoveredResource resource)
    {
        lock (_gate) return [.. _nodes.Where(node => !node.IsVirtual && node.Kind.Resource == resource).Select(static node => node.Uid.ToString())];
    }

    /// <summary>A copy of what is known of an object, or null.</summary>
    internal GraphView? Find(string uid)
    {
        lock (_gate)
        {
            if (!TryFindLocked(new ObjectUid(uid), out var node)) return null;
            var dependents = node.Dependents.Select(dependent => new GraphDependent(
                dependent.Uid.ToString(), dependent.DeletesDependents, dependent.Owners.Any(owner => owner.Uid == node.Uid && owner.IsBlocked))).ToList();
            return new GraphView(uid, node.Kind.Group, node.Kind.Kind, node.Namespace, node.Name, node.IsVirtual, node.IsBeingDeleted, node.DeletesDependents, dependents);
        }
    }

    private void SetOwnersLocked(Node node, IList<V1OwnerReference> owners)
    {
        // Most objects have no owner and never had one.
        if (owners.Count == 0 && node.Owners.Length == 0) return;
        OwnerEdge[] edges = owners.Count == 0 ? [] : [.. owners.Select(static owner => new OwnerEdge(new ObjectUid(owner.Uid), owner.BlockOwnerDeletion == true))];
        foreach (var old in node.Owners)
        {
            if (!TryFindLocked(old.Uid, out var parent)) continue;
            var now = Array.FindIndex(edges, edge => edge.Uid == old.Uid);
            if (now < 0)
            {
                parent.RemoveDependent(node);
                if (parent.IsVirtual && parent.Dependents.Count == 0) _nodes.Remove(parent);
            }
            // An owner that waited for this one need not any more.
            if (old.IsBlocked && (now < 0 || !edges[now].IsBlocked) && parent.DeletesDependents) listener.MayDelete(parent.Uid.ToString());
        }
        var isChanged = !node.Owners.Select(static owner => owner.Uid).SequenceEqual(edges.Select(static owner => owner.Uid));
        node.Owners = edges;
        if (!isChanged) return;
        var hasNewOwnerThatGoes = false;
        foreach (var owner in owners)
        {
            var uid = new ObjectUid(owner.Uid);
            if (!TryFindLocked(uid, out var parent))
            {
                _nodes.Add(parent = new Node(uid) { IsVirtual = true });
                parent.Identify(new NodeKind(GroupOf(owner.ApiVersion), owner.Kind, null), node.Namespace, owner.Name);
                // Asked of the server whether there is one.
                listener.MayDelete(owner.Uid);
            }
            else if (!parent.IsVirtual && !parent.IsAt(GroupOf(owner.ApiVersion), owner.Kind, parent.Namespace.Length == 0 ? "" : node.Namespace, owner.Name))
            {
                // The uid is right and the rest is not: there is no such owner.
                listener.MayDelete(node.Uid.ToString());
            }
            parent.AddDependent(node);
            hasNewOwnerThatGoes |= parent.DeletesDependents;
        }
        if (hasNewOwnerThatGoes) listener.MayDelete(node.Uid.ToString());
    }

    private bool TryFindLocked(ObjectUid uid, [NotNullWhen(true)] out Node? node) => _nodes.GetAlternateLookup<ObjectUid>().TryGetValue(uid, out node);

    private NodeKind KindLocked(DiscoveredResource resource)
    {
        // They come by resource.
        if (ReferenceEquals(_lastKind?.Resource, resource)) return _lastKind!;
        if (!_kinds.TryGetValue(resource, out var kind)) _kinds.Add(resource, kind = new NodeKind(resource.Group, resource.Kind, resource));
        return _lastKind = kind;
    }

    // A namespace's name is the same string in all nodes.
    private string NamespaceLocked(string name)
    {
        if (_namespaces.TryGetValue(name, out var known)) return known;
        _namespaces.Add(name, name);
        return name;
    }

    private static string GroupOf(string apiVersion) => apiVersion.Contains('/') ? apiVersion[..apiVersion.IndexOf('/')] : "";

    /// <summary>What nodes of one resource have in common. The resource of an owner that was never seen is not known.</summary>
    private sealed record NodeKind(string Group, string Kind, DiscoveredResource? Resource);

    /// <summary>An owner, and whether it has to wait for this one when it goes in the foreground.</summary>
    private readonly record struct OwnerEdge(ObjectUid Uid, bool IsBlocked);

    // One for each object of the cluster: it holds no string that others of its kind could share.
    private sealed class Node(ObjectUid uid)
    {
        private static readonly IReadOnlyCollection<Node> s_none = [];
        private static readonly NodeKind s_unknown = new("", "", null);

        private HashSet<Node>? _dependents;

        internal ObjectUid Uid { get; } = uid;

        internal NodeKind Kind { get; private set; } = s_unknown;

        internal string Namespace { get; private set; } = "";

        internal string Name { get; private set; } = "";

        internal bool IsVirtual { get; set; }

        internal bool IsBeingDeleted { get; set; }

        internal bool DeletesDependents { get; set; }

        internal OwnerEdge[] Owners { get; set; } = [];

        // Most objects own nothing.
        internal IReadOnlyCollection<Node> Dependents => _dependents ?? s_none;

        internal void AddDependent(Node node) => (_dependents ??= []).Add(node);

        internal void RemoveDependent(Node node)
        {
            if (_dependents is null || !_dependents.Remove(node) || _dependents.Count > 0) return;
            _dependents = null;
        }

        internal void Identify(NodeKind kind, string namespaceName, string name) => (Kind, Namespace, Name) = (kind, namespaceName, name);

        internal bool IsAt(string group, string kind, string namespaceName, string name) =>
            Kind.Group == group && Kind.Kind == kind && Name == name && (Namespace == namespaceName || namespaceName.Length == 0);
    }

    private sealed class UidComparer : IEqualityComparer<Node>, IAlternateEqualityComparer<ObjectUid, Node>
    {
        internal static readonly UidComparer Instance = new();

        public bool Equals(Node? x, Node? y) => x?.Uid == y?.Uid;

        public int GetHashCode(Node obj) => obj.Uid.GetHashCode();

        public bool Equals(ObjectUid alternate, Node other) => other.Uid == alternate;

        public int GetHashCode(ObjectUid alternate) => alternate.GetHashCode();

        public Node Create(ObjectUid alternate) => throw new NotSupportedException("a uid alone is no object");
    }
}

/// <summary>A node as it was at one moment.</summary>
internal sealed record GraphView(
    string Uid,
    string Group,
    string Kind,
    string Namespace,
    string Name,
    bool IsVirtual,
    bool IsBeingDeleted,
    bool DeletesDependents,
    IReadOnlyList<GraphDependent> Dependents);

/// <summary>A dependent as it was at one moment.</summary>
internal sealed record GraphDependent(string Uid, bool DeletesDependents, bool BlocksOwner);
