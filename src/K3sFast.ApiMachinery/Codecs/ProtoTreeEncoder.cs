using System.Buffers;
using System.Buffers.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Writes trees as upstream's generated code writes its structs: fields in number order; what is no pointer always, zero values included; pointers and
/// bytes when they are there; map entries sorted by key; nothing for empty lists.
/// </summary>
internal static class ProtoTreeEncoder
{
    private const int MaxKeptJson = 64 * 1024;

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? s_json;

    public static void WriteMessage(ref ProtoWriter writer, ApiNode node, TypeSchema type)
    {
        StackGuard.Enter();
        var count = type.Fields.Length;
        int[]? rented = null;
        Span<int> slots = count <= FieldSlots.MaxOnStack ? stackalloc int[FieldSlots.MaxOnStack] : rented = ArrayPool<int>.Shared.Rent(count);
        slots = slots[..count];
        FieldSlots.Fill(node, type, slots);
        foreach (var field in type.ByProtoNumber)
        {
            if (field.Inline)
            {
                WriteNested(ref writer, field.ProtoNumber, node, field.Element!);
                continue;
            }
            var slot = slots[field.Ordinal];
            // Most fields of most objects are absent.
            if (slot == 0 && !field.IsAlwaysOnWire)
                continue;
            var value = slot == 0 ? default : new ApiNode(node.Document, slot);
            switch (field.Cardinality)
            {
                case FieldCardinality.List:
                    foreach (var element in value.Elements)
                        WriteElement(ref writer, field, element);
                    break;
                case FieldCardinality.Map:
                    WriteMap(ref writer, field, value);
                    break;
                default:
                    if (field.IsAlwaysOnWire || !value.IsNullOrUndefined)
                        WriteElement(ref writer, field, value);
                    break;
            }
        }
        if (rented is not null)
            ArrayPool<int>.Shared.Return(rented);
    }

    private static void WriteMap(ref ProtoWriter writer, FieldSchema field, ApiNode map)
    {
        var count = map.Count;
        if (count == 0)
            return;
        var members = ArrayPool<int>.Shared.Rent(count);
        var used = 0;
        foreach (var member in map.Members)
            members[used++] = member.Value.Index;
        var sorted = members.AsSpan(0, count);
        sorted.Sort(map.Document, static (left, right, document) => document.NameOf(left).SequenceCompareTo(document.NameOf(right)));
        foreach (var index in sorted)
        {
            var start = writer.Begin(field.ProtoNumber);
            var value = new ApiNode(map.Document, index);
            writer.BytesField(1, value.Name);
            WriteElement(ref writer, field, value, number: 2);
            writer.End(start);
        }
        ArrayPool<int>.Shared.Return(members);
    }

    internal static void WriteElement(ref ProtoWriter writer, FieldSchema field, ApiNode value, int number = 0)
    {
        number = number == 0 ? field.ProtoNumber : number;
        switch (field.Kind)
        {
            case FieldKind.String:
                writer.BytesField(number, value.Utf8);
                return;
            case FieldKind.Boolean:
                writer.NumberField(number, value.AsBool() ? 1 : 0);
                return;
            case FieldKind.Int32 or FieldKind.Int64:
                writer.NumberField(number, value.AsInt64());
                return;
            case FieldKind.Double:
                Utf8Parser.TryParse(value.Utf8, out double floating, out _);
                writer.DoubleField(number, floating);
                return;
            case FieldKind.Bytes:
                WriteBytes(ref writer, number, value);
                return;
        }
        var start = writer.Begin(number);
        switch (field.Kind)
        {
            case FieldKind.Message:
                WriteMessage(ref writer, value, field.Element!);
                break;
            case FieldKind.Quantity:
                writer.BytesField(1, value.Utf8.Length == 0 ? "0"u8 : value.Utf8);
                break;
            case FieldKind.IntOrString:
                writer.NumberField(1, value.Kind == NodeKind.String ? 1 : 0);
                writer.NumberField(2, value.AsInt64());
                writer.BytesField(3, value.Kind == NodeKind.String ? value.Utf8 : default);
                break;
            case FieldKind.Time or FieldKind.MicroTime:
                WriteTime(ref writer, value, field.Kind == FieldKind.MicroTime);
                break;
            case FieldKind.Duration:
                GoDuration.TryParse(value.Utf8, out var nanoseconds);
                writer.NumberField(1, nanoseconds);
                break;
            case FieldKind.StringList:
                foreach (var element in value.Elements)
                    writer.BytesField(1, element.Utf8);
                break;
            case FieldKind.SchemaOrArray or FieldKind.SchemaOrStringArray:
                WriteSchemaOrList(ref writer, field, value);
                break;
            case FieldKind.SchemaOrBool:
                writer.NumberField(1, value.Kind == NodeKind.Object || value.AsBool() ? 1 : 0);
                if (value.Kind == NodeKind.Object)
                    WriteNested(ref writer, 2, value, field.Element!);
                break;
            default:
                WriteRaw(ref writer, value);
                break;
        }
        writer.End(start);
    }

    private static void WriteSchemaOrList(ref ProtoWriter writer, FieldSchema field, ApiNode value)
    {
        if (value.Kind == NodeKind.Object)
        {
            WriteNested(ref writer, 1, value, field.Element!);
            return;
        }
        foreach (var element in value.Elements)
        {
            if (element.Kind == NodeKind.Object)
                WriteNested(ref writer, 2, element, field.Element!);
            else
                writer.BytesField(2, element.Utf8);
        }
    }

    private static void WriteNested(ref ProtoWriter writer, int number, ApiNode value, TypeSchema type)
    {
        var start = writer.Begin(number);
        WriteMessage(ref writer, value, type);
        writer.End(start);
    }

    private static void WriteTime(ref ProtoWriter writer, ApiNode value, bool isMicro)
    {
        if (value.Kind != NodeKind.String || ScalarText.TryParseTime(value.Utf8, isMicro, out var time) is not null || time.IsZero)
            return;
        writer.NumberField(1, time.UnixSeconds);
        writer.NumberField(2, time.Nanoseconds);
    }

    private static void WriteRaw(ref ProtoWriter writer, ApiNode value)
    {
        if (!value.IsDefined)
            return;
        // Every object has owners of its fields, which are such.
        var output = s_json ??= new ArrayBufferWriter<byte>(1024);
        value.WriteJson(output);
        writer.BytesField(1, output.WrittenSpan);
        if (output.Capacity > MaxKeptJson)
            s_json = null;
        else
            output.ResetWrittenCount();
    }

    private static void WriteBytes(ref ProtoWriter writer, int number, ApiNode value)
    {
        var text = value.Utf8;
        var decoded = ArrayPool<byte>.Shared.Rent(Base64.GetMaxDecodedFromUtf8Length(text.Length));
        Base64.DecodeFromUtf8(text, decoded, out _, out var length);
        writer.BytesField(number, decoded.AsSpan(0, length));
        ArrayPool<byte>.Shared.Return(decoded);
    }
}
