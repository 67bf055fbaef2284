using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>One field selector that a resource accepts.</summary>
/// <param name="Label">The name in the selector, for example spec.host.</param>
/// <param name="Path">The member of the object that it means, for example spec.nodeName.</param>
public sealed record SelectableField(string Label, string Path);

/// <summary>One subresource of a resource, for example status or scale.</summary>
/// <param name="Name">The name in the path.</param>
/// <param name="Kind">The kind of its body; may be another one than the resource's.</param>
/// <param name="Group">The group of that kind.</param>
/// <param name="Version">The version of that kind.</param>
/// <param name="Verbs">The verbs, for example get, patch, update.</param>
public sealed record SubresourceInfo(string Name, string Kind, string Group, string Version, string[] Verbs);

/// <summary>One resource in one group and version: its names, verbs, places and schema. Immutable.</summary>
public sealed class ResourceInfo
{
    private byte[]? _groupUtf8, _versionUtf8, _resourceUtf8, _kindUtf8, _apiVersionUtf8;
    private TypeSchema? _type;
    private TypeSchema? _listType;

    /// <summary>The API group; "" for the core group.</summary>
    public required string Group { get; init; }

    /// <summary>The API version.</summary>
    public required string Version { get; init; }

    /// <summary>The plural name in the path.</summary>
    public required string Resource { get; init; }

    /// <summary>The kind.</summary>
    public required string Kind { get; init; }

    /// <summary>The singular name.</summary>
    public string Singular { get; init; } = "";

    /// <summary>The kind of a list.</summary>
    public string ListKind { get; init; } = "";

    /// <summary>True when objects live in a namespace.</summary>
    public bool Namespaced { get; init; }

    /// <summary>Short names for kubectl.</summary>
    public string[] ShortNames { get; init; } = [];

    /// <summary>Categories for kubectl, for example all.</summary>
    public string[] Categories { get; init; } = [];

    /// <summary>The verbs.</summary>
    public string[] Verbs { get; init; } = [];

    /// <summary>The subresources.</summary>
    public IReadOnlyList<SubresourceInfo> Subresources { get; init; } = [];

    /// <summary>The version in which objects are stored; "" when nothing is stored.</summary>
    public string StorageVersion { get; init; } = "";

    /// <summary>True when this version is the stored one.</summary>
    public bool IsStorageVersion { get; init; }

    /// <summary>True when this is the version that discovery prefers.</summary>
    public bool IsPreferredVersion { get; init; }

    /// <summary>False for alpha and beta versions that upstream serves only when asked to.</summary>
    public bool EnabledByDefault { get; init; } = true;

    /// <summary>The feature gate that the resource needs besides its version; "" when none.</summary>
    public string FeatureGate { get; init; } = "";

    /// <summary>The place under /registry/ where etcd has the objects; "" when nothing is stored.</summary>
    public string EtcdPrefix { get; init; } = "";

    /// <summary>The hash that discovery shows.</summary>
    public string StorageVersionHash { get; init; } = "";

    /// <summary>The group's place in discovery; higher first.</summary>
    public int GroupPriority { get; init; }

    /// <summary>The version's place in its group; higher first.</summary>
    public int VersionPriority { get; init; }

    /// <summary>The server that serves it upstream: kube-apiserver or metrics-server.</summary>
    public string Server { get; init; } = "";

    /// <summary>The field selectors that it accepts.</summary>
    public IReadOnlyList<SelectableField> SelectableFields { get; init; } = [];

    /// <summary>The schema of one object.</summary>
    public TypeSchema Type => _type ??= ResolveType(Kind) ?? throw new InvalidOperationException($"no schema for kind {Kind} of {ApiVersion}");

    /// <summary>The schema of a list of objects; null when there is no list kind.</summary>
    public TypeSchema? ListType => _listType ??= ListKind.Length == 0 ? null : ResolveType(ListKind);

    /// <summary>group/version, or the version alone for the core group.</summary>
    public string ApiVersion => Group.Length == 0 ? Version : $"{Group}/{Version}";

    /// <summary>resource.group, or the resource alone for the core group: the form in messages.</summary>
    public string GroupResource => Group.Length == 0 ? Resource : $"{Resource}.{Group}";

    /// <summary>The group as UTF-8.</summary>
    public ReadOnlySpan<byte> GroupUtf8 => _groupUtf8 ??= Encoding.UTF8.GetBytes(Group);

    /// <summary>The version as UTF-8.</summary>
    public ReadOnlySpan<byte> VersionUtf8 => _versionUtf8 ??= Encoding.UTF8.GetBytes(Version);

    /// <summary>The resource as UTF-8.</summary>
    public ReadOnlySpan<byte> ResourceUtf8 => _resourceUtf8 ??= Encoding.UTF8.GetBytes(Resource);

    /// <summary>The kind as UTF-8.</summary>
    public ReadOnlySpan<byte> KindUtf8 => _kindUtf8 ??= Encoding.UTF8.GetBytes(Kind);

    /// <summary>group/version as UTF-8.</summary>
    public ReadOnlySpan<byte> ApiVersionUtf8 => _apiVersionUtf8 ??= Encoding.UTF8.GetBytes(ApiVersion);

    /// <summary>Finds the schema of a kind of this group and version; for resources that are made at run time it is set by their maker.</summary>
    public Func<ResourceInfo, string, TypeSchema?>? TypeResolver { get; init; }

    /// <summary>The subresource of that name, or null.</summary>
    public SubresourceInfo? FindSubresource(ReadOnlySpan<char> name)
    {
        foreach (var subresource in Subresources)
        {
            if (name.SequenceEqual(subresource.Name))
                return subresource;
        }
        return null;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{GroupResource}/{Version}";

    private TypeSchema? ResolveType(string kind) => TypeResolver is { } resolver ? resolver(this, kind) : Schema.BuiltIn.FindType(Group, Version, kind);
}
