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
    private readonly Dictionary<string, Node> _nodes = [];

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
            if (!_nodes.TryGetValue(value.Uid, out var node))
            {
                _nodes[value.Uid] = node = new Node(value.Uid);
                node.Identify(resource, value.Namespace, value.Name);
            }
            else if (node.IsVirtual)
            {
                // What a child said about it may have been wrong: those who said otherwise have no such owner.
                if (!node.IsAt(resource.Group, resource.Kind, resource.IsNamespaced ? value.Namespace : "", value.Name))
                {
                    foreach (var dependent in node.Dependents) listener.MayDelete(dependent.Uid);
                }
                node.Identify(resource, value.Namespace, value.Name);
            }
            var wasDeleting = node.DeletesDependents;
            node.IsVirtual = false;
            node.IsBeingDeleted = value.IsBeingDeleted;
            node.DeletesDependents = value.DeletesDependents;
            SetOwnersLocked(node, value.OwnerReferences ?? []);
            if (value.OrphansDependents) listener.MustOrphan(node.Uid);
            if (!node.DeletesDependents || wasDeleting) return;
            // From now on its dependents go first.
            foreach (var dependent in node.Dependents) listener.MayDelete(dependent.Uid);
            listener.MayDelete(node.Uid);
        }
    }

    /// <summary>An object is gone (or the server says that it never was there).</summary>
    internal void Remove(string uid)
    {
        lock (_gate)
        {
            if (!_nodes.Remove(uid, out var node)) return;
            foreach (var owner in node.Owners)
            {
                if (!_nodes.TryGetValue(owner.Uid, out var parent)) continue;
                parent.RemoveDependent(node);
                if (parent.DeletesDependents) listener.MayDelete(parent.Uid);
                else if (parent.IsVirtual && parent.Dependents.Count == 0) _nodes.Remove(parent.Uid);
            }
            foreach (var dependent in node.Dependents) listener.MayDelete(dependent.Uid);
        }
    }

    /// <summary>The uids of a resource that are known, to find those that a new list no longer has.</summary>
    internal List<string> UidsOf(DiscoveredResource resource)
    {
        lock (_gate) return [.. _nodes.Values.Where(node => !node.IsVirtual && node.Resource == resource).Select(static node => node.Uid)];
    }

    /// <summary>A copy of what is known of an object, or null.</summary>
    internal GraphView? Find(string uid)
    {
        lock (_gate)
        {
            if (!_nodes.TryGetValue(uid, out var node)) return null;
            var dependents = node.Dependents.Select(dependent => new GraphDependent(
                dependent.Uid, dependent.DeletesDependents, dependent.Owners.Any(owner => owner.Uid == uid && owner.BlockOwnerDeletion == true))).ToList();
            return new GraphView(uid, node.Group, node.Kind, node.Namespace, node.Name, node.IsVirtual, node.IsBeingDeleted, node.DeletesDependents, dependents);
        }
    }

    private void SetOwnersLocked(Node node, IList<V1OwnerReference> owners)
    {
        foreach (var old in node.Owners)
        {
            var now = owners.FirstOrDefault(owner => owner.Uid == old.Uid);
            if (!_nodes.TryGetValue(old.Uid, out var parent)) continue;
            if (now is null)
            {
                parent.RemoveDependent(node);
                if (parent.IsVirtual && parent.Dependents.Count == 0) _nodes.Remove(parent.Uid);
            }
            // An owner that waited for this one need not any more.
            if (old.BlockOwnerDeletion == true && now?.BlockOwnerDeletion != true && parent.DeletesDependents) listener.MayDelete(parent.Uid);
        }
        var isChanged = !node.Owners.Select(static owner => owner.Uid).SequenceEqual(owners.Select(static owner => owner.Uid));
        node.Owners = owners.Count == 0 ? [] : [.. owners];
        if (!isChanged) return;
        var hasNewOwnerThatGoes = false;
        foreach (var owner in owners)
        {
            if (!_nodes.TryGetValue(owner.Uid, out var parent))
            {
                _nodes[owner.Uid] = parent = new Node(owner.Uid) { IsVirtual = true };
                parent.Identify(owner, node.Namespace);
                // Asked of the server whether there is one.
                listener.MayDelete(owner.Uid);
            }
            else if (!parent.IsVirtual && !parent.IsAt(GroupOf(owner.ApiVersion), owner.Kind, parent.Namespace.Length == 0 ? "" : node.Namespace, owner.Name))
            {
                // The uid is right and the rest is not: there is no such owner.
                listener.MayDelete(node.Uid);
            }
            parent.AddDependent(node);
            hasNewOwnerThatGoes |= parent.DeletesDependents;
        }
        if (hasNewOwnerThatGoes) listener.MayDelete(node.Uid);
    }

    private static string GroupOf(string apiVersion) => apiVersion.Contains('/') ? apiVersion[..apiVersion.IndexOf('/')] : "";

    private sealed class Node(string uid)
    {
        private static readonly IReadOnlyCollection<Node> s_none = [];

        private HashSet<Node>? _dependents;

        internal string Uid { get; } = uid;

        internal DiscoveredResource? Resource { get; private set; }

        internal string Group { get; private set; } = "";

        internal string Kind { get; private set; } = "";

        internal string Namespace { get; private set; } = "";

        internal string Name { get; private set; } = "";

        internal bool IsVirtual { get; set; }

        internal bool IsBeingDeleted { get; set; }

        internal bool DeletesDependents { get; set; }

        internal IReadOnlyList<V1OwnerReference> Owners { get; set; } = [];

        // Most objects own nothing.
        internal IReadOnlyCollection<Node> Dependents => _dependents ?? s_none;

        internal void AddDependent(Node node) => (_dependents ??= []).Add(node);

        internal void RemoveDependent(Node node)
        {
            if (_dependents is null || !_dependents.Remove(node) || _dependents.Count > 0) return;
            _dependents = null;
        }

        internal void Identify(DiscoveredResource resource, string namespaceName, string name) =>
            (Resource, Group, Kind, Namespace, Name) = (resource, resource.Group, resource.Kind, namespaceName, name);

        internal void Identify(V1OwnerReference reference, string namespaceName) =>
            (Group, Kind, Namespace, Name) = (GroupOf(reference.ApiVersion), reference.Kind, namespaceName, reference.Name);

        internal bool IsAt(string group, string kind, string namespaceName, string name) =>
            Group == group && Kind == kind && Name == name && (Namespace == namespaceName || namespaceName.Length == 0);
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
