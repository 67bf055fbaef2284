namespace K3sFast.ApiMachinery;

/// <summary>How much of a value there is.</summary>
internal enum Presence : byte
{
    /// <summary>Nothing, not even null.</summary>
    Absent,

    /// <summary>An explicit null.</summary>
    Null,

    /// <summary>The zero value of a field that is always written, though the tree does not have it.</summary>
    Zero,

    /// <summary>A node.</summary>
    Given,
}

/// <summary>
/// A value as ownership sees it. <em>Typed</em> values are what the encoder would write of the tree (empty fields left out, zero values of others
/// there); <em>exact</em> ones are what stands in the tree: an applied configuration owns the false and the null that it names.
/// </summary>
internal readonly struct TypedValue
{
    private TypedValue(ApiNode node, Presence presence, bool isExact)
    {
        Node = node;
        Presence = presence;
        IsExact = isExact;
    }

    public ApiNode Node { get; }

    public Presence Presence { get; }

    public bool IsExact { get; }

    public bool IsAbsent => Presence == Presence.Absent;

    /// <summary>Has members or elements at all: no null and not absent.</summary>
    public bool HasContent => Presence >= Presence.Zero;

    /// <summary>A whole object, a map's value or a list's element.</summary>
    public static TypedValue Of(ApiNode node, bool isExact) =>
        new(node, !node.IsDefined ? Presence.Absent : node.Kind == NodeKind.Null ? Presence.Null : Presence.Given, isExact);

    /// <summary>A new object of a type, before anything is set.</summary>
    public static TypedValue EmptyMessage => new(default, Presence.Zero, false);

    /// <summary>Null in the place of a value of a kind that is not looked at.</summary>
    public static TypedValue NullLike(in TypedValue value) => new(default, Presence.Null, value.IsExact);

    /// <summary>The value of a declared field of this message.</summary>
    public TypedValue Field(ApiNode node, FieldSchema field)
    {
        if (!HasContent)
            return new(default, Presence.Absent, IsExact);
        if (IsExact)
            return Of(node, isExact: true);
        if (!node.IsNullOrUndefined)
            return new(node, IsLeftOut(node, field) ? Presence.Absent : Presence.Given, false);
        return new(default, field.IsLeftOutWhenAbsent ? Presence.Absent : IsZeroNull(field) ? Presence.Null : Presence.Zero, false);
    }

    /// <summary>The very same tree on both sides, which is the same value in every sense.</summary>
    public static bool AreIdentical(in TypedValue left, in TypedValue right) =>
        left.Presence == Presence.Given && right.Presence == Presence.Given && left.Node.DeepEquals(right.Node);

    /// <summary>Same value. Typed values compare as typed objects do (zero equals absent inside of them), exact ones as they stand.</summary>
    public static bool AreEqual(in TypedValue left, in TypedValue right, in TypedPlace place)
    {
        if (left.Presence == Presence.Given && right.Presence == Presence.Given)
            return left.IsExact || right.IsExact ? left.Node.DeepEquals(right.Node) : TypedEqual(left.Node, right.Node, place);
        if (left.Presence == right.Presence)
            return true;
        return (left.Presence, right.Presence) switch
        {
            (Presence.Zero, Presence.Given) => IsZero(right, place),
            (Presence.Given, Presence.Zero) => IsZero(left, place),
            _ => false,
        };
    }

    private static bool TypedEqual(ApiNode left, ApiNode right, in TypedPlace place)
    {
        switch (place.Kind)
        {
            case PlaceKind.Message:
                return SemanticEquality.Equal(left, right, place.Type);
            case PlaceKind.List when place.Field?.Element is { } type && left.Kind == NodeKind.Array && right.Kind == NodeKind.Array:
                if (left.Count != right.Count)
                    return false;
                var others = right.Elements.GetEnumerator();
                foreach (var element in left.Elements)
                {
                    if (!others.MoveNext() || !SemanticEquality.Equal(element, others.Current, type))
                        return false;
                }
                return true;
            default:
                return left.DeepEquals(right);
        }
    }

    private static bool IsZero(in TypedValue value, in TypedPlace place) => value.Node.Kind switch
    {
        NodeKind.String => value.Node.Utf8.IsEmpty || value.Node.Equals("0"u8) || value.Node.Equals("0s"u8),
        NodeKind.Number => value.Node.TryGetInt64(out var number) && number == 0,
        NodeKind.False => true,
        NodeKind.Object when place.Kind == PlaceKind.Message => value.IsExact ? value.Node.Count == 0 : SemanticEquality.Equal(default, value.Node, place.Type),
        _ => false,
    };

    private static bool IsZeroNull(FieldSchema field) => field.Pointer || field.Cardinality != FieldCardinality.One
        || field.Kind is not (FieldKind.String or FieldKind.Boolean or FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double or FieldKind.IntOrString
            or FieldKind.Message or FieldKind.Quantity or FieldKind.Duration);

    // What the encoder leaves out of a field that is there.
    private static bool IsLeftOut(ApiNode node, FieldSchema field)
    {
        if (!field.OmitEmpty || field.Pointer)
            return false;
        if (field.Cardinality != FieldCardinality.One || field.Kind == FieldKind.StringList)
            return node.Count == 0;
        return field.Kind switch
        {
            FieldKind.String or FieldKind.Bytes => node.Utf8.IsEmpty,
            FieldKind.Boolean => node.Kind == NodeKind.False,
            FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double => node.Utf8.SequenceEqual("0"u8),
            _ => false,
        };
    }
}
