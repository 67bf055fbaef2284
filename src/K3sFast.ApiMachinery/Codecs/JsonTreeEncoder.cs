using System.Buffers;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Writes trees as upstream's encoder would write its structs: fields in declaration order, what is empty left out or written as its zero value by
/// omitempty, omitzero and pointer, map keys sorted by bytes. Members that the schema does not know are not written.
/// </summary>
internal static class JsonTreeEncoder
{
    private const int MaxKeysOnStack = 32;

    public static void WriteMessage(ref JsonTextWriter writer, ApiNode node, TypeSchema type)
    {
        StackGuard.Enter();
        var fields = type.Fields;
        int[]? rented = null;
        Span<int> slots = fields.Length <= FieldSlots.MaxOnStack
            ? stackalloc int[FieldSlots.MaxOnStack]
            : rented = ArrayPool<int>.Shared.Rent(fields.Length);
        slots = slots[..fields.Length];
        var hasUnknown = FieldSlots.Fill(node, type, slots);
        writer.Raw((byte)'{');
        var isFirst = true;
        for (var i = 0; i < fields.Length; i++)
        {
            var field = fields[i];
            // Most fields of most objects are absent: leave them with one test.
            if (slots[i] == 0 && field.IsLeftOutWhenAbsent)
                continue;
            var value = slots[i] == 0 ? default : new ApiNode(node.Document, slots[i]);
            if (IsLeftOut(field, value))
                continue;
            if (!isFirst)
                writer.Raw((byte)',');
            isFirst = false;
            writer.Raw(field.MemberPrefix);
            WriteField(ref writer, field, value);
        }
        if (hasUnknown && type.PreserveUnknown)
            WriteUnknown(ref writer, node, type, isFirst);
        writer.Raw((byte)'}');
        if (rented is not null)
            ArrayPool<int>.Shared.Return(rented);
    }

    /// <summary>Free values as Go writes a map[string]interface{}: keys sorted at every level.</summary>
    public static void WriteSorted(ref JsonTextWriter writer, ApiNode node)
    {
        StackGuard.Enter();
        if (node.Kind == NodeKind.Array)
        {
            writer.Raw((byte)'[');
            var isFirst = true;
            foreach (var element in node.Elements)
            {
                if (!isFirst)
                    writer.Raw((byte)',');
                isFirst = false;
                WriteSorted(ref writer, element);
            }
            writer.Raw((byte)']');
        }
        else if (node.Kind == NodeKind.Object)
        {
            WriteMap(ref writer, node, null);
        }
        else
        {
            node.WriteJson(ref writer);
        }
    }

    private static bool IsLeftOut(FieldSchema field, ApiNode value)
    {
        if (value.IsNullOrUndefined)
            return field.IsLeftOutWhenAbsent;
        if (!field.OmitEmpty || field.Pointer)
            return false;
        if (field.Cardinality != FieldCardinality.One || field.Kind == FieldKind.StringList)
            return value.Count == 0;
        return field.Kind switch
        {
            FieldKind.String or FieldKind.Bytes => value.Utf8.Length == 0,
            FieldKind.Boolean => value.Kind == NodeKind.False,
            FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double => value.Utf8.SequenceEqual("0"u8),
            _ => false,
        };
    }

    private static void WriteField(ref JsonTextWriter writer, FieldSchema field, ApiNode value)
    {
        if (field.Cardinality == FieldCardinality.One)
            WriteElement(ref writer, field, value);
        else if (value.IsNullOrUndefined)
            writer.Raw("null"u8);
        else if (field.Cardinality == FieldCardinality.Map)
            WriteMap(ref writer, value, field);
        else
            WriteList(ref writer, value, field);
    }

    private static void WriteList(ref JsonTextWriter writer, ApiNode list, FieldSchema field)
    {
        writer.Raw((byte)'[');
        var isFirst = true;
        foreach (var element in list.Elements)
        {
            if (!isFirst)
                writer.Raw((byte)',');
            isFirst = false;
            WriteElement(ref writer, field, element);
        }
        writer.Raw((byte)']');
    }

