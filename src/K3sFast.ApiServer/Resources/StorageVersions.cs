using System.Collections.Concurrent;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>The served versions of one storage, and a field manager for each version and subresource that was written to.</summary>
/// <remarks>Filled by the catalog before anything is served; any thread from then on.</remarks>
internal sealed class StorageVersions : IObjectVersions
{
    private readonly Dictionary<string, ResourceInfo> _versions = [];
    private readonly ConcurrentDictionary<(ResourceInfo Version, string Subresource), FieldManager> _managers = [];

    internal void Add(ResourceInfo version) => _versions.TryAdd(version.ApiVersion, version);

    /// <summary>The field manager of a version and subresource ("" for the resource itself).</summary>
    internal FieldManager For(ResourceInfo version, string subresource) =>
        _managers.TryGetValue((version, subresource), out var known) ? known : _managers.GetOrAdd((version, subresource), Make);

    /// <inheritdoc/>
    public TypeSchema? TypeOf(string apiVersion) => _versions.GetValueOrDefault(apiVersion)?.Type;

    /// <inheritdoc/>
    public ApiObject Convert(ApiNode obj, string fromApiVersion, string toApiVersion) => Convert(obj, _versions[fromApiVersion], _versions[toApiVersion]);

    /// <summary>The object in another version, canonical there. The caller disposes it.</summary>
    internal static ApiObject Convert(ApiNode obj, ResourceInfo from, ResourceInfo to)
    {
        using var copy = ApiObject.Rent();
        copy.ReplaceRoot(obj);
        VersionConversion.Convert(copy.Root, from, to);
        using var json = new PooledBuffer();
        JsonCodec.Encode(copy.Root, to.Type, json);
        return JsonCodec.Decode(json.Span, null, DecodeOptions.Free, null);
    }

    private FieldManager Make((ResourceInfo Version, string Subresource) key) =>
        new(key.Version.Type, key.Subresource, ResetFields.For(key.Version, key.Subresource), this);
}
