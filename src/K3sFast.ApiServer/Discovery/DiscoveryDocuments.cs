using System.Buffers;
using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>What is served, told in upstream's forms: group lists, resource lists, and the aggregated document that kubectl asks for. Written when asked for.</summary>
internal sealed class DiscoveryDocuments
{
    private readonly List<IGrouping<string, ApiMachinery.ResourceInfo>> _groups;
    private readonly Dictionary<string, (string Kind, Action<Utf8JsonWriter> Write)> _documents = [];

    internal DiscoveryDocuments(ResourceCatalog catalog, string serverAddress)
    {
        _groups = catalog.Endpoints.Select(static e => e.Info).GroupBy(static r => r.Group)
            .OrderByDescending(static g => g.Max(static r => r.GroupPriority)).ThenBy(static g => g.Key, StringComparer.Ordinal).ToList();
        _documents["/api"] = ("APIVersions", json => WriteLegacyVersions(json, serverAddress));
        _documents["/apis"] = ("APIGroupList", json => WriteGroupList(json, _groups.Where(static g => g.Key.Length > 0)));
        foreach (var group in _groups)
        {
            if (group.Key.Length > 0)
                _documents[$"/apis/{group.Key}"] = ("APIGroup", json => WriteGroup(json, group, isTop: true));
            foreach (var version in group.GroupBy(static r => r.Version))
            {
                var path = group.Key.Length == 0 ? $"/api/{version.Key}" : $"/apis/{group.Key}/{version.Key}";
                _documents[path] = ("APIResourceList", json => WriteResources(json, group.Key, version.Key, version));
            }
        }
    }

    /// <summary>The paths that have a document, without trailing slash.</summary>
    internal IEnumerable<string> Paths => _documents.Keys;

    /// <summary>The unaggregated document of a path without trailing slash, with its kind; null when there is none.</summary>
    internal (string Kind, byte[] Document)? Find(string path) => _documents.TryGetValue(path, out var found) ? (found.Kind, Build(found.Write)) : null;

    internal bool Has(string path) => _documents.ContainsKey(path);

    /// <summary>The aggregated document of the core group or of all others.</summary>
    internal byte[] Aggregated(bool isCore) => Build(json => WriteAggregated(json, _groups.Where(group => group.Key.Length == 0 == isCore)));

    private static byte[] Build(Action<Utf8JsonWriter> write)
    {
        var output = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(output);
        write(json);
        json.Flush();
        return output.WrittenSpan.ToArray();
    }

