using System.Collections.Concurrent;

namespace K3sFast.ApiMachinery;

/// <summary>What expressions see of a kind: the types of its fields, looked up when they are asked for.</summary>
/// <remarks>Quantities, and what may be a number or text, are judged at run time.</remarks>
internal static class SchemaTypes
{
    private static readonly CelType s_empty = CelType.Object("object", static _ => null);

    /// <summary>The type of objects of that schema; parts are named after the place where they stand.</summary>
    internal static CelType Of(TypeSchema schema, string name)
    {
        var known = new ConcurrentDictionary<string, CelType?>();
        return CelType.Object(name, spelled => known.GetOrAdd(spelled, asked => Find(schema, asked) is { } field ? Of(field, $"{name}.{asked}") : null));
    }

    private static FieldSchema? Find(TypeSchema schema, string spelled) =>
        CelNames.IsReserved(spelled) ? schema.FindField(spelled) :
        CelNames.TryUnescape(spelled, out string name) && CelNames.TryEscape(name, out string again) && again == spelled ? schema.FindField(name) : null;

    private static CelType Of(FieldSchema field, string name) => field.Cardinality switch
    {
        FieldCardinality.List => CelType.List(Element(field, $"{name}.@idx")),
        FieldCardinality.Map => CelType.Map(CelType.String, Element(field, $"{name}.@elem")),
        _ => Element(field, name),
    };

    private static CelType Element(FieldSchema field, string name) => field.Kind switch
    {
        FieldKind.String or FieldKind.Duration => CelType.String,
        FieldKind.Boolean => CelType.Bool,
        FieldKind.Int32 or FieldKind.Int64 => CelType.Int,
        FieldKind.Double => CelType.Double,
        FieldKind.Bytes => CelType.Bytes,
        FieldKind.Time or FieldKind.MicroTime => CelType.Timestamp,
        FieldKind.StringList => CelType.List(CelType.String),
        FieldKind.Message when field.Element is { } element => Of(element, name),
        FieldKind.RawExtension or FieldKind.FieldsV1 => s_empty,
        _ => CelType.Dyn,
    };
}
