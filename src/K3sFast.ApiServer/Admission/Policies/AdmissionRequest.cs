using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// A request as policies see it: in the version in which it came, or in another one that a rule names; with the namespace's object, and the AdmissionRequest
/// that expressions read. Lives for one request; made when the first policy is asked.
/// </summary>
internal sealed class AdmissionRequest : IDisposable
{
    private readonly AdmissionContext _context;
    private readonly ResourceCatalog _catalog;
    private readonly ResourceStorage _namespaces;
    private readonly Dictionary<ResourceInfo, Versioned> _versions = [];
    private readonly List<ApiObject> _documents = [];
    private ApiNode? _namespaceObject;
    private ResourceInfo[]? _equivalents;

    internal AdmissionRequest(AdmissionContext context, ResourceCatalog catalog, ResourceStorage namespaces)
    {
        _context = context;
        _catalog = catalog;
        _namespaces = namespaces;
        Resource = context.Call?.Served is { } served && served.EtcdPrefix == context.Resource.EtcdPrefix && served.Resource == context.Resource.Resource ? served : context.Resource;
        IsNamespaceObject = context.Is("", "namespaces");
        Namespace = IsNamespaceObject ? Name : context.Namespace;
    }

    /// <summary>The resource in the version of the request.</summary>
    internal ResourceInfo Resource { get; }

    internal string Subresource => _context.Subresource;

    internal string Name => _context.Name;

    /// <summary>The namespace; of a request for a namespace its name, as upstream has it.</summary>
    internal string Namespace { get; }

    internal bool IsNamespaceObject { get; }

    internal UserInfo User => _context.User;

    internal string Operation => _context.Operation switch
    {
        AdmissionOperation.Create => "CREATE",
        AdmissionOperation.Update => "UPDATE",
        AdmissionOperation.Delete => "DELETE",
        _ => "CONNECT",
    };

    internal ApiNode Object => _context.Object;

    internal ApiNode OldObject => _context.OldObject;

    /// <summary>The same resource in its other versions and groups.</summary>
    internal ReadOnlySpan<ResourceInfo> Equivalents => _equivalents ??= Resource.EtcdPrefix.Length == 0 ? [] :
        [.. _catalog.Endpoints.Select(static endpoint => endpoint.Info).Where(other => other.EtcdPrefix == Resource.EtcdPrefix && !ReferenceEquals(other, Resource))];

    /// <summary>The namespace that the request is in.</summary>
    /// <exception cref="ApiStatusException">It is not there.</exception>
    internal ApiNode NamespaceObject
    {
        get
        {
            if (_namespaceObject is { } known)
                return known;
            using var stored = _namespaces.Get("", Namespace) ?? throw ApiStatus.NotFound("", "namespaces", Namespace).ToException();
            var document = _namespaces.Decode(stored);
            _documents.Add(document);
            _namespaceObject = document.Root;
            return document.Root;
        }
    }

    /// <summary>Forgets the forms of an object that was changed.</summary>
    internal void ObjectChanged() => _versions.Clear();

    /// <summary>The request's variables in a version.</summary>
    internal Versioned In(ResourceInfo version)
    {
        if (!_versions.TryGetValue(version, out var form))
            _versions[version] = form = new Versioned(
                CelJson.Of(Converted(_context.Object, version)), CelJson.Of(Converted(_context.OldObject, version)), CelJson.Of(Describe(version)),
                IsNamespaceObject || Namespace.Length == 0 ? CelValue.Null : CelJson.Of(ShownNamespace()));
        return form;
    }

    /// <summary>An object of the request in another version of the resource; the object itself when it has that version or a kind of its own.</summary>
    internal ApiNode Converted(ApiNode obj, ResourceInfo version)
    {
        if (!obj.IsDefined || !ReferenceEquals(_context.Kind, _context.Resource.Type) || ReferenceEquals(version, _context.Resource))
            return obj;
        var copy = new ApiObject();
        copy.ReplaceRoot(obj);
        _documents.Add(copy);
        VersionConversion.Convert(copy.Root, _context.Resource, version);
        return copy.Root;
    }

    public void Dispose()
    {
        foreach (var document in _documents)
            document.Dispose();
    }

