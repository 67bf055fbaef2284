namespace K3sFast.ApiMachinery;

/// <summary>How a place in an object is owned and merged.</summary>
internal enum PlaceKind : byte
{
    /// <summary>A scalar.</summary>
    Scalar,

    /// <summary>An object with declared fields.</summary>
    Message,

    /// <summary>An object from any key to one kind of value.</summary>
    Map,

    /// <summary>A list.</summary>
    List,

    /// <summary>What the schema does not describe: objects by key, lists as a whole.</summary>
    Free,
}

/// <summary>
/// What the schema says about one place in an object: the counterpart of structured-merge-diff's atoms, made from our own tables. A custom resource's
/// schema goes the same way: what it does not describe is <see cref="PlaceKind.Free"/>.
/// </summary>
internal readonly struct TypedPlace
{
    private TypedPlace(PlaceKind kind, bool isAtomic, TypeSchema? type, FieldSchema? field)
    {
        Kind = kind;
        IsAtomic = isAtomic;
        Type = type;
        Field = field;
    }

    public PlaceKind Kind { get; }

    /// <summary>Owned and replaced as a whole.</summary>
    public bool IsAtomic { get; }

    /// <summary>The fields of a message.</summary>
    public TypeSchema? Type { get; }

    /// <summary>The field whose elements a map or list holds; for scalars the field itself.</summary>
    public FieldSchema? Field { get; }

    /// <summary>Members of an element that tell it from others; empty for sets and for everything that is no list.</summary>
    public ReadOnlySpan<FieldSchema> Keys => Kind != PlaceKind.List || Field is null ? [] : Field.KeyFields;

    /// <summary>A place that no schema describes.</summary>
    public static TypedPlace Free => new(PlaceKind.Free, false, null, null);

    /// <summary>The top of an object.</summary>
    public static TypedPlace Top(TypeSchema type) => new(PlaceKind.Message, type.MapType == "atomic", type, null);

    /// <summary>The value of a field.</summary>
    public static TypedPlace Of(FieldSchema field) => field.Cardinality switch
    {
        FieldCardinality.List => new(PlaceKind.List, IsAtomicList(field), null, field),
        FieldCardinality.Map => new(PlaceKind.Map, field.MapType == "atomic", null, field),
        _ => OfElement(field),
    };

    /// <summary>One element of the list or map here.</summary>
    public TypedPlace Element => Field is null ? Free
        : Kind == PlaceKind.List && Field.Kind == FieldKind.StringList ? new(PlaceKind.Scalar, false, null, Field)
        : OfElement(Field);

    /// <summary>A member of the object here: a declared field, a map's value, or something free.</summary>
    public TypedPlace Member(ReadOnlySpan<byte> name) => Kind switch
    {
        PlaceKind.Message => Type!.TryGetField(name, out var field) ? Of(field) : Free,
        PlaceKind.Map => Element,
        _ => Free,
    };

    private static TypedPlace OfElement(FieldSchema field)
    {
        switch (field.Kind)
        {
            case FieldKind.Message:
                // For a list the marker of the field is that of its elements; for a map it is the map's own.
                var marker = field.Cardinality == FieldCardinality.Map ? field.Element!.MapType : field.MapType;
                return new(PlaceKind.Message, marker == "atomic", field.Element, field);
            case FieldKind.StringList:
                return new(PlaceKind.List, true, null, field);
            case FieldKind.RawExtension:
                return new(PlaceKind.Free, true, null, field);
            case FieldKind.Any or FieldKind.FieldsV1 or FieldKind.SchemaOrArray or FieldKind.SchemaOrBool or FieldKind.SchemaOrStringArray:
                return new(PlaceKind.Free, false, null, field);
            default:
                return new(PlaceKind.Scalar, false, null, field);
        }
    }

    // Upstream falls back on the strategic merge markers where no list type is given.
    private static bool IsAtomicList(FieldSchema field) => field.ListType is null ? !field.PatchMerge : field.ListType == "atomic";
}
