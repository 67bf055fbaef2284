namespace K3sFast.ApiMachinery;

/// <summary>The paths of resources with their operations: ids, descriptions, parameters, bodies and answers by upstream's rules.</summary>
internal sealed class ApiPaths(TypeDescriptions descriptions)
{
    private const string Meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

    // Deleting one of these answers with the object, not with a Status.
    private static readonly HashSet<string> s_answersDeleted =
    [
        "CSIDriver", "CSINode", "DeviceClass", "PersistentVolume", "PersistentVolumeClaim", "Pod", "PodTemplate", "ResourceClaim", "ResourceClaimTemplate",
        "ResourceQuota", "ResourceSlice", "Service", "ServiceAccount", "StorageClass", "VolumeAttachment", "VolumeAttributesClass",
    ];

    private readonly OperationParameters _parameters = new(descriptions);

    /// <summary>The paths of one resource.</summary>
    internal IEnumerable<ApiPath> Of(ResourceInfo resource)
    {
        var root = Root(resource.Group, resource.Version);
        var scope = new Scope(resource, _parameters);
        var collection = resource.Namespaced ? $"{root}/namespaces/{{namespace}}/{resource.Resource}" : $"{root}/{resource.Resource}";
        var operations = Collection(scope).ToList();
        if (operations.Count > 0)
            yield return new ApiPath(collection, operations);
        if (resource.Namespaced && scope.Has("list"))
            yield return new ApiPath($"{root}/{resource.Resource}", [List(scope, isEverywhere: true)]);
        if (scope.Has("get"))
            yield return new ApiPath($"{collection}/{{name}}", Object(scope).ToList());
        foreach (var subresource in resource.Subresources)
        {
            foreach (var path in Subresource(scope, subresource, $"{collection}/{{name}}/{subresource.Name}"))
                yield return path;
        }
        if (!scope.Has("watch"))
            yield break;
        var watched = resource.Namespaced ? $"{root}/watch/namespaces/{{namespace}}/{resource.Resource}" : $"{root}/watch/{resource.Resource}";
        yield return new ApiPath(watched, [WatchList(scope, isEverywhere: false)]);
        yield return new ApiPath($"{watched}/{{name}}", [WatchOne(scope)]);
        if (resource.Namespaced)
            yield return new ApiPath($"{root}/watch/{resource.Resource}", [WatchList(scope, isEverywhere: true)]);
    }

    internal static string Root(string group, string version) => group.Length == 0 ? $"/api/{version}" : $"/apis/{group}/{version}";

    private static IEnumerable<ApiOperation> Collection(Scope scope)
    {
        if (scope.Has("list"))
            yield return List(scope, isEverywhere: false);
        if (scope.Has("create"))
        {
            yield return scope.Operation("post", $"create{scope.Place}{scope.Kind}", $"create{Article(scope.Kind)}{scope.Kind}", "post", scope.Type) with
            {
                Body = scope.Type,
                Codes = ["200", "201", "202"],
                Parameters = scope.Parameters.With(scope.Collection, scope.Parameters.Writing),
            };
        }
        if (scope.Has("deletecollection"))
        {
            yield return scope.Operation("delete", $"delete{scope.GroupVersion}Collection{scope.Namespaced}{scope.Kind}", $"delete collection of {scope.Kind}", "deletecollection", Meta + "Status") with
            {
                Body = Meta + "DeleteOptions",
                IsBodyRequired = false,
                Parameters = scope.Parameters.With(scope.Collection, scope.Parameters.DeletingMany),
            };
        }
    }

    private static ApiOperation List(Scope scope, bool isEverywhere)
    {
        var id = isEverywhere ? $"list{scope.GroupVersion}{scope.Kind}ForAllNamespaces" : $"list{scope.Place}{scope.Kind}";
        return scope.Operation("get", id, $"list{(scope.Has("watch") ? " or watch" : "")} objects of kind {scope.Kind}", "list", scope.Resource.ListType!.FullName) with
        {
            Produces = ApiOperation.ListMedia,
            Parameters = scope.Parameters.With(isEverywhere ? scope.Parameters.Pretty : scope.Collection, scope.Parameters.Listing),
        };
    }

