using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The OpenAPI documents of the resources that a server has, made from the schema when they are first asked for and kept packed: version 2 as one
/// document, version 3 as one for each group version and each path outside of them, each as JSON and as protobuf.
/// </summary>
/// <remarks>Any thread. Nothing is made before the first question; the index of version 3 makes every document of it once, for their hashes.</remarks>
public sealed class OpenApiDocuments
{
    private const string Meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
    private const string VersionInfo = "io.k8s.apimachinery.pkg.version.Info";

    private readonly ResourceInfo[] _resources;
    private readonly SortedDictionary<string, PackedDocument?> _version3 = new(StringComparer.Ordinal);
    private readonly Dictionary<string, PackedDocument> _version3Protobuf = [];
    private readonly Lock _gate = new();
    private PackedDocument? _version2;
    private PackedDocument? _version2Protobuf;
    private PackedDocument? _index;

    /// <summary>Documents of these resources; the built-in paths beside them are always told.</summary>
    public OpenApiDocuments(IEnumerable<ResourceInfo> served)
    {
        _resources = [.. served];
        foreach (var name in (ReadOnlySpan<string>)[".well-known/openid-configuration", "api", "apis", "openid/v1/jwks", "version"])
            _version3.Add(name, null);
        foreach (var resource in _resources)
        {
            _version3[NameOf(resource.Group, resource.Version)] = null;
            if (resource.Group.Length > 0)
                _version3[$"apis/{resource.Group}"] = null;
        }
        Names = [.. _version3.Keys];
    }

    /// <summary>The names of version 3's documents as the index has them, for example apis/apps/v1; in order.</summary>
    public IReadOnlyCollection<string> Names { get; }

    /// <summary>The index of version 3: where each document is, with its hash.</summary>
    public PackedDocument Index
    {
        get
        {
            lock (_gate)
                return _index ??= PackedDocument.OfJson(WriteIndex);
        }
    }

    /// <summary>A document of version 3; null when nothing has that name.</summary>
    public PackedDocument? FindVersion3(string name)
    {
        lock (_gate)
            return _version3.ContainsKey(name) ? Version3(name) : null;
    }

    /// <summary>The same document in the wire form of gnostic's openapi.v3.Document; null when nothing has that name.</summary>
    public PackedDocument? FindVersion3Protobuf(string name)
    {
        lock (_gate)
        {
            if (!_version3.ContainsKey(name))
                return null;
            if (!_version3Protobuf.TryGetValue(name, out var document))
                _version3Protobuf.Add(name, document = OpenApiProtobuf.Of(Version3(name), OpenApiDialect.V3));
            return document;
        }
    }

    /// <summary>The document of version 2.</summary>
    public PackedDocument Version2
    {
        get
        {
            lock (_gate)
                return _version2 ??= PackedDocument.OfJson(WriteVersion2);
        }
    }

    /// <summary>The document of version 2 in the wire form of gnostic's openapi.v2.Document.</summary>
    public PackedDocument Version2Protobuf
    {
        get
        {
            var json = Version2;
            lock (_gate)
                return _version2Protobuf ??= OpenApiProtobuf.Of(json, OpenApiDialect.V2);
        }
    }

    private static string NameOf(string group, string version) => group.Length == 0 ? $"api/{version}" : $"apis/{group}/{version}";

    private PackedDocument Version3(string name) => _version3[name] ??= PackedDocument.OfJson(json => WriteVersion3(json, name));

    private void WriteIndex(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteStartObject("paths"u8);
        foreach (var name in _version3.Keys.ToArray())
        {
            json.WriteStartObject(name);
            json.WriteString("serverRelativeURL"u8, $"/openapi/v3/{name}?hash={Version3(name).Hash}");
            json.WriteEndObject();
        }
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void WriteVersion3(Utf8JsonWriter json, string name)
    {
        var descriptions = TypeDescriptions.Current;
        var own = _resources.Where(resource => NameOf(resource.Group, resource.Version) == name).ToList();
        var paths = new List<ApiPath>();
        if (own.Count == 0)
            paths.Add(PathOutside(name));
        else
        {
            paths.Add(GroupVersionPath(own[0].Group, own[0].Version));
            var resourcePaths = new ApiPaths(descriptions);
            paths.AddRange(own.SelectMany(resourcePaths.Of));
        }
        var marks = own.Count == 0 ? KindMarks.Of("", "v1") : KindMarks.Of(own[0].Group, own[0].Version);
        OpenApiV3Writer.Write(json, paths, new SchemaSet(), marks, descriptions);
    }

    private void WriteVersion2(Utf8JsonWriter json)
    {
        var descriptions = TypeDescriptions.Current;
        var resourcePaths = new ApiPaths(descriptions);
        var paths = _version3.Keys.Where(name => !_resources.Any(resource => NameOf(resource.Group, resource.Version) == name)).Select(PathOutside)
            .Concat(_resources.Select(static resource => (resource.Group, resource.Version)).Distinct().Select(static gv => GroupVersionPath(gv.Group, gv.Version)))
            .Concat(_resources.SelectMany(resourcePaths.Of));
        OpenApiV2Writer.Write(json, paths, descriptions);
    }

    private static ApiPath GroupVersionPath(string group, string version) => Outside(
        ApiPaths.Root(group, version) + "/", $"get{ApiNames.Id(group, version)}APIResources", "get available resources", ApiNames.Tag(group, version), Meta + "APIResourceList");

    private static ApiPath PathOutside(string name) => name switch
    {
        "api" => Outside("/api/", "getCoreAPIVersions", "get available API versions", "core", Meta + "APIVersions"),
        "apis" => Outside("/apis/", "getAPIVersions", "get available API versions", "apis", Meta + "APIGroupList"),
        "version" => Outside("/version/", "getCodeVersion", "get the version information for this server", "version", VersionInfo, ["application/json"], ["application/json"]),
        ".well-known/openid-configuration" => Outside(
            "/.well-known/openid-configuration/", "getServiceAccountIssuerOpenIDConfiguration",
            "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'", "WellKnown", ApiOperation.Text, [], ["application/json"]),
        "openid/v1/jwks" => Outside(
            "/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset",
            "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)", "openid", ApiOperation.Text, [], ["application/jwk-set+json"]),
        _ => Outside(
            $"/{name}/", $"get{ApiNames.Id(name["apis/".Length..], "")}APIGroup", "get information of a group", ApiNames.Tag(name["apis/".Length..], ""), Meta + "APIGroup"),
    };

    private static ApiPath Outside(string path, string id, string description, string tag, string answer, string[]? consumes = null, string[]? produces = null) => new(path,
    [
        new ApiOperation
        {
            Method = "get", Id = id, Description = description, Tag = tag, Answer = answer,
            Consumes = consumes ?? ApiOperation.ObjectMedia, Produces = produces ?? ApiOperation.ObjectMedia,
        },
    ]);
}
