using System.Runtime.InteropServices;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>
/// Which objects are related to which nodes: a pod to its node, and through it what the pod uses; volumes and their secrets through claims; attachments, resource
/// slices and pod certificate requests by the node that they name.
/// </summary>
/// <remarks>
/// Any thread. It follows the caches by cursors that are read at each question, so it is never behind and costs nothing while no node asks.
/// </remarks>
internal sealed class NodeGraph(ResourceCatalog catalog)
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly Source[] _sources = MakeSources(catalog);
    private readonly Dictionary<Vertex, Dictionary<string, int>> _nodes = [];
    private readonly Dictionary<string, Contribution> _contributions = [];
    private readonly Dictionary<Vertex, Vertex> _claimOfVolume = [];
    private readonly Dictionary<Vertex, HashSet<Vertex>> _volumesOfSecret = [];
    private readonly WatchEvent[] _events = new WatchEvent[64];

    /// <summary>The kinds of objects that a node may be related to.</summary>
    internal enum Kind : byte { Pod, Secret, ConfigMap, Claim, Volume, ServiceAccount, ResourceClaim, Attachment, Slice, PodCertificate }

    /// <summary>True if a way leads from the object to the node.</summary>
    internal bool IsRelated(string node, Kind kind, ReadOnlySpan<byte> ns, ReadOnlySpan<byte> name)
    {
        var vertex = new Vertex(kind, Encoding.UTF8.GetString(ns), Encoding.UTF8.GetString(name));
        lock (_gate)
        {
            CatchUpLocked();
            if (LeadsToLocked(vertex, node))
                return true;
            switch (kind)
            {
                case Kind.Volume:
                    return _claimOfVolume.TryGetValue(vertex with { Namespace = "" }, out var claim) && LeadsToLocked(claim, node);
                case Kind.Secret when _volumesOfSecret.TryGetValue(vertex, out var volumes):
                    foreach (var volume in volumes)
                    {
                        if (_claimOfVolume.TryGetValue(volume, out var itsClaim) && LeadsToLocked(itsClaim, node))
                            return true;
                    }
                    return false;
                default:
                    return false;
            }
        }
    }

    private bool LeadsToLocked(Vertex vertex, string node) => _nodes.TryGetValue(vertex, out var nodes) && nodes.ContainsKey(node);

    private void CatchUpLocked()
    {
        foreach (var source in _sources)
        {
            var count = -1;
            while (source.Cursor is { } cursor && (count = cursor.Read(_events)) > 0)
            {
                for (var i = 0; i < count; i++)
                    ApplyLocked(source, _events[i].Object, _events[i].Type == WatchEventType.Deleted);
            }
            if (count < 0)
                ReloadLocked(source);
        }
    }

    // The first question, or one after so many changes that the ring forgot some.
    private void ReloadLocked(Source source)
    {
        foreach (var (key, contribution) in _contributions.ToArray())
        {
            if (contribution.Source == source)
                RetractLocked(key);
        }
        source.Cursor?.Dispose();
        using var snapshot = source.Storage.Cache.List();
        foreach (var stored in snapshot)
            ApplyLocked(source, stored, isGone: false);
        source.Cursor = source.Storage.Cache.OpenCursor(snapshot.Revision);
    }

    private void ApplyLocked(Source source, StoredObject stored, bool isGone)
    {
        var key = stored.Key;
        RetractLocked(key);
        if (isGone)
            return;
        using var document = source.Storage.Decode(stored);
        var root = document.Root;
        if (source.Kind == Kind.Volume)
        {
            AddVolumeLocked(source, key, stored.Name(), root["spec"u8]);
            return;
        }
        var node = root["spec"u8]["nodeName"u8].AsString();
        if (node.Length == 0)
            return;
        var vertices = new HashSet<Vertex> { new(source.Kind, stored.Namespace(), stored.Name()) };
        if (source.Kind == Kind.Pod)
            AddUses(root, vertices);
        foreach (var vertex in vertices)
        {
            var nodes = CollectionsMarshal.GetValueRefOrAddDefault(_nodes, vertex, out _) ??= [];
            CollectionsMarshal.GetValueRefOrAddDefault(nodes, node, out _)++;
        }
        _contributions[key] = new Contribution(source, node, [.. vertices]);
    }

    private static void AddUses(ApiNode pod, HashSet<Vertex> vertices)
    {
        // A node makes mirror pods itself: they must never give it anything.
        if (pod["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
            return;
        var ns = ObjectText.NamespaceOf(pod);
        var podName = ObjectText.NameOf(pod);
        var spec = pod["spec"u8];
        void Add(Kind kind, ApiNode name)
        {
            if (!name.Utf8.IsEmpty)
                vertices.Add(new Vertex(kind, ns, name.AsString()));
        }
        Add(Kind.ServiceAccount, spec["serviceAccountName"u8]);
        PodReferences.VisitSecrets(spec, name => Add(Kind.Secret, name));
        PodReferences.VisitConfigMaps(spec, name => Add(Kind.ConfigMap, name));
        foreach (var volume in spec["volumes"u8].Elements)
        {
            Add(Kind.Claim, volume["persistentVolumeClaim"u8]["claimName"u8]);
            if (volume["ephemeral"u8].Kind == NodeKind.Object)
                vertices.Add(new Vertex(Kind.Claim, ns, $"{podName}-{volume["name"u8].AsString()}"));
        }
        foreach (var claim in spec["resourceClaims"u8].Elements)
            Add(Kind.ResourceClaim, claim["resourceClaimName"u8]);
        // Claims made of templates have their names in the status.
        foreach (var claim in pod["status"u8]["resourceClaimStatuses"u8].Elements)
            Add(Kind.ResourceClaim, claim["resourceClaimName"u8]);
        Add(Kind.ResourceClaim, pod["status"u8]["extendedResourceClaimStatus"u8]["resourceClaimName"u8]);
    }

    private void AddVolumeLocked(Source source, string key, string name, ApiNode spec)
    {
        var reference = spec["claimRef"u8];
        if (reference.IsNullOrUndefined)
            return;
        var volume = new Vertex(Kind.Volume, "", name);
        var ns = reference["namespace"u8].AsString();
        _claimOfVolume[volume] = new Vertex(Kind.Claim, ns, reference["name"u8].AsString());
        var secrets = new HashSet<Vertex>();
        foreach (var member in spec.Members)
        {
            foreach (var field in (ReadOnlySpan<string>)["secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"])
            {
                var secret = member.Value[Encoding.UTF8.GetBytes(field)];
                if (!secret["name"u8].Utf8.IsEmpty)
                    secrets.Add(new Vertex(Kind.Secret, secret["namespace"u8] is { Utf8.IsEmpty: false } own ? own.AsString() : ns, secret["name"u8].AsString()));
            }
        }
        var azure = spec["azureFile"u8];
        if (!azure["secretName"u8].Utf8.IsEmpty)
            secrets.Add(new Vertex(Kind.Secret, azure["secretNamespace"u8] is { Utf8.IsEmpty: false } given ? given.AsString() : ns, azure["secretName"u8].AsString()));
        foreach (var secret in secrets)
            (CollectionsMarshal.GetValueRefOrAddDefault(_volumesOfSecret, secret, out _) ??= []).Add(volume);
        _contributions[key] = new Contribution(source, "", [volume, .. secrets]);
    }

    private void RetractLocked(string key)
    {
        if (!_contributions.Remove(key, out var contribution))
            return;
        if (contribution.Source.Kind == Kind.Volume)
        {
            var volume = contribution.Vertices[0];
            _claimOfVolume.Remove(volume);
            foreach (var secret in contribution.Vertices.AsSpan(1))
            {
                if (_volumesOfSecret.TryGetValue(secret, out var volumes) && volumes.Remove(volume) && volumes.Count == 0)
                    _volumesOfSecret.Remove(secret);
            }
            return;
        }
        foreach (var vertex in contribution.Vertices)
        {
            var nodes = _nodes[vertex];
            if (--CollectionsMarshal.GetValueRefOrAddDefault(nodes, contribution.Node, out _) > 0)
                continue;
            nodes.Remove(contribution.Node);
            if (nodes.Count == 0)
                _nodes.Remove(vertex);
        }
    }

    private static Source[] MakeSources(ResourceCatalog catalog)
    {
        var sources = new List<Source>();
        foreach (var (kind, group, resource) in (ReadOnlySpan<(Kind, string, string)>)[
            (Kind.Pod, "", "pods"), (Kind.Volume, "", "persistentvolumes"), (Kind.Attachment, "storage.k8s.io", "volumeattachments"),
            (Kind.Slice, "resource.k8s.io", "resourceslices"), (Kind.PodCertificate, "certificates.k8s.io", "podcertificaterequests")])
        {
            // Some of them are off by default.
            if (catalog.FindStorage(group, resource) is { } storage)
                sources.Add(new Source(kind, storage));
        }
        return [.. sources];
    }

    private readonly record struct Vertex(Kind Kind, string Namespace, string Name);

    private sealed record Contribution(Source Source, string Node, Vertex[] Vertices);

    private sealed class Source(Kind kind, ResourceStorage storage)
    {
        internal Kind Kind { get; } = kind;

        internal ResourceStorage Storage { get; } = storage;

        internal WatchCursor? Cursor { get; set; }
    }
}
