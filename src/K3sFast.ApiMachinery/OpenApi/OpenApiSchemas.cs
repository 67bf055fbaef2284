using System.Text.Json;

namespace K3sFast.ApiMachinery;

/// <summary>Writes types as OpenAPI v3 schemas, with the extensions by which clients merge and apply.</summary>
internal static class OpenApiSchemas
{
    private const string JsonSchema = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";

    /// <summary>The name of the schema that a kind of field refers to; null for plain JSON types and messages.</summary>
    internal static string? SpecialName(FieldKind kind) => kind switch
    {
        FieldKind.Quantity => "io.k8s.apimachinery.pkg.api.resource.Quantity",
        FieldKind.IntOrString => "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        FieldKind.Time => "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        FieldKind.MicroTime => "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        FieldKind.Duration => "io.k8s.apimachinery.pkg.apis.meta.v1.Duration",
        FieldKind.RawExtension => "io.k8s.apimachinery.pkg.runtime.RawExtension",
        FieldKind.FieldsV1 => "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
        FieldKind.Any => JsonSchema + "JSON",
        FieldKind.SchemaOrArray => JsonSchema + "JSONSchemaPropsOrArray",
        FieldKind.SchemaOrBool => JsonSchema + "JSONSchemaPropsOrBool",
        FieldKind.SchemaOrStringArray => JsonSchema + "JSONSchemaPropsOrStringArray",
        _ => null,
    };

    /// <summary>Writes the members of a special schema.</summary>
    internal static void WriteSpecial(Utf8JsonWriter json, string name)
    {
        switch (name[(name.LastIndexOf('.') + 1)..])
        {
            case "Quantity":
                json.WriteString("description", "An amount of a resource, for example 500m, 1Gi or 2e3.");
                WriteOneOf(json, "string", "number");
                break;
            case "IntOrString":
                json.WriteString("description", "A number, or a text such as a percentage or a port name.");
                json.WriteString("format", "int-or-string");
                WriteOneOf(json, "integer", "string");
                break;
            case "Time" or "MicroTime":
                json.WriteString("description", "A time as RFC 3339 text.");
                json.WriteString("type", "string");
                json.WriteString("format", "date-time");
                break;
            case "Duration":
                json.WriteString("description", "A duration, for example 1h30m.");
                json.WriteString("type", "string");
                break;
            case "RawExtension" or "FieldsV1" or "Patch":
                json.WriteString("type", "object");
                break;
        }
    }

