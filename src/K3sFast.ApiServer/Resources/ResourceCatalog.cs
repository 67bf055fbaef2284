using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>Everything that is served: one endpoint per resource and version of the schema that is on by default, one storage per kind of object.</summary>
/// <remarks>Immutable after construction.</remarks>
internal sealed class ResourceCatalog
{
    private readonly Dictionary<ResourceInfo, ResourceEndpoint> _endpoints = [];
    private readonly Dictionary<string, ResourceStorage> _storages = [];

    internal ResourceCatalog(Schema schema, Cacher cacher, TimeSpan eventTtl = default, RuntimeConfig? config = null)
    {
        config ??= RuntimeConfig.Default;
        Schema = schema;
        var served = schema.Resources.Where(r => r.Server is "kube-apiserver" or "" && config.IsServed(r)).ToList();
        foreach (var group in served.Where(static r => r.EtcdPrefix.Length > 0).GroupBy(static r => r.EtcdPrefix))
        {
            // What is stored stays readable when a version more is turned on: versions that are on by default come first.
            var stored = group.OrderByDescending(static r => r.EnabledByDefault).ThenByDescending(static r => r.IsStorageVersion).ThenByDescending(static r => r.VersionPriority).First();
            var paths = new List<string>();
            foreach (var resource in group)
            {
                foreach (var field in resource.SelectableFields)
                {
                    var path = VersionConversion.StoredPath(resource, field.Path);
                    if (path is not ("metadata.name" or "metadata.namespace") && !path.StartsWith('(') && !paths.Contains(path))
                        paths.Add(path);
                }
            }
            _storages.Add(group.Key, new ResourceStorage(cacher, stored, paths, group.Key == "events" ? (long)eventTtl.TotalSeconds : 0));
        }
        foreach (var resource in served.Where(static r => r.EtcdPrefix.Length > 0))
            _storages[resource.EtcdPrefix].Fields.Add(resource);
        foreach (var resource in served)
            _endpoints.Add(resource, new ResourceEndpoint(resource, resource.EtcdPrefix.Length == 0 ? null : _storages[resource.EtcdPrefix]));
    }

    internal Schema Schema { get; }

    internal IEnumerable<ResourceEndpoint> Endpoints => _endpoints.Values;

    internal IEnumerable<ResourceStorage> Storages => _storages.Values;

    /// <summary>The endpoint of a request; null when nothing is served there. Allocates nothing.</summary>
    internal ResourceEndpoint? Find(in RequestInfo info) =>
        Schema.FindResource(info.Group, info.Version, info.Resource) is { } resource ? _endpoints.GetValueOrDefault(resource) : null;

    /// <summary>The storage of a group's resource, whatever the version.</summary>
    internal ResourceStorage Storage(string group, string resource) =>
        FindStorage(group, resource) ?? throw new InvalidOperationException($"the schema has no {resource} in group \"{group}\"");

    internal ResourceStorage? FindStorage(string group, string resource)
    {
        foreach (var endpoint in _endpoints.Values)
        {
            if (endpoint.Storage is not null && endpoint.Info.Resource == resource && endpoint.Info.Group == group)
                return endpoint.Storage;
        }
        return null;
    }

    /// <summary>True if any version of the group is served.</summary>
    internal bool HasGroup(ReadOnlySpan<byte> group)
    {
        foreach (var endpoint in _endpoints.Values)
        {
            if (endpoint.Info.GroupUtf8.SequenceEqual(group))
                return true;
        }
        return false;
    }
}
