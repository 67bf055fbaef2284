using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>The two dialects in which upstream publishes its schemas.</summary>
internal enum OpenApiDialect : byte
{
    V2,
    V3,
}

/// <summary>
/// Writes types as OpenAPI schemas, with the extensions by which clients merge and apply. Version 3 has defaults, alternatives (oneOf) and references
/// wrapped in allOf; version 2 has none of them.
/// </summary>
internal sealed class SchemaWriter(Utf8JsonWriter json, OpenApiDialect dialect, TypeDescriptions descriptions, KindMarks marks)
{
    private const string JsonSchema = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";
    private const string Meta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

    private readonly string _referencePrefix = dialect == OpenApiDialect.V2 ? "#/definitions/" : "#/components/schemas/";

    /// <summary>The name of the schema that a kind of field refers to; null for plain JSON types and messages.</summary>
    internal static string? SpecialName(FieldKind kind) => kind switch
    {
        FieldKind.Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity",
        FieldKind.IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        FieldKind.Time => Meta + "Time",
        FieldKind.MicroTime => Meta + "MicroTime",
        FieldKind.Duration => Meta + "Duration",
        FieldKind.RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension",
        FieldKind.FieldsV1 => Meta + "FieldsV1",
        FieldKind.Any => JsonSchema + "JSON",
        FieldKind.SchemaOrArray => JsonSchema + "JSONSchemaPropsOrArray",
        FieldKind.SchemaOrBool => JsonSchema + "JSONSchemaPropsOrBool",
        FieldKind.SchemaOrStringArray => JsonSchema + "JSONSchemaPropsOrStringArray",
        _ => null,
    };

    /// <summary>True for a type whose JSON is not an object of its fields.</summary>
    internal static bool IsSpecial(TypeSchema type) => ShortName(type.FullName) is "Quantity" or "IntOrString" or "Time" or "MicroTime" or "Duration" or "RawExtension" or "FieldsV1" or "Patch"
        or "JSON" or "JSONSchemaPropsOrArray" or "JSONSchemaPropsOrBool" or "JSONSchemaPropsOrStringArray";

    /// <summary>Writes a schema that has no fields of its own, as a member of the collection of schemas.</summary>
    internal void WriteSpecial(string name)
    {
        json.WriteStartObject(name);
        var described = descriptions.OfType(name);
        json.WriteString("description"u8, described.Length > 0 ? described : SpecialDescription(name));
        switch (ShortName(name))
        {
            case "Quantity":
                WriteAlternatives("string", "", "string", "number");
                break;
            case "IntOrString":
                WriteAlternatives("string", "int-or-string", "integer", "string");
                break;
            case "Time" or "MicroTime":
                json.WriteString("type"u8, "string"u8);
                json.WriteString("format"u8, "date-time"u8);
                break;
            case "Duration":
                json.WriteString("type"u8, "string"u8);
                break;
            case "RawExtension" or "FieldsV1" or "Patch":
                json.WriteString("type"u8, "object"u8);
                break;
        }
        json.WriteEndObject();
    }