    /// <summary>Writes the members of a type's schema; a top-level kind also names its group, version and kind.</summary>
    internal static void WriteType(Utf8JsonWriter json, TypeSchema type, string group, string version)
    {
        json.WriteString("type", "object");
        var fields = type.Fields;
        bool hasRequired = false;
        foreach (var field in fields)
            hasRequired |= field.Required;
        if (hasRequired)
        {
            json.WriteStartArray("required");
            foreach (var field in fields)
                if (field.Required)
                    json.WriteStringValue(field.JsonName);
            json.WriteEndArray();
        }
        if (fields.Length > 0)
        {
            json.WriteStartObject("properties");
            foreach (var field in fields)
            {
                json.WriteStartObject(field.JsonName);
                WriteField(json, field);
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        if (type.Kind.Length > 0)
        {
            // Options and events are known to every group version: each document names them as its own.
            bool isShared = type.Kind is "DeleteOptions" or "WatchEvent";
            json.WriteStartArray("x-kubernetes-group-version-kind");
            WriteKind(json, isShared ? group : type.Group, isShared ? version : type.Version, type.Kind);
            json.WriteEndArray();
        }
        if (type.MapType is { } mapType)
            json.WriteString("x-kubernetes-map-type", mapType);
        if (type.Unions is { } unions)
        {
            json.WritePropertyName("x-kubernetes-unions");
            json.WriteRawValue(unions);
        }
    }

    internal static void WriteKind(Utf8JsonWriter json, string group, string version, string kind)
    {
        json.WriteStartObject();
        json.WriteString("group", group);
        json.WriteString("kind", kind);
        json.WriteString("version", version);
        json.WriteEndObject();
    }

    internal static void WriteReference(Utf8JsonWriter json, string type) => json.WriteString("$ref", "#/components/schemas/" + type);

    private static void WriteField(Utf8JsonWriter json, FieldSchema field)
    {
        switch (field.Cardinality)
        {
            case FieldCardinality.List:
                json.WriteString("type", "array");
                json.WriteStartObject("items");
                WriteElement(json, field, isAlone: true);
                json.WriteEndObject();
                break;
            case FieldCardinality.Map:
                json.WriteString("type", "object");
                json.WriteStartObject("additionalProperties");
                WriteElement(json, field, isAlone: true);
                json.WriteEndObject();
                break;
            default:
                WriteElement(json, field, isAlone: false);
                break;
        }
        if (field.Cardinality == FieldCardinality.One && field.Enum.Length > 0)
        {
            json.WriteStartArray("enum");
            foreach (var value in field.Enum)
                json.WriteStringValue(value);
            json.WriteEndArray();
        }
        if (field.Default is { } value1 && field.Cardinality == FieldCardinality.One)
        {
            json.WritePropertyName("default");
            json.WriteRawValue(value1);
        }
        WriteExtensions(json, field);
    }

    private static void WriteExtensions(Utf8JsonWriter json, FieldSchema field)
    {
        if (field.ListMapKeys.Length > 0)
        {
            json.WriteStartArray("x-kubernetes-list-map-keys");
            foreach (var key in field.ListMapKeys)
                json.WriteStringValue(key);
            json.WriteEndArray();
        }
        if (field.ListType is { } listType)
            json.WriteString("x-kubernetes-list-type", listType);
        if (field.MapType is { } mapType && field.Cardinality == FieldCardinality.Map)
            json.WriteString("x-kubernetes-map-type", mapType);
        if (field.PatchMergeKey is { } mergeKey)
            json.WriteString("x-kubernetes-patch-merge-key", mergeKey);
        string strategy = string.Join(',', new[] { field.PatchMerge ? "merge" : "", field.PatchReplace ? "replace" : "", field.PatchRetainKeys ? "retainKeys" : "" }.Where(static word => word.Length > 0));
        if (strategy.Length > 0)
            json.WriteString("x-kubernetes-patch-strategy", strategy);
    }

    // Beside $ref nothing counts: a field that says more wraps it in allOf, as upstream's documents do.
    private static void WriteElement(Utf8JsonWriter json, FieldSchema field, bool isAlone)
    {
        if ((field.Element?.FullName ?? SpecialName(field.Kind)) is { } reference)
        {
            if (isAlone)
            {
                WriteReference(json, reference);
                return;
            }
            json.WriteStartArray("allOf");
            json.WriteStartObject();
            WriteReference(json, reference);
            json.WriteEndObject();
            json.WriteEndArray();
            return;
        }
        switch (field.Kind)
        {
            case FieldKind.String:
                json.WriteString("type", "string");
                break;
            case FieldKind.Bytes:
                json.WriteString("type", "string");
                json.WriteString("format", "byte");
                break;
            case FieldKind.Boolean:
                json.WriteString("type", "boolean");
                break;
            case FieldKind.Int32:
                json.WriteString("type", "integer");
                json.WriteString("format", "int32");
                break;
            case FieldKind.Int64:
                json.WriteString("type", "integer");
                json.WriteString("format", "int64");
                break;
            case FieldKind.Double:
                json.WriteString("type", "number");
                json.WriteString("format", "double");
                break;
            case FieldKind.StringList:
                json.WriteString("type", "array");
                json.WriteStartObject("items");
                json.WriteString("type", "string");
                json.WriteEndObject();
                break;
        }
    }

    private static void WriteOneOf(Utf8JsonWriter json, params ReadOnlySpan<string> types)
    {
        json.WriteStartArray("oneOf");
        foreach (string type in types)
        {
            json.WriteStartObject();
            json.WriteString("type", type);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }
}
