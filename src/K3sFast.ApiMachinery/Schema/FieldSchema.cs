using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>How often a field's element stands under the field's name.</summary>
public enum FieldCardinality : byte
{
    /// <summary>The element itself.</summary>
    One,

    /// <summary>An array of elements.</summary>
    List,

    /// <summary>An object from any string to an element.</summary>
    Map,
}

/// <summary>What one element of a field is.</summary>
public enum FieldKind : byte
{
    /// <summary>A JSON string.</summary>
    String,

    /// <summary>true or false.</summary>
    Boolean,

    /// <summary>A whole number of 32 bits.</summary>
    Int32,

    /// <summary>A whole number of 64 bits.</summary>
    Int64,

    /// <summary>A floating point number.</summary>
    Double,

    /// <summary>Bytes, base64 in JSON.</summary>
    Bytes,

    /// <summary>An object of <see cref="FieldSchema.Element"/>.</summary>
    Message,

    /// <summary>resource.Quantity: canonical text in JSON.</summary>
    Quantity,

    /// <summary>intstr.IntOrString.</summary>
    IntOrString,

    /// <summary>metav1.Time: RFC 3339 UTC, whole seconds.</summary>
    Time,

    /// <summary>metav1.MicroTime: RFC 3339 UTC, microseconds.</summary>
    MicroTime,

    /// <summary>metav1.Duration: Go's duration text.</summary>
    Duration,

    /// <summary>runtime.RawExtension: any object.</summary>
    RawExtension,

    /// <summary>metav1.FieldsV1: any object.</summary>
    FieldsV1,

    /// <summary>Any JSON value.</summary>
    Any,

    /// <summary>An array of strings that is a message of its own on the wire (ExtraValue, Verbs).</summary>
    StringList,

    /// <summary>A JSON schema or an array of them.</summary>
    SchemaOrArray,

    /// <summary>A JSON schema or a boolean.</summary>
    SchemaOrBool,

    /// <summary>A JSON schema or an array of strings.</summary>
    SchemaOrStringArray,
}

/// <summary>One field of a type: everything that decoding, defaulting, validation, patching, protobuf and OpenAPI need to know of it. Immutable.</summary>
public sealed class FieldSchema
{
    private readonly byte[] _nameUtf8;
    private readonly byte[] _memberPrefix;
    private readonly Func<TypeSchema?>? _resolveElement;
    private TypeSchema? _element;
    private FieldSchema[]? _keyFields;

    /// <summary>A field of that JSON name; everything else is set by initialisers. The element type may be given late, for types that contain themselves.</summary>
    public FieldSchema(string jsonName, Func<TypeSchema?>? resolveElement = null)
    {
        JsonName = jsonName;
        _nameUtf8 = Encoding.UTF8.GetBytes(jsonName);
        _memberPrefix = Encoding.UTF8.GetBytes($"\"{jsonName}\":");
        _resolveElement = resolveElement;
    }

    /// <summary>The name in JSON; empty for an inlined field.</summary>
    public string JsonName { get; }

    /// <summary>The name in JSON as UTF-8.</summary>
    public ReadOnlySpan<byte> JsonNameUtf8 => _nameUtf8;

    /// <summary>What one element is.</summary>
    public FieldKind Kind { get; init; }

    /// <summary>One element, a list or a map of them.</summary>
    public FieldCardinality Cardinality { get; init; }

    /// <summary>The element's type when it is an object with fields; null otherwise.</summary>
    public TypeSchema? Element => _element ??= _resolveElement?.Invoke();

    /// <summary>The field number on the protobuf wire; 0 when the field has none.</summary>
    public int ProtoNumber { get; init; }

    /// <summary>Required by the published OpenAPI.</summary>
    public bool Required { get; init; }

    /// <summary>Left out of JSON when empty, by the rules of Go's encoding/json: a struct that is no pointer is never empty.</summary>
    public bool OmitEmpty { get; init; }

    /// <summary>Left out of JSON when it is the zero value, structs included.</summary>
    public bool OmitZero { get; init; }

    /// <summary>A pointer upstream: an explicit zero is different from absence.</summary>
    public bool Pointer { get; init; }

    /// <summary>The element's fields are flattened into the owner in JSON; on the wire they are a nested message when the field has a number.</summary>
    public bool Inline { get; init; }

    /// <summary>Strategic merge: the list or object is merged.</summary>
    public bool PatchMerge { get; init; }

