namespace K3sFast.ApiMachinery;

/// <summary>Validation of what a version of a custom resource definition has beside its schema: deprecation, subresources, printed columns, selectable fields.</summary>
internal static class CrdVersionParts
{
    private const int MaxSelectableFields = 8;

    internal static void Deprecation(At at, ApiNode version)
    {
        var warning = version["deprecationWarning"u8];
        if (warning.IsNullOrUndefined)
            return;
        if (!version["deprecated"u8].AsBool())
        {
            at.Invalid(warning, "can only be set for deprecated versions");
            return;
        }
        if (warning.Utf8.Length > 256)
            at.Invalid(warning, "must be <= 256 characters long");
        if (warning.Utf8.IsEmpty)
            at.Invalid(warning, "must not be an empty string");
        int i = 0;
        foreach (var rune in warning.AsString().EnumerateRunes())
        {
            if (!GoText.IsPrint(rune))
            {
                at.Invalid(warning, $"must only contain printable UTF-8 characters; non-printable character found at index {i}");
                break;
            }
            i += rune.Utf8SequenceLength;
        }
    }

    internal static bool HasStatus(ApiNode subresources) => !subresources["status"u8].IsNullOrUndefined;

    internal static void Subresources(At at, ApiNode subresources)
    {
        var scale = subresources["scale"u8];
        if (scale.Kind != NodeKind.Object)
            return;
        ScalePath(at["scale"]["specReplicasPath"], scale["specReplicasPath"u8], "should be a json path under .spec", ".spec.");
        ScalePath(at["scale"]["statusReplicasPath"], scale["statusReplicasPath"u8], "should be a json path under .status", ".status.");
        if (!scale["labelSelectorPath"u8].Utf8.IsEmpty)
            ScalePath(at["scale"]["labelSelectorPath"], scale["labelSelectorPath"u8], "should be a json path under either .spec or .status", ".spec.", ".status.");
    }

    private static void ScalePath(At at, ApiNode path, string detail, params ReadOnlySpan<string> prefixes)
    {
        string text = path.AsString();
        if (text.Length == 0)
        {
            at.Required();
            return;
        }
        if (!IsSimplePath(at, path))
            return;
        foreach (string prefix in prefixes)
            if (text.StartsWith(prefix, StringComparison.Ordinal))
                return;
        at.Invalid(path, detail);
    }

    private static bool IsSimplePath(At at, ApiNode path)
    {
        if (path.Utf8.StartsWith("."u8))
            return true;
        at.Invalid(path, "must be a simple json path starting with .");
        return false;
    }

    internal static void Columns(At at, ApiNode columns)
    {
        const string Types = "boolean,date,integer,number,string", Forms = "byte,date,date-time,double,float,int32,int64,password";
        int i = 0;
        foreach (var column in columns.Elements)
        {
            var place = at[i++];
            place["name"].RequiredText(column["name"u8]);
            if (column["type"u8].Utf8.IsEmpty)
                place["type"].Required($"must be one of {Types}");
            else if (!Types.Split(',').Contains(column["type"u8].AsString()))
                place["type"].Invalid(column["type"u8], $"must be one of {Types}");
            if (!column["format"u8].Utf8.IsEmpty && !Forms.Split(',').Contains(column["format"u8].AsString()))
                place["format"].Invalid(column["format"u8], $"must be one of {Forms}");
            if (column["jsonPath"u8].Utf8.IsEmpty)
                place["JSONPath"].Required();
            else
                IsSimplePath(place["JSONPath"], column["jsonPath"u8]);
        }
    }

    internal static void SelectableFields(At at, ApiNode version, ApiNode schema, string withoutSchema, CrdOptions options)
    {
        if (schema.Kind != NodeKind.Object)
        {
            at.Invalid("", withoutSchema);
            return;
        }
        var fields = version["selectableFields"u8];
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var field in fields.Elements)
        {
            var place = at[i++]["jsonPath"];
            var path = field["jsonPath"u8];
            if (path.Utf8.IsEmpty)
            {
                place.Required();
                continue;
            }
            if (SchemaPath.Find(path.AsString(), schema, allowsBrackets: false, out var found, out string name) is { } problem)
            {
                place.Invalid(path, $"is an invalid path: {problem}");
                continue;
            }
            if (name == "metadata" || name.StartsWith("metadata.", StringComparison.Ordinal))
                place.Invalid(path, "must not point to fields in metadata");
            if (found["type"u8].AsString() is not ("string" or "boolean" or "integer"))
                place.Invalid(path, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
            if (!seen.Add(name))
                place.Duplicate(path);
        }
        if (seen.Count > MaxSelectableFields && !HadAsMany(version, options.Old["spec"u8]["versions"u8]))
            at.TooMany(seen.Count, MaxSelectableFields);
    }

    private static bool HadAsMany(ApiNode version, ApiNode oldVersions)
    {
        foreach (var old in oldVersions.Elements)
            if (old["name"u8].Equals(version["name"u8].Utf8))
                return old["selectableFields"u8].Count > MaxSelectableFields && old["selectableFields"u8].DeepEquals(version["selectableFields"u8]);
        return false;
    }
}
