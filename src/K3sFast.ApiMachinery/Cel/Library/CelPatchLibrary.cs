using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>What mutating policies may make beside other values: objects of any field (Object, Object.spec ...) and operations of JSON patches.</summary>
public static class CelPatchLibrary
{
    private static readonly CelType s_operation = CelType.Object("JSONPatch", static field => field switch
    {
        "op" or "path" or "from" => CelType.String,
        "value" => CelType.Dyn,
        _ => null,
    });

    /// <summary>The result that a JSON patch expression must have.</summary>
    public static CelType PatchType { get; } = CelType.List(s_operation);

    /// <summary>The result that an apply configuration expression must have.</summary>
    public static CelType ObjectType { get; } = ObjectAt("Object");

    /// <summary>The environment with those types and jsonpatch.escapeKey.</summary>
    public static CelEnvironment WithPatchTypes(this CelEnvironment environment) => environment.WithTypes(Find).WithFunctions(
    [
        Function("jsonpatch.escapeKey", Global("string_jsonpatch_escapeKey_string", [CelType.String], CelType.String,
            static args => CelValue.Of(args[0].AsString.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal)))),
    ]);

    private static CelType? Find(string name) => name == "JSONPatch" ? s_operation : name == "Object" || name.StartsWith("Object.", StringComparison.Ordinal) ? ObjectAt(name) : null;

    // A field may hold anything; only objects that are made below it must be of its own type.
    private static CelType ObjectAt(string name) => CelType.Object(name, static _ => CelType.Dyn);
}