    /// <summary>Strategic merge: the object is replaced as a whole.</summary>
    public bool PatchReplace { get; init; }

    /// <summary>Strategic merge: keys that the patch does not name may be dropped ($retainKeys).</summary>
    public bool PatchRetainKeys { get; init; }

    /// <summary>Strategic merge: the member that identifies an element of the list; null for lists of scalars.</summary>
    public string? PatchMergeKey { get; init; }

    /// <summary>atomic, set or map; null when not said (atomic).</summary>
    public string? ListType { get; init; }

    /// <summary>Members that together identify an element of a list of type map.</summary>
    public string[] ListMapKeys { get; init; } = [];

    /// <summary>atomic or granular; null when not said (granular).</summary>
    public string? MapType { get; init; }

    /// <summary>The default of the published schema as JSON text; null when there is none.</summary>
    public string? Default { get; init; }

    /// <summary>The allowed values; empty when not restricted.</summary>
    public string[] Enum { get; init; } = [];

    /// <summary>"discriminator" or "member:Name" for fields of a union; null otherwise.</summary>
    public string? Union { get; init; }

    /// <summary>The OpenAPI format; null when there is none.</summary>
    public string? Format { get; init; }

    /// <summary>The name of the Go struct's field, as it stands in upstream's messages about whole values.</summary>
    internal string GoName => ExplicitGoName ?? char.ToUpperInvariant(JsonName[0]) + JsonName[1..];

    internal string? ExplicitGoName { get; init; }

    /// <summary>The place of the field in <see cref="TypeSchema.Fields"/>, which is the order in JSON output.</summary>
    public int Ordinal { get; private set; } = -1;

    /// <summary>True when an absent field is not written; false when its zero value is. Known once the field stands in its type's layout.</summary>
    internal bool IsLeftOutWhenAbsent { get; private set; }

    /// <summary>True when the zero value is written to the protobuf wire for an absent field. Known once the field stands in its type's layout.</summary>
    internal bool IsAlwaysOnWire { get; private set; }

    /// <summary>The members that tell elements of this list apart, sorted by name; empty for sets and for everything that is no list.</summary>
    internal ReadOnlySpan<FieldSchema> KeyFields => _keyFields ??= MakeKeyFields();

    // Upstream falls back on the strategic merge key where no list type is given.
    private FieldSchema[] MakeKeyFields()
    {
        string[] names = ListType == "map" ? ListMapKeys : ListType is null && PatchMergeKey is { } key ? [key] : [];
        return [.. names.Order(StringComparer.Ordinal).Select(name => Element?.FindField(name) ?? new FieldSchema(name) { OmitEmpty = true, Pointer = true })];
    }

    internal void Place(int ordinal)
    {
        Ordinal = ordinal;
        IsLeftOutWhenAbsent = OmitZero || (OmitEmpty && (Pointer || !IsStruct));
        IsAlwaysOnWire = Cardinality == FieldCardinality.One && !Pointer && Kind is not (FieldKind.Bytes or FieldKind.StringList);
    }

    /// <summary>"name": as it stands before the value in JSON.</summary>
    internal ReadOnlySpan<byte> MemberPrefix => _memberPrefix;

    /// <summary>True for kinds that are structs upstream: without a pointer they are always written, whatever omitempty says.</summary>
    internal bool IsStruct => Cardinality == FieldCardinality.One
        && Kind is FieldKind.Message or FieldKind.Quantity or FieldKind.IntOrString or FieldKind.Time or FieldKind.MicroTime or FieldKind.Duration
            or FieldKind.RawExtension or FieldKind.FieldsV1 or FieldKind.SchemaOrArray or FieldKind.SchemaOrBool or FieldKind.SchemaOrStringArray;

    /// <summary>For a field that came in by inlining: the embedded structs' names, each with a dot, as upstream's decode errors show them; else "".</summary>
    internal string InlinePrefix { get; private set; } = "";

    /// <summary>The same field as it stands in the type that inlines its owner.</summary>
    internal FieldSchema InlinedThrough(FieldSchema inlining)
    {
        var copy = (FieldSchema)MemberwiseClone();
        copy._keyFields = null;
        copy.InlinePrefix = $"{inlining.Element!.Name}.{InlinePrefix}";
        return copy;
    }

    /// <inheritdoc/>
    public override string ToString() => JsonName;
}
