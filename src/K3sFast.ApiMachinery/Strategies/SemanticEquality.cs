namespace K3sFast.ApiMachinery;

/// <summary>
/// Equality of two documents of one type as upstream's typed objects see it: a field that is absent equals the same field at its
/// zero value, unless the field is a pointer, where only null equals absent; empty and absent lists and maps are the same.
/// </summary>
internal static class SemanticEquality
{
    /// <summary>Compares two values of one type (null = untyped: exact). Allocates nothing.</summary>
    internal static bool Equal(ApiNode a, ApiNode b, TypeSchema? type)
    {
        StackGuard.Enter();
        if (a.IsNullOrUndefined && b.IsNullOrUndefined)
            return true;
        if (type is null || type.Fields.Length == 0)
            return a.Kind == b.Kind ? a.DeepEquals(b) : IsZero(a, null) && IsZero(b, null);
        if (a.IsNullOrUndefined)
            return IsZero(b, type);
        if (b.IsNullOrUndefined)
            return IsZero(a, type);
        if (a.Kind != NodeKind.Object || b.Kind != NodeKind.Object)
            return a.DeepEquals(b);
        foreach (var member in a.Members)
            if (!FieldsEqual(member.Value, b[member.Name], member.Name, type))
                return false;
        foreach (var member in b.Members)
            if (!a[member.Name].IsDefined && !FieldsEqual(default, member.Value, member.Name, type))
                return false;
        return true;
    }

    /// <summary>Equality of the same member of two objects of one type.</summary>
    internal static bool MemberEqual(ApiNode a, ApiNode b, ReadOnlySpan<byte> name, TypeSchema? type) =>
        type is null ? a[name].DeepEquals(b[name]) || a[name].IsNullOrUndefined && b[name].IsNullOrUndefined : FieldsEqual(a[name], b[name], name, type);

    private static bool FieldsEqual(ApiNode a, ApiNode b, ReadOnlySpan<byte> name, TypeSchema type)
    {
        if (a.IsNullOrUndefined && b.IsNullOrUndefined)
            return true;
        if (!type.TryGetField(name, out var field))
            return a.IsDefined && b.IsDefined && a.DeepEquals(b);
        switch (field.Cardinality)
        {
            case FieldCardinality.List:
                if (a.Count != b.Count || !IsContainer(a, NodeKind.Array) || !IsContainer(b, NodeKind.Array))
                    return false;
                for (int i = 0; i < a.Count; i++)
                    if (!Equal(a[i], b[i], field.Element))
                        return false;
                return true;
            case FieldCardinality.Map:
                if (a.Count != b.Count || !IsContainer(a, NodeKind.Object) || !IsContainer(b, NodeKind.Object))
                    return false;
                foreach (var member in a.Members)
                {
                    var other = b[member.Name];
                    if (!other.IsDefined || !Equal(member.Value, other, field.Element))
                        return false;
                }
                return true;
            default:
                if (a.IsNullOrUndefined || b.IsNullOrUndefined)
                    return !field.Pointer && IsZero(a, field.Element) && IsZero(b, field.Element);
                return Equal(a, b, field.Element);
        }
    }

    private static bool IsContainer(ApiNode node, NodeKind kind) => node.IsNullOrUndefined || node.Kind == kind;

    private static bool IsZero(ApiNode node, TypeSchema? type)
    {
        switch (node.Kind)
        {
            case NodeKind.Undefined or NodeKind.Null or NodeKind.False:
                return true;
            case NodeKind.String:
                return node.Utf8.IsEmpty;
            case NodeKind.Number:
                return node.TryGetInt64(out long value) && value == 0;
            case NodeKind.Array:
                return node.Count == 0;
            case NodeKind.Object:
                foreach (var member in node.Members)
                    if (type is null || !FieldsEqual(member.Value, default, member.Name, type))
                        return false;
                return true;
            default:
                return false;
        }
    }
}
