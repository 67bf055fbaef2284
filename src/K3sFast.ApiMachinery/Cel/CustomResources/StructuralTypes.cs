using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What expressions see of values of a structural schema: the types of its fields, and how large they may become in one request.</summary>
internal static class StructuralTypes
{
    /// <summary>The most bytes of a request: no value in it is larger.</summary>
    internal const long MaxRequest = 3 * 1024 * 1024;

    // JSON of the shortest and longest of their kind, with quotation marks: "0" to a duration of 30 characters, a date, and a date with its time.
    private const long MinDuration = 3;
    private const long MaxDuration = 32;
    private const long Date = 12;
    private const long MinDateTime = 21;
    private const long MaxDateTime = 32;

    // Quotation marks, brackets or braces.
    private const long Ends = 2;

    // A key of two characters with its marks, colon and comma.
    private const long Entry = 6;

    // A code point has up to four bytes; lengths in schemas count code points.
    private const long BytesPerCodePoint = 4;

    /// <summary>The shape; null for what expressions do not see. A resource has apiVersion, kind, metadata.name and metadata.generateName anyhow.</summary>
    internal static CelShape? Of(ApiNode schema, string name, bool isResource)
    {
        StackGuard.Enter();
        if (schema["x-kubernetes-int-or-string"u8].AsBool())
            return new CelShape(CelType.Dyn, LengthOf(schema) * BytesPerCodePoint ?? MaxRequest - Ends, 1);
        return schema["type"u8].AsString() switch
        {
            "array" when schema["items"u8].Kind == NodeKind.Object => List(schema, name),
            "object" when schema["additionalProperties"u8].Kind == NodeKind.Object && !isResource => Map(schema, name),
            "object" => Object(schema, name, isResource),
            "string" => Text(schema),
            "boolean" => new CelShape(CelType.Bool, 0, 4),
            "number" => new CelShape(CelType.Double, 0, 1),
            "integer" => new CelShape(CelType.Int, 0, 1),
            _ => null,
        };
    }

    private static CelShape? Below(ApiNode schema, string name) => Of(schema, name, schema["x-kubernetes-embedded-resource"u8].AsBool());

    private static CelShape? List(ApiNode schema, string name) => Below(schema["items"u8], $"{name}.@idx") is { } element
        ? CelShape.List(element, Bound(schema["maxItems"u8]) ?? (MaxRequest - Ends) / (element.MinBytes + 1))
        : null;

    // Keys count as empty: what is known of them bounds their number, not their length.
    private static CelShape? Map(ApiNode schema, string name) => Below(schema["additionalProperties"u8], $"{name}.@elem") is { } value
        ? CelShape.Map(CelShape.String(0), value, Bound(schema["maxProperties"u8]) ?? (MaxRequest - Ends) / (value.MinBytes + Entry))
        : null;

    private static CelShape Text(ApiNode schema) => schema["format"u8].AsString() switch
    {
        "byte" => new CelShape(CelType.Bytes, LengthOf(schema) ?? MaxRequest - Ends, Ends),
        "duration" => new CelShape(CelType.Duration, MaxDuration, MinDuration),
        "date" => new CelShape(CelType.Timestamp, Date, Date),
        "date-time" => new CelShape(CelType.Timestamp, MaxDateTime, MinDateTime),
        _ => CelShape.String(LengthOf(schema) * BytesPerCodePoint ?? (schema["enum"u8].Count > 0 ? Longest(schema["enum"u8]) : MaxRequest - Ends)),
    };

    private static long? LengthOf(ApiNode schema) => Bound(schema["maxLength"u8]);

    private static long? Bound(ApiNode limit) => limit.Kind == NodeKind.Number ? Math.Max(limit.AsInt64(), 0) : null;

    private static long Longest(ApiNode values)
    {
        long longest = 0;
        foreach (var value in values.Elements)
            longest = value.Kind == NodeKind.String ? Math.Max(longest, value.Utf8.Length) : longest;
        return longest;
    }

    private static CelShape Object(ApiNode schema, string name, bool isResource)
    {
        var shapes = new Dictionary<string, CelShape>();
        foreach (var property in schema["properties"u8].Members)
        {
            string field = Encoding.UTF8.GetString(property.Name);
            if (Below(property.Value, $"{name}.{field}") is { } shape)
                shapes[field] = shape;
        }
        if (isResource && !HasNames(schema["properties"u8]))
        {
            var text = CelShape.String(MaxRequest - Ends);
            shapes["apiVersion"] = shapes["kind"] = text;
            shapes["metadata"] = CelShape.Object($"{name}.metadata", new Dictionary<string, CelShape> { ["name"] = text, ["generateName"] = text });
        }
        var fields = new Dictionary<string, CelShape>();
        var types = new Dictionary<string, CelType>();
        foreach (var (field, shape) in shapes)
        {
            if (!CelNames.TryEscape(field, out string spelled))
                continue;
            fields[spelled] = shape;
            types[spelled] = shape.Type;
            if (CelNames.IsReserved(field))
                types[field] = shape.Type;
        }
        return CelShape.Object(name, fields, MinBytes(schema, shapes), types.GetValueOrDefault);
    }

    private static bool HasNames(ApiNode properties)
    {
        var metadata = properties["metadata"u8];
        return properties["kind"u8]["type"u8].Equals("string"u8) && properties["apiVersion"u8]["type"u8].Equals("string"u8) && metadata["type"u8].Equals("object"u8)
            && metadata["properties"u8]["name"u8]["type"u8].Equals("string"u8) && metadata["properties"u8]["generateName"u8]["type"u8].Equals("string"u8);
    }

    // Braces, and the required fields without a default: name, its quotation marks, colon, comma and the shortest value.
    private static long MinBytes(ApiNode schema, Dictionary<string, CelShape> shapes)
    {
        long bytes = Ends;
        foreach (var required in schema["required"u8].Elements)
        {
            if (shapes.TryGetValue(required.AsString(), out var shape) && schema["properties"u8][required.Utf8]["default"u8].IsNullOrUndefined)
                bytes += required.Utf8.Length + shape.MinBytes + 4;
        }
        return bytes;
    }
}
