namespace K3sFast.ApiMachinery;

/// <summary>A parameter of an operation. Compared by value: what all operations of a path share is written once.</summary>
internal sealed record ApiParameter(string Name, string In, string Type, string Description)
{
    internal bool IsRequired => In == "path";

    // By name; a path parameter before the query parameter of the same name.
    internal static int Compare(ApiParameter one, ApiParameter other)
    {
        var byName = string.CompareOrdinal(one.Name, other.Name);
        return byName != 0 ? byName : string.CompareOrdinal(one.In, other.In);
    }
}

/// <summary>One method of one path, as both dialects of OpenAPI tell it.</summary>
internal sealed record ApiOperation
{
    /// <summary>The type of an answer that is text.</summary>
    internal const string Text = "string";

    internal static readonly string[] ObjectMedia = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

    internal static readonly string[] ListMedia = [.. ObjectMedia, "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

    internal static readonly string[] PatchMedia =
        ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"];

    internal static readonly string[] AnyMedia = ["*/*"];

    /// <summary>get, put, post, delete, options, head or patch.</summary>
    internal required string Method { get; init; }

    internal required string Id { get; init; }

    internal required string Description { get; init; }

    internal required string Tag { get; init; }

    internal List<ApiParameter> Parameters { get; init; } = [];

    /// <summary>The full name of the body's type; null when there is none.</summary>
    internal string? Body { get; init; }

    internal bool IsBodyRequired { get; init; } = true;

    internal string[] Consumes { get; init; } = AnyMedia;

    internal string[] Produces { get; init; } = ObjectMedia;

    /// <summary>The full name of the answer's type, or <see cref="Text"/>.</summary>
    internal required string Answer { get; init; }

    /// <summary>The codes of success.</summary>
    internal string[] Codes { get; init; } = ["200"];

    /// <summary>x-kubernetes-action; "" for paths that are no resources.</summary>
    internal string Action { get; init; } = "";

    internal (string Group, string Version, string Kind) Kind { get; init; }

    internal static string CodeText(string code) => code switch { "200" => "OK", "201" => "Created", "202" => "Accepted", _ => "Unauthorized" };
}

/// <summary>A path and what can be done there, methods in the order in which they are written.</summary>
internal sealed record ApiPath(string Path, List<ApiOperation> Operations)
{
    private static readonly string[] s_methods = ["get", "put", "post", "delete", "options", "head", "patch"];

    internal IEnumerable<ApiOperation> Ordered => Operations.OrderBy(static operation => Array.IndexOf(s_methods, operation.Method));

    /// <summary>The parameters that every operation of the path has.</summary>
    internal List<ApiParameter> Shared()
    {
        var shared = new List<ApiParameter>(Operations[0].Parameters);
        foreach (var operation in Operations)
            shared.RemoveAll(parameter => !operation.Parameters.Contains(parameter));
        shared.Sort(ApiParameter.Compare);
        return shared;
    }

    /// <summary>The operation's own parameters.</summary>
    internal static List<ApiParameter> Own(ApiOperation operation, List<ApiParameter> shared)
    {
        var own = operation.Parameters.FindAll(parameter => !shared.Contains(parameter));
        own.Sort(ApiParameter.Compare);
        return own;
    }
}
