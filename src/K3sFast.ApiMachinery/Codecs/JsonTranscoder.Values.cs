using System.Buffers.Text;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>One value of each kind.</summary>
internal ref partial struct JsonTranscoder
{
    private bool WriteElement(FieldSchema field, int number)
    {
        switch (field.Kind)
        {
            case FieldKind.String:
                return WriteString(number);
            case FieldKind.Boolean:
                return WriteBoolean(number);
            case FieldKind.Int32 or FieldKind.Int64:
                return TryTakeInteger(field.Kind == FieldKind.Int32, out var whole) && Number(number, whole);
            case FieldKind.Double:
                return WriteDouble(number);
            case FieldKind.Bytes:
                return WriteBytes(field, number);
        }
        var start = _writer.Begin(number);
        var isWritten = field.Kind switch
        {
            FieldKind.Message => WriteMessage(field.Element!),
            FieldKind.Quantity => WriteQuantity(),
            FieldKind.IntOrString => WriteIntOrString(),
            FieldKind.Time or FieldKind.MicroTime => WriteTime(field.Kind == FieldKind.MicroTime),
            FieldKind.Duration => WriteDuration(),
            FieldKind.StringList => WriteStrings(1),
            FieldKind.SchemaOrArray or FieldKind.SchemaOrStringArray => WriteSchemaOrList(field),
            FieldKind.SchemaOrBool => WriteSchemaOrBool(field),
            _ => WriteRaw(),
        };
        _writer.End(start);
        return isWritten;
    }

    private bool WriteString(int number)
    {
        if (!_cursor.TryTakeString(out var text, out var hasEscapes))
            return false;
        if (!hasEscapes)
        {
            _writer.BytesField(number, text);
            return true;
        }
        var start = _writer.Begin(number);
        _writer.Advance(JsonScanner.Unescape(text, _writer.GetSpan(text.Length)));
        _writer.End(start);
        return true;
    }

    private bool WriteBoolean(int number)
    {
        var isTrue = _cursor.Rest.StartsWith("true"u8);
        if (!isTrue && !_cursor.Rest.StartsWith("false"u8))
            return false;
        _cursor.Position += isTrue ? 4 : 5;
        return Number(number, isTrue ? 1 : 0);
    }

    private bool TryTakeInteger(bool isInt32, out long value)
    {
        // What is left of a number that is not whole is nothing that may follow a value.
        var isWhole = IsNumber() & Utf8Parser.TryParse(_cursor.Rest, out value, out var length);
        if (!isWhole || (isInt32 && value != (int)value))
            return false;
        _cursor.Position += length;
        return true;
    }

    private bool WriteDouble(int number)
    {
        if (!IsNumber() || !Utf8Parser.TryParse(_cursor.Rest, out double value, out var length) || !double.IsFinite(value))
            return false;
        _cursor.Position += length;
        _writer.DoubleField(number, value);
        return true;
    }

    private bool WriteBytes(FieldSchema field, int number)
    {
        if (!_cursor.TryTakePlain(out var text) || !ScalarText.IsCanonicalBase64(text))
            return false;
        // Without a pointer, no bytes are as good as absent.
        if (text.IsEmpty && field.Cardinality == FieldCardinality.One && field.OmitEmpty && !field.Pointer)
            return true;
        var start = _writer.Begin(number);
        Base64.DecodeFromUtf8(text, _writer.GetSpan(Base64.GetMaxDecodedFromUtf8Length(text.Length)), out _, out var length);
        _writer.Advance(length);
        _writer.End(start);
        return true;
    }

    private bool WriteQuantity()
    {
        if (!_cursor.TryTakePlain(out var text))
            return false;
        if (Quantity.IsPlainCanonical(text))
        {
            _writer.BytesField(1, text);
            return true;
        }
        if (Quantity.TryParse(text, out var quantity, out var isKept) is not null)
            return false;
        _writer.BytesField(1, isKept ? text : Encoding.UTF8.GetBytes(quantity.ToString()));
        return true;
    }

    private bool WriteIntOrString()
    {
        var isText = _cursor.Peek() == '"';
        long value = 0;
        if (!isText && !TryTakeInteger(isInt32: true, out value))
            return false;
        _writer.NumberField(1, isText ? 1 : 0);
        _writer.NumberField(2, value);
        if (isText)
            return WriteString(3);
        _writer.BytesField(3, default);
        return true;
    }

    private bool WriteTime(bool isMicro)
    {
        if (!_cursor.TryTakePlain(out var text))
            return false;
        ApiTime time;
        if (isMicro ? ScalarText.TryParseTime(text, isMicro, out time) is not null || text[^1] != 'Z' : !ScalarText.TryReadCanonicalTime(text, out time))
            return false;
        if (time.IsZero)
            return false;
        _writer.NumberField(1, time.UnixSeconds);
        _writer.NumberField(2, time.Nanoseconds);
        return true;
    }

    private bool WriteDuration() =>
        _cursor.TryTakePlain(out var text) && GoDuration.TryParse(text, out var nanoseconds) is null && Number(1, nanoseconds);

    private bool WriteStrings(int number)
    {
        if (!_cursor.TryOpen((byte)'[', (byte)']', out var hasMore))
            return false;
        while (hasMore)
        {
            if (!WriteString(number) || !_cursor.TryNext((byte)']', out hasMore))
                return false;
        }
        return true;
    }

    private bool WriteSchemaOrList(FieldSchema field)
    {
        if (_cursor.Peek() == '{')
            return WriteNested(1, field.Element!);
        if (field.Kind == FieldKind.SchemaOrStringArray)
            return WriteStrings(2);
        if (!_cursor.TryOpen((byte)'[', (byte)']', out var hasMore))
            return false;
        while (hasMore)
        {
            if (!WriteNested(2, field.Element!) || !_cursor.TryNext((byte)']', out hasMore))
                return false;
        }
        return true;
    }

    private bool WriteSchemaOrBool(FieldSchema field) =>
        _cursor.Peek() == '{' ? Number(1, 1) && WriteNested(2, field.Element!) : WriteBoolean(1);

    private bool WriteNested(int number, TypeSchema type)
    {
        var start = _writer.Begin(number);
        var isWritten = WriteMessage(type);
        _writer.End(start);
        return isWritten;
    }

    private bool WriteRaw()
    {
        if (!_cursor.TryTakeRaw(out var value))
            return false;
        _writer.BytesField(1, value);
        return true;
    }

    private bool Number(int number, long value)
    {
        _writer.NumberField(number, value);
        return true;
    }

    private readonly bool IsNumber() => _cursor.Peek() is (byte)'-' or >= (byte)'0' and <= (byte)'9';
}
