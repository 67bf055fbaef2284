using System.Buffers.Text;
using System.Text;

namespace K3sFast.ApiMachinery;

// Values without members or elements, in the form in which upstream would write them again.
internal ref partial struct JsonTreeDecoder
{
    private int DecodeInteger(bool isInt32)
    {
        var (start, length) = _scanner.TakeNumber();
        var text = _document.Text(start, length);
        if (!Utf8Parser.TryParse(text, out long value, out var used) || used != length || (isInt32 && value != (int)value))
            return Wrong($"number {Encoding.UTF8.GetString(text)}", isInt32 ? "int32" : "int64");
        return value == 0 && length > 1 ? NewText(NodeKind.Number, (start + 1, 1)) : NewText(NodeKind.Number, (start, length));
    }

    private int DecodeDouble((int Start, int Length) slice)
    {
        var text = _document.Text(slice.Start, slice.Length);
        Utf8Parser.TryParse(text, out double value, out _);
        if (!double.IsFinite(value))
            return Wrong($"number {Encoding.UTF8.GetString(text)}", "float64");
        Span<byte> canonical = stackalloc byte[ScalarText.MaxDoubleLength];
        return NewCanonical(NodeKind.Number, slice, canonical[..ScalarText.WriteDouble(value, canonical)]);
    }

    private int DecodeQuantity((int Start, int Length) slice)
    {
        var text = _document.Text(slice.Start, slice.Length).Trim(" \t\r\n"u8);
        if (text.Length == slice.Length && Quantity.IsPlainCanonical(text))
            return NewText(NodeKind.String, slice);
        var failure = Quantity.TryParse(text, out var quantity, out var isKept);
        if (failure is not null)
            return Fail(failure);
        if (isKept && text.Length == slice.Length)
            return NewText(NodeKind.String, slice);
        return NewCanonical(NodeKind.String, slice, isKept ? text : Encoding.UTF8.GetBytes(quantity.ToString()));
    }

    private int DecodeTime((int Start, int Length) slice, bool isMicro)
    {
        var text = _document.Text(slice.Start, slice.Length);
        if (!isMicro && ScalarText.IsCanonicalTime(text))
            return NewText(NodeKind.String, slice);
        var failure = ScalarText.TryParseTime(text, isMicro, out var time);
        if (failure is not null)
            return Fail(failure);
        if (time.IsZero)
            return 0;
        Span<byte> canonical = stackalloc byte[ScalarText.MaxTimeLength];
        return NewCanonical(NodeKind.String, slice, canonical[..ScalarText.WriteTime(time, isMicro, canonical)]);
    }

    private int DecodeDuration((int Start, int Length) slice)
    {
        var failure = GoDuration.TryParse(_document.Text(slice.Start, slice.Length), out var nanoseconds);
        if (failure is not null)
            return Fail(failure);
        Span<byte> canonical = stackalloc byte[GoDuration.MaxLength];
        return NewCanonical(NodeKind.String, slice, canonical[..GoDuration.Write(nanoseconds, canonical)]);
    }

    private int DecodeBytes((int Start, int Length) slice)
    {
        var text = _document.Text(slice.Start, slice.Length);
        if (ScalarText.IsCanonicalBase64(text))
            return NewText(NodeKind.String, slice);
        var wrongAt = ScalarText.FindBase64Error(text);
        if (wrongAt >= 0)
            return Fail($"illegal base64 data at input byte {wrongAt}");
        var kept = _document.ReserveText(slice.Length);
        var length = 0;
        foreach (var value in _document.Text(slice.Start, slice.Length))
        {
            if (value is not ((byte)'\r' or (byte)'\n'))
                kept[length++] = value;
        }
        ScalarText.ClearSpareBits(kept[..length]);
        return NewText(NodeKind.String, (_document.CommitText(length), length));
    }

    private readonly int NewText(NodeKind kind, (int Start, int Length) slice)
    {
        var index = _document.NewNode(kind);
        ref var node = ref _document[index];
        node.First = slice.Start;
        node.Last = slice.Length;
        return index;
    }

    private readonly int NewCanonical(NodeKind kind, (int Start, int Length) slice, scoped ReadOnlySpan<byte> canonical) =>
        canonical.SequenceEqual(_document.Text(slice.Start, slice.Length))
            ? NewText(kind, slice)
            : NewText(kind, (_document.AppendText(canonical), canonical.Length));

    // What null stands for in a list or map: the zero value of the element.
    private readonly int NewZero(FieldSchema field)
    {
        switch (field.Kind)
        {
            case FieldKind.String or FieldKind.Bytes:
                return _document.NewNode(NodeKind.String);
            case FieldKind.Boolean:
                return _document.NewNode(NodeKind.False);
            case FieldKind.Message:
                return _document.NewNode(NodeKind.Object);
            case FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double or FieldKind.IntOrString:
                return NewText(NodeKind.Number, (_document.AppendText("0"u8), 1));
            case FieldKind.Quantity:
                return NewText(NodeKind.String, (_document.AppendText("0"u8), 1));
            default:
                return _document.NewNode(NodeKind.Null);
        }
    }

    private readonly bool IsZeroScalar(FieldSchema field, int node)
    {
        ref var value = ref _document[node];
        return field.Kind switch
        {
            FieldKind.String or FieldKind.Bytes => value.Last == 0,
            FieldKind.Boolean => value.Kind == NodeKind.False,
            FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double => value.Last == 1 && _document.TextOf(node)[0] == '0',
            _ => false,
        };
    }

    private static bool IsNumber(byte next) => next == '-' || (uint)(next - '0') <= 9;
}