    private ApiNode ShownNamespace()
    {
        var document = new ApiObject();
        _documents.Add(document);
        foreach (var member in NamespaceObject.Members)
        {
            if (!member.Name.SequenceEqual("metadata"u8))
                document.Root.Set(member.Name, member.Value);
        }
        document.Root.Remove("kind"u8);
        document.Root.Remove("apiVersion"u8);
        var metadata = document.Root.GetOrAddObject("metadata"u8);
        foreach (var member in NamespaceObject["metadata"u8].Members)
        {
            if (!member.Name.SequenceEqual("managedFields"u8) && !member.Name.SequenceEqual("ownerReferences"u8))
                metadata.Set(member.Name, member.Value);
        }
        return document.Root;
    }

    // admission.k8s.io/v1 AdmissionRequest without the objects, which expressions have as variables.
    private ApiNode Describe(ResourceInfo version)
    {
        var document = new ApiObject();
        _documents.Add(document);
        var root = document.Root;
        root.Set("uid"u8, "");
        Kind(root.GetOrAddObject("kind"u8), version);
        ResourceOf(root.GetOrAddObject("resource"u8), version);
        if (Subresource.Length > 0)
            root.Set("subResource"u8, Subresource);
        Kind(root.GetOrAddObject("requestKind"u8), Resource);
        ResourceOf(root.GetOrAddObject("requestResource"u8), Resource);
        if (Subresource.Length > 0)
            root.Set("requestSubResource"u8, Subresource);
        if (Name.Length > 0)
            root.Set("name"u8, Name);
        if (Namespace.Length > 0)
            root.Set("namespace"u8, Namespace);
        root.Set("operation"u8, Operation);
        WriteUser(root.GetOrAddObject("userInfo"u8));
        root.Set("dryRun"u8, _context.IsDryRun);
        WriteOptions(root.GetOrAddObject("options"u8));
        return root;
    }

    private void Kind(ApiNode kind, ResourceInfo resource)
    {
        var isOwn = ReferenceEquals(_context.Kind, _context.Resource.Type);
        kind.Set("group"u8, isOwn ? resource.Group : _context.Kind.Group);
        kind.Set("version"u8, isOwn ? resource.Version : _context.Kind.Version);
        kind.Set("kind"u8, isOwn ? resource.Kind : _context.Kind.Kind);
    }

    private static void ResourceOf(ApiNode node, ResourceInfo resource)
    {
        node.Set("group"u8, resource.Group);
        node.Set("version"u8, resource.Version);
        node.Set("resource"u8, resource.Resource);
    }

    private void WriteUser(ApiNode node)
    {
        if (User.Name.Length > 0)
            node.Set("username"u8, User.Name);
        if (User.Uid.Length > 0)
            node.Set("uid"u8, User.Uid);
        var groups = node.GetOrAddArray("groups"u8);
        foreach (var group in User.Groups)
            groups.AppendString(Encoding.UTF8.GetBytes(group));
        foreach (var (key, values) in User.Extra)
        {
            var list = node.GetOrAddObject("extra"u8).GetOrAddArray(Encoding.UTF8.GetBytes(key));
            foreach (var value in values)
                list.AppendString(Encoding.UTF8.GetBytes(value));
        }
    }

    private void WriteOptions(ApiNode node)
    {
        var kind = _context.Operation switch
        {
            AdmissionOperation.Create => "CreateOptions",
            AdmissionOperation.Update => _context.Call?.Method == "PATCH" ? "PatchOptions" : "UpdateOptions",
            AdmissionOperation.Delete => "DeleteOptions",
            _ => "",
        };
        if (kind.Length == 0)
            return;
        node.Set("kind"u8, kind);
        node.Set("apiVersion"u8, "meta.k8s.io/v1");
        if (_context.IsDryRun)
            node.GetOrAddArray("dryRun"u8).AppendString("All"u8);
        if (_context.Call is not { } call || kind == "DeleteOptions")
            return;
        if (call.QueryString("fieldManager"u8) is { Length: > 0 } manager)
            node.Set("fieldManager"u8, manager);
        if (call.QueryString("fieldValidation"u8) is { Length: > 0 } validation)
            node.Set("fieldValidation"u8, validation);
    }

    /// <summary>What expressions see of the request in one version.</summary>
    internal sealed record Versioned(CelValue Object, CelValue OldObject, CelValue Request, CelValue Namespace);
}
