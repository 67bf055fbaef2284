namespace K3sFast.ApiMachinery;

/// <summary>Where the members of an object stand among the fields of its type, so that who walks the fields looks nothing up.</summary>
internal static class FieldSlots
{
    /// <summary>Types with so many fields at most have their slots on the stack.</summary>
    public const int MaxOnStack = 64;

    /// <summary>
    /// Sets the slot of each field (by <see cref="FieldSchema.Ordinal"/>) to the index of the member that has its name; 0 = absent. True when there are
    /// members that the type does not know.
    /// </summary>
    public static bool Fill(ApiNode node, TypeSchema type, Span<int> slots)
    {
        slots.Clear();
        if (node.Kind != NodeKind.Object)
            return false;
        var fields = type.Fields;
        var document = node.Document;
        var hasUnknown = false;
        for (var child = document[node.Index].First; child != 0; child = document[child].Next)
        {
            var name = document.NameOf(child);
            var hint = document[child].FieldHint - 1;
            if ((uint)hint < (uint)fields.Length && fields[hint].JsonNameUtf8.SequenceEqual(name))
                slots[hint] = child;
            else if (type.TryGetField(name, out var field))
                slots[field.Ordinal] = child;
            else
                hasUnknown = true;
        }
        return hasUnknown;
    }
}