    private static IEnumerable<ApiOperation> Object(Scope scope)
    {
        yield return scope.Operation("get", $"read{scope.Place}{scope.Kind}", $"read the specified {scope.Kind}", "get", scope.Type) with { Parameters = [.. scope.Object] };
        if (scope.Has("update"))
            yield return Put(scope, scope.Object, "", scope.Type, $"replace the specified {scope.Kind}");
        if (scope.Has("patch"))
            yield return Patch(scope, scope.Object, "", scope.Type, $"partially update the specified {scope.Kind}");
        if (scope.Has("delete"))
        {
            yield return scope.Operation("delete", $"delete{scope.Place}{scope.Kind}", $"delete{Article(scope.Kind)}{scope.Kind}", "delete",
                s_answersDeleted.Contains(scope.Kind) ? scope.Type : Meta + "Status") with
            {
                Body = Meta + "DeleteOptions",
                IsBodyRequired = false,
                Codes = ["200", "202"],
                Parameters = scope.Parameters.With(scope.Object, scope.Parameters.Deleting),
            };
        }
    }

    private static ApiOperation Put(Scope scope, List<ApiParameter> place, string part, string type, string description) =>
        scope.Operation("put", $"replace{scope.Place}{scope.Kind}{part}", description, "put", type) with
        {
            Body = type,
            Codes = ["200", "201"],
            Parameters = scope.Parameters.With(place, scope.Parameters.Writing),
        };

    private static ApiOperation Patch(Scope scope, List<ApiParameter> place, string part, string type, string description) =>
        scope.Operation("patch", $"patch{scope.Place}{scope.Kind}{part}", description, "patch", type) with
        {
            Body = Meta + "Patch",
            Consumes = ApiOperation.PatchMedia,
            Codes = ["200", "201"],
            Parameters = scope.Parameters.With(place, scope.Parameters.Patching),
        };

    private static ApiOperation WatchList(Scope scope, bool isEverywhere) =>
        scope.Operation("get", isEverywhere ? $"watch{scope.GroupVersion}{scope.Kind}ListForAllNamespaces" : $"watch{scope.Place}{scope.Kind}List",
            $"watch individual changes to a list of {scope.Kind}. deprecated: use the 'watch' parameter with a list operation instead.", "watchlist", Meta + "WatchEvent") with
        {
            Produces = ApiOperation.ListMedia,
            Parameters = scope.Parameters.With(isEverywhere ? scope.Parameters.Pretty : scope.Collection, scope.Parameters.Listing),
        };

    private static ApiOperation WatchOne(Scope scope) =>
        scope.Operation("get", $"watch{scope.Place}{scope.Kind}",
            $"watch changes to an object of kind {scope.Kind}. deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter.",
            "watch", Meta + "WatchEvent") with
        {
            Produces = ApiOperation.ListMedia,
            Parameters = scope.Parameters.With(scope.Object, scope.Parameters.Listing),
        };