    /// <summary>Writes a type as a member of the collection of schemas.</summary>
    internal void WriteType(TypeSchema type)
    {
        json.WriteStartObject(type.FullName);
        WriteDescription(descriptions.OfType(type.FullName));
        json.WriteString("type"u8, "object"u8);
        var fields = type.Fields.ToArray();
        if (Array.Exists(fields, static field => field.Required))
        {
            json.WriteStartArray("required"u8);
            foreach (var field in fields)
                if (field.Required)
                    json.WriteStringValue(field.JsonName);
            json.WriteEndArray();
        }
        if (fields.Length > 0)
        {
            json.WriteStartObject("properties"u8);
            foreach (var field in fields.OrderBy(static field => field.JsonName, StringComparer.Ordinal))
            {
                json.WriteStartObject(field.JsonName);
                WriteField(type, field);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        if (type.Kind.Length > 0 && marks.Of(type) is { Count: > 0 } kinds)
        {
            json.WriteStartArray("x-kubernetes-group-version-kind"u8);
            foreach (var (group, version) in kinds)
                WriteKind(json, group, version, type.Kind);
            json.WriteEndArray();
        }
        if (type.MapType is { } mapType)
            json.WriteString("x-kubernetes-map-type"u8, mapType);
        if (type.Unions is { } unions)
        {
            json.WritePropertyName("x-kubernetes-unions"u8);
            json.WriteRawValue(unions);
        }
        json.WriteEndObject();
    }

    internal static void WriteKind(Utf8JsonWriter json, string group, string version, string kind)
    {
        json.WriteStartObject();
        json.WriteString("group"u8, group);
        json.WriteString("kind"u8, kind);
        json.WriteString("version"u8, version);
        json.WriteEndObject();
    }

    /// <summary>Writes "schema": a reference, or a string for answers that are text.</summary>
    internal void WriteSchemaMember(string type)
    {
        json.WriteStartObject("schema"u8);
        if (type == ApiOperation.Text)
            json.WriteString("type"u8, "string"u8);
        else
            WriteReference(type);
        json.WriteEndObject();
    }

    private void WriteReference(string type) => json.WriteString("$ref"u8, _referencePrefix + type);

    private void WriteField(TypeSchema type, FieldSchema field)
    {
        var isOne = field.Cardinality == FieldCardinality.One;
        var described = Described(type, field);
        WriteDescription(described);
        if (isOne && Reference(field) is { } reference)
        {
            WriteDefault(field);
            WriteOwnReference(reference, isAlone: described.Length == 0 && field.Default is null);
        }
        else if (isOne)
        {
            WriteScalar(field);
            WriteDefault(field);
            WriteEnum(field);
        }
        else
        {
            json.WriteString("type"u8, field.Cardinality == FieldCardinality.List ? "array"u8 : "object"u8);
            WriteDefault(field);
            json.WriteStartObject(field.Cardinality == FieldCardinality.List ? "items"u8 : "additionalProperties"u8);
            if (Reference(field) is { } element)
                WriteReference(element);
            else
            {
                WriteScalar(field);
                WriteEnum(field);
            }
            json.WriteEndObject();
        }
        WriteExtensions(field);
    }

    private string Described(TypeSchema type, FieldSchema field)
    {
        var described = descriptions.OfMember(type.FullName, field.JsonName);
        if (field.Enum.Length == 0 || field.Cardinality != FieldCardinality.One)
            return described;
        var values = string.Concat(field.Enum.Order(StringComparer.Ordinal).Select(static value => $"\n - `\"{value}\"`"));
        return described.Length == 0 ? $"Possible enum values:{values}" : $"{described}\n\nPossible enum values:{values}";
    }

    private void WriteDescription(string text)
    {
        if (text.Length > 0)
            json.WriteString("description"u8, text);
    }

    private void WriteDefault(FieldSchema field)
    {
        if (dialect == OpenApiDialect.V2 || field.Default is not { } value)
            return;
        json.WritePropertyName("default"u8);
        json.WriteRawValue(value);
    }

    private void WriteEnum(FieldSchema field)
    {
        if (field.Enum.Length == 0)
            return;
        json.WriteStartArray("enum"u8);
        foreach (var value in field.Enum.Order(StringComparer.Ordinal))
            json.WriteStringValue(value);
        json.WriteEndArray();
    }

    // Beside $ref nothing counts in version 3: what says more wraps it in allOf.
    private void WriteOwnReference(string type, bool isAlone)
    {
        if (dialect == OpenApiDialect.V2 || isAlone)
        {
            WriteReference(type);
            return;
        }
        json.WriteStartArray("allOf"u8);
        json.WriteStartObject();
        WriteReference(type);
        json.WriteEndObject();
        json.WriteEndArray();
    }

    private void WriteExtensions(FieldSchema field)
    {
        if (field.ListMapKeys.Length > 0)
        {
            json.WriteStartArray("x-kubernetes-list-map-keys"u8);
            foreach (var key in field.ListMapKeys)
                json.WriteStringValue(key);
            json.WriteEndArray();
        }
        if (field.ListType is { } listType)
            json.WriteString("x-kubernetes-list-type"u8, listType);
        // On a single object only the exception is told: what its type says is told there.
        if (field.MapType is { } mapType && (field.Cardinality == FieldCardinality.Map || mapType == "granular"))
            json.WriteString("x-kubernetes-map-type"u8, mapType);
        if (field.PatchMergeKey is { } mergeKey)
            json.WriteString("x-kubernetes-patch-merge-key"u8, mergeKey);
        var strategy = string.Join(',', new[] { field.PatchMerge ? "merge" : "", field.PatchReplace ? "replace" : "", field.PatchRetainKeys ? "retainKeys" : "" }
            .Where(static word => word.Length > 0));
        if (strategy.Length > 0)
            json.WriteString("x-kubernetes-patch-strategy"u8, strategy);
    }

    private static string? Reference(FieldSchema field) => field.Kind is FieldKind.SchemaOrArray or FieldKind.SchemaOrBool or FieldKind.SchemaOrStringArray
        ? SpecialName(field.Kind)
        : field.Element?.FullName ?? SpecialName(field.Kind);

    private void WriteScalar(FieldSchema field)
    {
        if (field.Kind == FieldKind.StringList)
        {
            json.WriteString("type"u8, "array"u8);
            json.WriteStartObject("items"u8);
            json.WriteString("type"u8, "string"u8);
            json.WriteEndObject();
            return;
        }
        var (type, format) = field.Kind switch
        {
            FieldKind.Bytes => ("string", "byte"),
            FieldKind.Boolean => ("boolean", ""),
            FieldKind.Int32 => ("integer", "int32"),
            FieldKind.Int64 => ("integer", "int64"),
            FieldKind.Double => ("number", "double"),
            _ => ("string", field.Format ?? ""),
        };
        json.WriteString("type"u8, type);
        if (format.Length > 0)
            json.WriteString("format"u8, format);
    }

    private void WriteAlternatives(string type, string format, params ReadOnlySpan<string> types)
    {
        if (dialect == OpenApiDialect.V2)
            json.WriteString("type"u8, type);
        if (format.Length > 0)
            json.WriteString("format"u8, format);
        if (dialect == OpenApiDialect.V2)
            return;
        json.WriteStartArray("oneOf"u8);
        foreach (var alternative in types)
        {
            json.WriteStartObject();
            json.WriteString("type"u8, alternative);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    // The package has no documentation of what C# has types of its own for.
    private static string SpecialDescription(string name) => ShortName(name) switch
    {
        "IntOrString" => "A number, or a text such as a percentage or a port name.",
        "Time" => "A time as RFC 3339 text, whole seconds.",
        "MicroTime" => "A time as RFC 3339 text, microseconds.",
        "Duration" => "A duration, for example 1h30m.",
        "RawExtension" => "Any object of an API; apiVersion and kind tell which.",
        "FieldsV1" => "A set of fields as nested objects: f:<name> is a member, k:<keys> an element of a list by its keys, v:<value> an element by its value, i:<index> an element by its place; . is the member itself.",
        "Patch" => "A patch in the form that the content type names.",
        "JSON" => "Any JSON value: objects, arrays, numbers, strings, booleans or null.",
        "JSONSchemaPropsOrArray" => "A JSON schema, or an array of them.",
        "JSONSchemaPropsOrBool" => "A JSON schema, or a boolean.",
        "JSONSchemaPropsOrStringArray" => "A JSON schema, or an array of strings.",
        _ => "",
    };

    private static string ShortName(string name) => name[(name.LastIndexOf('.') + 1)..];
}
