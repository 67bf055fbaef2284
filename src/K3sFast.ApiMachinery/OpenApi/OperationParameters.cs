namespace K3sFast.ApiMachinery;

/// <summary>The query and path parameters of operations with their descriptions.</summary>
internal sealed class OperationParameters
{
    private const string ListOperation = "ListNamespacedPod";
    private const string DeleteOperation = "DeleteNamespacedPod";

    private readonly TypeDescriptions _descriptions;
    private readonly ApiParameter _namespace;

    internal OperationParameters(TypeDescriptions descriptions)
    {
        _descriptions = descriptions;
        _namespace = new ApiParameter("namespace", "path", "string", Text(ListOperation, "namespace"));
        Pretty = [Query(ListOperation, "pretty")];
        Listing = Queries(ListOperation, "allowWatchBookmarks:boolean", "continue", "fieldSelector", "labelSelector", "limit:integer", "resourceVersion", "resourceVersionMatch",
            "sendInitialEvents:boolean", "shardSelector", "timeoutSeconds:integer");
        // The package's clients watch by methods of their own and do not document the parameter.
        Listing.Add(new ApiParameter("watch", "query", "boolean", "Watch for changes to the described resources and return them as a stream of add, update, and remove notifications. Specify resourceVersion."));
        Writing = Queries("CreateNamespacedPod", "dryRun", "fieldManager", "fieldValidation");
        Patching = Queries("PatchNamespacedPod", "dryRun", "fieldManager", "fieldValidation", "force:boolean");
        Deleting = Queries(DeleteOperation, "dryRun", "gracePeriodSeconds:integer", "ignoreStoreReadErrorWithClusterBreakingPotential:boolean", "orphanDependents:boolean", "propagationPolicy");
        DeletingMany =
        [
            .. Deleting, .. Queries(ListOperation, "continue", "fieldSelector", "labelSelector", "limit:integer", "resourceVersion", "resourceVersionMatch",
                "sendInitialEvents:boolean", "shardSelector", "timeoutSeconds:integer"),
        ];
        Logs = Queries("ReadNamespacedPodLog", "container", "follow:boolean", "insecureSkipTLSVerifyBackend:boolean", "limitBytes:integer", "previous:boolean",
            "sinceSeconds:integer", "stream", "tailLines:integer", "timestamps:boolean");
    }

    internal List<ApiParameter> Pretty { get; }

    internal List<ApiParameter> Listing { get; }

    internal List<ApiParameter> Writing { get; }

    internal List<ApiParameter> Patching { get; }

    internal List<ApiParameter> Deleting { get; }

    internal List<ApiParameter> DeletingMany { get; }

    internal List<ApiParameter> Logs { get; }

    /// <summary>The documented operation that stands for a subresource which only connects; null for others.</summary>
    internal static string? ConnectOperation(string kind, string subresource) => (kind, subresource) switch
    {
        ("Pod", "attach") => "ConnectGetNamespacedPodAttach",
        ("Pod", "exec") => "ConnectGetNamespacedPodExec",
        ("Pod", "portforward") => "ConnectGetNamespacedPodPortforward",
        ("Pod", "proxy") => "ConnectGetNamespacedPodProxyWithPath",
        ("Service", "proxy") => "ConnectGetNamespacedServiceProxyWithPath",
        ("Node", "proxy") => "ConnectGetNodeProxyWithPath",
        _ => null,
    };

    internal List<ApiParameter> Collection(bool isNamespaced) => isNamespaced ? [_namespace, .. Pretty] : Pretty;

    internal List<ApiParameter> Object(string kind, bool isNamespaced) => [new ApiParameter("name", "path", "string", $"name of the {kind}"), .. Collection(isNamespaced)];

    internal List<ApiParameter> With(List<ApiParameter> place, List<ApiParameter> more) => [.. place, .. more];

    internal List<ApiParameter> Connecting(string operation, string optionsKind, bool isNamespaced, bool hasPath)
    {
        List<ApiParameter> parameters = [new("name", "path", "string", $"name of the {optionsKind}")];
        if (isNamespaced)
            parameters.Add(_namespace);
        if (hasPath)
            parameters.Add(new ApiParameter("path", "path", "string", "path to the resource"));
        parameters.AddRange(optionsKind switch
        {
            "PodAttachOptions" => Queries(operation, "container", "stderr:boolean", "stdin:boolean", "stdout:boolean", "tty:boolean"),
            "PodExecOptions" => Queries(operation, "command", "container", "stderr:boolean", "stdin:boolean", "stdout:boolean", "tty:boolean"),
            "PodPortForwardOptions" => Queries(operation, "ports:integer"),
            _ => [new ApiParameter("path", "query", "string", Text(operation, "path1"))],
        });
        return parameters;
    }

    private List<ApiParameter> Queries(string operation, params ReadOnlySpan<string> names)
    {
        var parameters = new List<ApiParameter>(names.Length);
        foreach (var name in names)
        {
            var colon = name.IndexOf(':', StringComparison.Ordinal);
            parameters.Add(colon < 0 ? Query(operation, name) : Query(operation, name[..colon], name[(colon + 1)..]));
        }
        return parameters;
    }

    private ApiParameter Query(string operation, string name, string type = "string") => new(name, "query", type, Text(operation, name));

    private string Text(string operation, string name) => _descriptions.OfParameter(operation, name);
}