    private IEnumerable<ApiPath> Subresource(Scope scope, SubresourceInfo subresource, string path)
    {
        var connect = OperationParameters.ConnectOperation(scope.Kind, subresource.Name);
        if (connect is not null)
        {
            yield return new ApiPath(path, Connect(scope, subresource, connect, hasPath: false).ToList());
            if (subresource.Name == "proxy")
                yield return new ApiPath($"{path}/{{path}}", Connect(scope, subresource, connect, hasPath: true).ToList());
            yield break;
        }
        var part = char.ToUpperInvariant(subresource.Name[0]) + subresource.Name[1..];
        var kind = (subresource.Group, subresource.Version, subresource.Kind);
        var type = Schema.BuiltIn.FindType(subresource.Group, subresource.Version, subresource.Kind)?.FullName ?? scope.Type;
        var place = _parameters.Object(subresource.Kind, scope.Resource.Namespaced);
        var operations = new List<ApiOperation>();
        foreach (var verb in subresource.Verbs)
        {
            if (verb == "get" && subresource.Name == "log")
            {
                operations.Add(scope.Operation("get", $"read{scope.Place}{scope.Kind}Log", $"read log of the specified {scope.Kind}", "get", ApiOperation.Text) with
                {
                    Produces = ["text/plain", .. ApiOperation.ObjectMedia],
                    Parameters = _parameters.With(scope.Object, _parameters.Logs),
                });
            }
            else if (verb == "get")
                operations.Add(scope.Operation("get", $"read{scope.Place}{scope.Kind}{part}", $"read {subresource.Name} of the specified {scope.Kind}", "get", type) with { Kind = kind, Parameters = place });
            else if (verb == "update")
                operations.Add(Put(scope, place, part, type, $"replace {subresource.Name} of the specified {scope.Kind}") with { Kind = kind });
            else if (verb == "patch")
                operations.Add(Patch(scope, place, part, type, $"partially update {subresource.Name} of the specified {scope.Kind}") with { Kind = kind });
            else if (verb == "create")
            {
                operations.Add(scope.Operation("post", $"create{scope.Place}{scope.Kind}{part}", $"create {subresource.Name} of{Article(scope.Kind)}{scope.Kind}", "post", type) with
                {
                    Kind = kind,
                    Body = type,
                    Codes = ["200", "201", "202"],
                    Parameters = _parameters.With(place, _parameters.Writing),
                });
            }
        }
        yield return new ApiPath(path, operations);
    }

    private IEnumerable<ApiOperation> Connect(Scope scope, SubresourceInfo subresource, string documented, bool hasPath)
    {
        string[] methods = subresource.Name == "proxy" ? ["get", "put", "post", "delete", "options", "head", "patch"] : ["get", "post"];
        var part = char.ToUpperInvariant(subresource.Name[0]) + subresource.Name[1..];
        foreach (var method in methods)
        {
            var verb = char.ToUpperInvariant(method[0]) + method[1..];
            yield return scope.Operation(
                method, $"connect{scope.GroupVersion}{verb}{scope.Namespaced}{scope.Kind}{part}{(hasPath ? "WithPath" : "")}",
                $"connect {method.ToUpperInvariant()} requests to {subresource.Name} of {scope.Kind}", "connect", ApiOperation.Text) with
            {
                Kind = (subresource.Group, subresource.Version, subresource.Kind),
                Produces = ApiOperation.AnyMedia,
                Parameters = _parameters.Connecting(documented, subresource.Kind, scope.Resource.Namespaced, hasPath),
            };
        }
    }

    private static string Article(string kind)
    {
        if (kind.EndsWith('s') && !kind.EndsWith("ss", StringComparison.Ordinal))
            return " ";
        return "aeiou".Contains(char.ToLowerInvariant(kind[0]), StringComparison.Ordinal) ? " an " : " a ";
    }

    /// <summary>The words of one resource that its operations repeat.</summary>
    private sealed class Scope(ResourceInfo resource, OperationParameters parameters)
    {
        private readonly string _tag = ApiNames.Tag(resource.Group, resource.Version);

        internal ResourceInfo Resource => resource;

        internal OperationParameters Parameters => parameters;

        internal string Kind => resource.Kind;

        internal string Type => resource.Type.FullName;

        internal string GroupVersion { get; } = ApiNames.Id(resource.Group, resource.Version);

        internal string Namespaced => resource.Namespaced ? "Namespaced" : "";

        internal string Place => GroupVersion + Namespaced;

        internal List<ApiParameter> Collection { get; } = parameters.Collection(resource.Namespaced);

        internal List<ApiParameter> Object { get; } = parameters.Object(resource.Kind, resource.Namespaced);

        internal bool Has(string verb) => Array.IndexOf(resource.Verbs, verb) >= 0;

        internal ApiOperation Operation(string method, string id, string description, string action, string answer) => new()
        {
            Method = method, Id = id, Description = description, Tag = _tag, Action = action, Answer = answer, Kind = (resource.Group, resource.Version, resource.Kind),
        };
    }
}
