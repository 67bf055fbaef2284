using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The types and resources that the server knows from birth. <see cref="BuiltIn"/> is read from the embedded tables (their form is described in
/// Schema/Tables/MakeTables.cs): at load only the type lines are indexed; a type's fields are read when they are first asked for.
/// </summary>
/// <remarks>Any thread.</remarks>
public sealed class Schema
{
    private static readonly Lazy<Schema> s_builtIn = new(static () => SchemaTable.LoadBuiltIn());

    private readonly Dictionary<string, TypeSchema> _typesByName;
    private readonly Dictionary<string, TypeSchema> _typesByKind;
    private readonly ResourceInfo[] _resources;
    private readonly ResourceInfo?[] _slots;

    internal Schema(Dictionary<string, TypeSchema> typesByName, Dictionary<string, TypeSchema> typesByKind, ResourceInfo[] resources)
    {
        _typesByName = typesByName;
        _typesByKind = typesByKind;
        _resources = resources;
        var size = 16;
        while (size < resources.Length * 4)
            size *= 2;
        _slots = new ResourceInfo?[size];
        foreach (var resource in resources)
        {
            var slot = Hash(resource.VersionUtf8, resource.ResourceUtf8) & (size - 1);
            while (_slots[slot] is not null)
                slot = (slot + 1) & (size - 1);
            _slots[slot] = resource;
        }
    }

    /// <summary>The types and resources of the Kubernetes version that this build follows.</summary>
    public static Schema BuiltIn => s_builtIn.Value;

    /// <summary>All resources, versions that are off by default included.</summary>
    public IReadOnlyList<ResourceInfo> Resources => _resources;

    /// <summary>All types.</summary>
    public IReadOnlyCollection<TypeSchema> Types => _typesByName.Values;

    /// <summary>The resource, or null. O(1), allocates nothing.</summary>
    public ResourceInfo? FindResource(ReadOnlySpan<byte> group, ReadOnlySpan<byte> version, ReadOnlySpan<byte> resource)
    {
        var mask = _slots.Length - 1;
        for (var slot = Hash(version, resource) & mask; _slots[slot] is { } candidate; slot = (slot + 1) & mask)
        {
            if (candidate.ResourceUtf8.SequenceEqual(resource) && candidate.VersionUtf8.SequenceEqual(version) && candidate.GroupUtf8.SequenceEqual(group))
                return candidate;
        }
        return null;
    }

    /// <summary>The resource by names, or null.</summary>
    public ResourceInfo? FindResource(string group, string version, string resource) =>
        FindResource(Encoding.UTF8.GetBytes(group), Encoding.UTF8.GetBytes(version), Encoding.UTF8.GetBytes(resource));

    /// <summary>A top-level kind: objects, lists (PodList), and what every group version knows (DeleteOptions, WatchEvent ...). Null when unknown.</summary>
    public TypeSchema? FindType(string group, string version, string kind) =>
        _typesByKind.TryGetValue($"{group}/{version}/{kind}", out var type) || _typesByKind.TryGetValue($"*/{kind}", out type) ? type : null;

    /// <summary>A type by its full name, for example io.k8s.api.core.v1.Pod. Null when unknown.</summary>
    public TypeSchema? FindType(string fullName) => _typesByName.GetValueOrDefault(fullName);

    private static int Hash(ReadOnlySpan<byte> version, ReadOnlySpan<byte> resource) => resource.Length == 0
        ? 0
        : (resource.Length * 7) ^ (resource[0] * 31) ^ (resource[^1] * 101) ^ (resource[resource.Length / 2] * 17) ^ (resource[resource.Length / 3] * 61)
            ^ (version.Length * 131);
}