    private static void WriteLegacyVersions(Utf8JsonWriter json, string serverAddress)
    {
        json.WriteStartObject();
        json.WriteString("kind"u8, "APIVersions"u8);
        json.WriteStartArray("versions"u8);
        json.WriteStringValue("v1"u8);
        json.WriteEndArray();
        json.WriteStartArray("serverAddressByClientCIDRs"u8);
        json.WriteStartObject();
        json.WriteString("clientCIDR"u8, "0.0.0.0/0"u8);
        json.WriteString("serverAddress"u8, serverAddress);
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteGroupList(Utf8JsonWriter json, IEnumerable<IGrouping<string, ApiMachinery.ResourceInfo>> groups)
    {
        json.WriteStartObject();
        json.WriteString("kind"u8, "APIGroupList"u8);
        json.WriteString("apiVersion"u8, "v1"u8);
        json.WriteStartArray("groups"u8);
        foreach (var group in groups)
            WriteGroup(json, group, isTop: false);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteGroup(Utf8JsonWriter json, IGrouping<string, ApiMachinery.ResourceInfo> group, bool isTop)
    {
        var versions = Versions(group);
        json.WriteStartObject();
        if (isTop)
        {
            json.WriteString("kind"u8, "APIGroup"u8);
            json.WriteString("apiVersion"u8, "v1"u8);
        }
        json.WriteString("name"u8, group.Key);
        json.WriteStartArray("versions"u8);
        foreach (var version in versions)
            WriteVersion(json, group.Key, version);
        json.WriteEndArray();
        json.WritePropertyName("preferredVersion"u8);
        WriteVersion(json, group.Key, versions[0]);
        json.WriteEndObject();
    }

    private static void WriteVersion(Utf8JsonWriter json, string group, string version)
    {
        json.WriteStartObject();
        json.WriteString("groupVersion"u8, $"{group}/{version}");
        json.WriteString("version"u8, version);
        json.WriteEndObject();
    }

    private static List<string> Versions(IEnumerable<ApiMachinery.ResourceInfo> group) =>
        [.. group.GroupBy(static r => r.Version).OrderByDescending(static v => v.Max(static r => r.VersionPriority)).Select(static v => v.Key)];

    private static void WriteResources(Utf8JsonWriter json, string group, string version, IEnumerable<ApiMachinery.ResourceInfo> resources)
    {
        json.WriteStartObject();
        json.WriteString("kind"u8, "APIResourceList"u8);
        if (group.Length > 0)
            json.WriteString("apiVersion"u8, "v1"u8);
        json.WriteString("groupVersion"u8, group.Length == 0 ? version : $"{group}/{version}");
        json.WriteStartArray("resources"u8);
        foreach (var resource in resources.OrderBy(static r => r.Resource, StringComparer.Ordinal))
        {
            json.WriteStartObject();
            json.WriteString("name"u8, resource.Resource);
            json.WriteString("singularName"u8, resource.Singular);
            json.WriteBoolean("namespaced"u8, resource.Namespaced);
            json.WriteString("kind"u8, resource.Kind);
            WriteStrings(json, "verbs", resource.Verbs);
            if (resource.ShortNames.Length > 0)
                WriteStrings(json, "shortNames", resource.ShortNames);
            if (resource.Categories.Length > 0)
                WriteStrings(json, "categories", resource.Categories);
            if (resource.StorageVersionHash.Length > 0)
                json.WriteString("storageVersionHash"u8, resource.StorageVersionHash);
            json.WriteEndObject();
            foreach (var sub in resource.Subresources)
            {
                json.WriteStartObject();
                json.WriteString("name"u8, $"{resource.Resource}/{sub.Name}");
                json.WriteString("singularName"u8, ""u8);
                json.WriteBoolean("namespaced"u8, resource.Namespaced);
                if (sub.Group != resource.Group || sub.Version != resource.Version)
                {
                    if (sub.Group.Length > 0)
                        json.WriteString("group"u8, sub.Group);
                    json.WriteString("version"u8, sub.Version);
                }
                json.WriteString("kind"u8, sub.Kind);
                WriteStrings(json, "verbs", sub.Verbs);
                json.WriteEndObject();
            }
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteAggregated(Utf8JsonWriter json, IEnumerable<IGrouping<string, ApiMachinery.ResourceInfo>> groups)
    {
        json.WriteStartObject();
        json.WriteString("kind"u8, "APIGroupDiscoveryList"u8);
        json.WriteString("apiVersion"u8, "apidiscovery.k8s.io/v2"u8);
        json.WriteStartObject("metadata"u8);
        json.WriteEndObject();
        json.WriteStartArray("items"u8);
        foreach (var group in groups)
        {
            json.WriteStartObject();
            json.WriteStartObject("metadata"u8);
            if (group.Key.Length > 0)
                json.WriteString("name"u8, group.Key);
            json.WriteEndObject();
            json.WriteStartArray("versions"u8);
            foreach (var version in Versions(group))
            {
                json.WriteStartObject();
                json.WriteString("version"u8, version);
                json.WriteStartArray("resources"u8);
                foreach (var resource in group.Where(r => r.Version == version).OrderBy(static r => r.Resource, StringComparer.Ordinal))
                    WriteAggregatedResource(json, resource);
                json.WriteEndArray();
                json.WriteString("freshness"u8, "Current"u8);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteAggregatedResource(Utf8JsonWriter json, ApiMachinery.ResourceInfo resource)
    {
        json.WriteStartObject();
        json.WriteString("resource"u8, resource.Resource);
        WriteKind(json, "", "", resource.Kind);
        json.WriteString("scope"u8, resource.Namespaced ? "Namespaced"u8 : "Cluster"u8);
        json.WriteString("singularResource"u8, resource.Singular);
        WriteStrings(json, "verbs", resource.Verbs);
        if (resource.ShortNames.Length > 0)
            WriteStrings(json, "shortNames", resource.ShortNames);
        if (resource.Categories.Length > 0)
            WriteStrings(json, "categories", resource.Categories);
        if (resource.Subresources.Count > 0)
        {
            json.WriteStartArray("subresources"u8);
            foreach (var sub in resource.Subresources)
            {
                json.WriteStartObject();
                json.WriteString("subresource"u8, sub.Name);
                if (sub.Group == resource.Group && sub.Version == resource.Version)
                    WriteKind(json, "", "", sub.Kind);
                else
                    WriteKind(json, sub.Group, sub.Version, sub.Kind);
                WriteStrings(json, "verbs", sub.Verbs);
                json.WriteEndObject();
            }
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    // A kind of the same group version is named alone.
    private static void WriteKind(Utf8JsonWriter json, string group, string version, string kind)
    {
        json.WriteStartObject("responseKind"u8);
        json.WriteString("group"u8, group);
        json.WriteString("version"u8, version);
        json.WriteString("kind"u8, kind);
        json.WriteEndObject();
    }

    private static void WriteStrings(Utf8JsonWriter json, string name, string[] values)
    {
        json.WriteStartArray(name);
        foreach (var value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
