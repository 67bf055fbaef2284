using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What expressions see of values of a structural schema: the types of its fields.</summary>
internal static class StructuralTypes
{
    /// <summary>The type; null for what expressions do not see. A resource has apiVersion, kind, metadata.name and metadata.generateName anyhow.</summary>
    internal static CelType? Of(ApiNode schema, string name, bool isResource)
    {
        if (schema["x-kubernetes-int-or-string"u8].AsBool())
            return CelType.Dyn;
        return schema["type"u8].AsString() switch
        {
            "array" when schema["items"u8].Kind == NodeKind.Object => Below(schema["items"u8], $"{name}.@idx") is { } element ? CelType.List(element) : null,
            "object" when schema["additionalProperties"u8].Kind == NodeKind.Object && !isResource =>
                Below(schema["additionalProperties"u8], $"{name}.@elem") is { } value ? CelType.Map(CelType.String, value) : null,
            "object" => Struct(schema, name, isResource),
            "string" => schema["format"u8].AsString() switch
            {
                "byte" => CelType.Bytes,
                "duration" => CelType.Duration,
                "date" or "date-time" => CelType.Timestamp,
                _ => CelType.String,
            },
            "boolean" => CelType.Bool,
            "number" => CelType.Double,
            "integer" => CelType.Int,
            _ => null,
        };
    }

    private static CelType? Below(ApiNode schema, string name) => Of(schema, name, schema["x-kubernetes-embedded-resource"u8].AsBool());

    private static CelType Struct(ApiNode schema, string name, bool isResource)
    {
        var fields = new Dictionary<string, CelType>();
        foreach (var property in schema["properties"u8].Members)
        {
            string field = Encoding.UTF8.GetString(property.Name);
            if (!CelNames.TryEscape(field, out string spelled) || Below(property.Value, $"{name}.{field}") is not { } type)
                continue;
            fields[spelled] = type;
            if (CelNames.IsReserved(field))
                fields[field] = type;
        }
        if (isResource)
        {
            fields["apiVersion"] = fields["kind"] = CelType.String;
            var metadata = schema["properties"u8]["metadata"u8]["properties"u8];
            if (metadata["name"u8].IsNullOrUndefined || metadata["generateName"u8].IsNullOrUndefined)
                fields["metadata"] = CelType.Object($"{name}.metadata", new Dictionary<string, CelType> { ["name"] = CelType.String, ["generateName"] = CelType.String });
        }
        return CelType.Object(name, fields);
    }
}