    private static void WriteElement(ref JsonTextWriter writer, FieldSchema field, ApiNode value)
    {
        if (value.IsNullOrUndefined)
        {
            WriteZero(ref writer, field);
            return;
        }
        if (value.Kind == NodeKind.Object && field.Element is { } element)
        {
            WriteMessage(ref writer, value, element);
            return;
        }
        if (field.Kind == FieldKind.SchemaOrArray && value.Kind == NodeKind.Array)
            WriteList(ref writer, value, field);
        else if (field.Kind == FieldKind.Any)
            WriteSorted(ref writer, value);
        else
            value.WriteJson(ref writer);
    }

    private static void WriteZero(ref JsonTextWriter writer, FieldSchema field)
    {
        if (field.Pointer)
        {
            writer.Raw("null"u8);
            return;
        }
        switch (field.Kind)
        {
            case FieldKind.String:
                writer.Raw("\"\""u8);
                break;
            case FieldKind.Boolean:
                writer.Raw("false"u8);
                break;
            case FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double or FieldKind.IntOrString:
                writer.Raw((byte)'0');
                break;
            case FieldKind.Message:
                WriteMessage(ref writer, default, field.Element!);
                break;
            case FieldKind.Quantity:
                writer.Raw("\"0\""u8);
                break;
            case FieldKind.Duration:
                writer.Raw("\"0s\""u8);
                break;
            default:
                writer.Raw("null"u8);
                break;
        }
    }

    // Without a field: free values, sorted inside as well.
    private static void WriteMap(ref JsonTextWriter writer, ApiNode map, FieldSchema? field)
    {
        var document = map.Document;
        var count = map.Count;
        int[]? rented = null;
        Span<int> members = count <= MaxKeysOnStack ? stackalloc int[MaxKeysOnStack] : rented = ArrayPool<int>.Shared.Rent(count);
        members = members[..count];
        var isSorted = true;
        var used = 0;
        for (var child = document[map.Index].First; child != 0; child = document[child].Next)
        {
            isSorted &= used == 0 || document.NameOf(members[used - 1]).SequenceCompareTo(document.NameOf(child)) < 0;
            members[used++] = child;
        }
        if (!isSorted)
            members.Sort(document, static (left, right, document) => document.NameOf(left).SequenceCompareTo(document.NameOf(right)));
        writer.Raw((byte)'{');
        for (var i = 0; i < members.Length; i++)
        {
            if (i > 0)
                writer.Raw((byte)',');
            writer.String(document.NameOf(members[i]));
            writer.Raw((byte)':');
            var value = new ApiNode(document, members[i]);
            if (field is null)
                WriteSorted(ref writer, value);
            else
                WriteElement(ref writer, field, value);
        }
        writer.Raw((byte)'}');
        if (rented is not null)
            ArrayPool<int>.Shared.Return(rented);
    }

    private static void WriteUnknown(ref JsonTextWriter writer, ApiNode node, TypeSchema type, bool isFirst)
    {
        foreach (var member in node.Members)
        {
            if (type.TryGetField(member.Name, out _))
                continue;
            if (!isFirst)
                writer.Raw((byte)',');
            isFirst = false;
            writer.String(member.Name);
            writer.Raw((byte)':');
            WriteSorted(ref writer, member.Value);
        }
    }
}

/// <summary>Sorting node indexes with their document as state, so that no closure is made.</summary>
internal static class NodeSort
{
    public static void Sort(this Span<int> members, ApiObject document, Func<int, int, ApiObject, int> compare)
    {
        // Maps in objects are small; a heap keeps big hostile ones at n log n without recursion.
        for (var start = (members.Length / 2) - 1; start >= 0; start--)
            SiftDown(members, start, members.Length, document, compare);
        for (var end = members.Length - 1; end > 0; end--)
        {
            (members[0], members[end]) = (members[end], members[0]);
            SiftDown(members, 0, end, document, compare);
        }
    }

    private static void SiftDown(Span<int> heap, int root, int end, ApiObject document, Func<int, int, ApiObject, int> compare)
    {
        while ((root * 2) + 1 < end)
        {
            var child = (root * 2) + 1;
            if (child + 1 < end && compare(heap[child], heap[child + 1], document) < 0)
                child++;
            if (compare(heap[root], heap[child], document) >= 0)
                return;
            (heap[root], heap[child]) = (heap[child], heap[root]);
            root = child;
        }
    }
}
