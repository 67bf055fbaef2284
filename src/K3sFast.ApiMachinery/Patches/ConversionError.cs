using System.Buffers.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// What upstream says when the tree that a strategic merge patch makes does not fit its type: there it is converted without going through JSON, and the
/// words are that converter's, without a path.
/// </summary>
internal static class ConversionError
{
    /// <summary>The first misfit in the order of the fields; null when there is none of this kind.</summary>
    public static string? Find(ApiNode node, TypeSchema type)
    {
        StackGuard.Enter();
        if (node.Kind != NodeKind.Object)
            return $"cannot restore struct from: {GoKind(node)}";
        foreach (var field in type.Fields)
        {
            var value = node[field.JsonNameUtf8];
            if (!value.IsNullOrUndefined && InField(value, field) is { } error)
                return error;
        }
        return null;
    }

    private static string? InField(ApiNode value, FieldSchema field)
    {
        switch (field.Cardinality)
        {
            case FieldCardinality.List when value.Kind != NodeKind.Array:
                return $"cannot restore slice from {GoKind(value)}";
            case FieldCardinality.Map when value.Kind != NodeKind.Object:
                return $"cannot restore map from {GoKind(value)}";
            case FieldCardinality.List:
                foreach (var element in value.Elements)
                {
                    if (element.Kind != NodeKind.Null && InElement(element, field) is { } error)
                        return error;
                }
                return null;
            case FieldCardinality.Map:
                foreach (var member in value.Members)
                {
                    if (member.Value.Kind != NodeKind.Null && InElement(member.Value, field) is { } error)
                        return error;
                }
                return null;
            default:
                return InElement(value, field);
        }
    }

    private static string? InElement(ApiNode value, FieldSchema field) => field.Kind switch
    {
        FieldKind.Message => Find(value, field.Element!),
        FieldKind.String => InScalar(value, "string", NodeKind.String),
        FieldKind.Boolean => value.Kind is NodeKind.True or NodeKind.False ? null : "unrecognized type: bool",
        FieldKind.Int32 => InScalar(value, "int32", NodeKind.Number),
        FieldKind.Int64 => InScalar(value, "int64", NodeKind.Number),
        FieldKind.Double => InScalar(value, "float64", NodeKind.Number),
        _ => null,
    };

    private static string? InScalar(ApiNode value, string goType, NodeKind wanted)
    {
        if (value.Kind == wanted)
            return wanted == NodeKind.Number && goType[0] == 'i' && IsFraction(value) ? $"cannot convert float64 to {goType}" : null;
        // Go could make a text of a whole number, which is refused by its own rule.
        return value.Kind == NodeKind.Number && goType == "string" && value.TryGetInt64(out _) ? "cannot convert int64 to string" : $"unrecognized type: {goType}";
    }

    private static bool IsFraction(ApiNode value) =>
        !value.TryGetInt64(out _) && Utf8Parser.TryParse(value.Utf8, out double number, out _) && number != Math.Truncate(number);

    private static string GoKind(ApiNode node) => node.Kind switch
    {
        NodeKind.Object => "map",
        NodeKind.Array => "slice",
        NodeKind.String => "string",
        NodeKind.Number => node.TryGetInt64(out _) ? "int64" : "float64",
        _ => "bool",
    };
}
