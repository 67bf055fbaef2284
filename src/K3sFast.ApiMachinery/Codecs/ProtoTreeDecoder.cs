using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace K3sFast.ApiMachinery;

/// <summary>Builds the tree of one protobuf message by its schema, in the form that the JSON decoder gives: scalars canonical, zero values of non-pointers gone.</summary>
internal readonly ref partial struct ProtoTreeDecoder(ApiObject document, Schema schema)
{
    // Objects nest far less; a hostile message can nest once per two bytes.
    private const int MaxDepth = 200;

    private readonly ApiObject _document = document;
    private readonly Schema _schema = schema;

    /// <summary>Reads the fields of a message into an object that is there already.</summary>
    public void ReadMessage(ReadOnlySpan<byte> message, int target, TypeSchema type, int depth = 0)
    {
        if (depth > MaxDepth)
            ProtoReader.Throw("exceeded max depth");
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var number, out var wireType))
        {
            var field = FindField(type, number);
            if (field is null)
            {
                reader.Skip(wireType);
                continue;
            }
            if (field.Inline)
            {
                ReadMessage(Bytes(ref reader, wireType, field), target, field.Element!, depth + 1);
                continue;
            }
            switch (field.Cardinality)
            {
                case FieldCardinality.List:
                    ReadListElement(ref reader, wireType, target, field, depth);
                    break;
                case FieldCardinality.Map:
                    ReadMapEntry(Bytes(ref reader, wireType, field), target, field, depth);
                    break;
                default:
                    var value = ReadElement(ref reader, wireType, field, depth);
                    if (value != 0 && !(field.OmitEmpty && !field.Pointer && IsZeroScalar(field, value)))
                        Put(target, field.JsonNameUtf8, value);
                    break;
            }
        }
    }

    private static FieldSchema? FindField(TypeSchema type, int number)
    {
        var fields = type.ByProtoNumber;
        int low = 0, high = fields.Length - 1;
        while (low <= high)
        {
            var middle = (low + high) / 2;
            if (fields[middle].ProtoNumber == number)
                return fields[middle];
            if (fields[middle].ProtoNumber < number)
                low = middle + 1;
            else
                high = middle - 1;
        }
        return null;
    }

    private void ReadListElement(ref ProtoReader reader, int wireType, int target, FieldSchema field, int depth)
    {
        var list = new ApiNode(_document, target).GetOrAddArray(field.JsonNameUtf8).Index;
        // Writers of packed scalars are accepted, as upstream's generated readers do.
        if (wireType == ProtoWriter.Bytes && field.Kind is FieldKind.Int32 or FieldKind.Int64 or FieldKind.Boolean)
        {
            var packed = new ProtoReader(reader.Bytes());
            while (!packed.IsAtEnd)
                _document.Link(list, ReadElement(ref packed, ProtoWriter.Varint, field, depth));
            return;
        }
        var element = ReadElement(ref reader, wireType, field, depth);
        _document.Link(list, element != 0 ? element : _document.NewNode(NodeKind.Null));
    }

    private void ReadMapEntry(ReadOnlySpan<byte> entry, int target, FieldSchema field, int depth)
    {
        var map = new ApiNode(_document, target).GetOrAddObject(field.JsonNameUtf8).Index;
        var reader = new ProtoReader(entry);
        ReadOnlySpan<byte> key = default;
        var value = 0;
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1)
                key = Bytes(ref reader, wireType, field);
            else if (number == 2)
                value = ReadElement(ref reader, wireType, field, depth);
            else
                reader.Skip(wireType);
        }
        Put(map, Valid(key), value != 0 ? value : ZeroOf(field));
    }

    // 0 = the value stands for null.
    private int ReadElement(ref ProtoReader reader, int wireType, FieldSchema field, int depth)
    {
        switch (field.Kind)
        {
            case FieldKind.String:
                return NewText(NodeKind.String, Valid(Bytes(ref reader, wireType, field)));
            case FieldKind.Boolean:
                return _document.NewNode(Varint(ref reader, wireType, field) != 0 ? NodeKind.True : NodeKind.False);
            case FieldKind.Int32:
                return NewNumber((int)Varint(ref reader, wireType, field));
            case FieldKind.Int64:
                return NewNumber((long)Varint(ref reader, wireType, field));
            case FieldKind.Double:
                if (wireType != ProtoWriter.Fixed64)
                    ThrowWireType(wireType, field);
                return NewDouble(reader.Double());
            case FieldKind.Bytes:
                return NewBase64(Bytes(ref reader, wireType, field));
        }
        var message = Bytes(ref reader, wireType, field);
        switch (field.Kind)
        {
            case FieldKind.Message:
                var node = _document.NewNode(NodeKind.Object);
                ReadMessage(message, node, field.Element!, depth + 1);
                return node;
            case FieldKind.Quantity:
                return ReadQuantity(FirstBytes(message));
            case FieldKind.IntOrString:
                return ReadIntOrString(message);
            case FieldKind.Time or FieldKind.MicroTime:
                return ReadTime(message, field.Kind == FieldKind.MicroTime);
            case FieldKind.Duration:
                Span<byte> duration = stackalloc byte[GoDuration.MaxLength];
                return NewText(NodeKind.String, duration[..GoDuration.Write(FirstNumber(message), duration)]);
            case FieldKind.StringList:
                return ReadStrings(message);
            case FieldKind.SchemaOrArray or FieldKind.SchemaOrStringArray:
                return ReadSchemaOrList(message, field, depth);
            case FieldKind.SchemaOrBool:
                return ReadSchemaOrBool(message, field, depth);
            default:
                return ReadRaw(FirstBytes(message), depth);
        }
    }

    private int ReadQuantity(ReadOnlySpan<byte> text)
    {
        if (text.Length == 0)
            return NewText(NodeKind.String, "0"u8);
        if (Quantity.IsPlainCanonical(text))
            return NewText(NodeKind.String, text);
        var failure = Quantity.TryParse(text, out var quantity, out var isKept);
        if (failure is not null)
            ProtoReader.Throw(failure);
        return NewText(NodeKind.String, isKept ? text : Encoding.UTF8.GetBytes(quantity.ToString()));
    }

    private int ReadIntOrString(ReadOnlySpan<byte> message)
    {
        var reader = new ProtoReader(message);
        ulong type = 0, number = 0;
        ReadOnlySpan<byte> text = default;
        while (reader.TryTag(out var field, out var wireType))
        {
            if (field == 1 && wireType == ProtoWriter.Varint)
                type = reader.Varint();
            else if (field == 2 && wireType == ProtoWriter.Varint)
                number = reader.Varint();
            else if (field == 3 && wireType == ProtoWriter.Bytes)
                text = reader.Bytes();
            else
                reader.Skip(wireType);
        }
        return type == 1 ? NewText(NodeKind.String, Valid(text)) : NewNumber((int)number);
    }

    private int ReadTime(ReadOnlySpan<byte> message, bool isMicro)
    {
        if (message.Length == 0)
            return 0;
        var reader = new ProtoReader(message);
        long seconds = 0, nanoseconds = 0;
        while (reader.TryTag(out var field, out var wireType))
        {
            if (field == 1 && wireType == ProtoWriter.Varint)
                seconds = (long)reader.Varint();
            else if (field == 2 && wireType == ProtoWriter.Varint)
                nanoseconds = (long)reader.Varint();
            else
                reader.Skip(wireType);
        }
        var time = new ApiTime(
            Math.Clamp(seconds, ApiTime.ZeroUnixSeconds, DateTimeOffset.MaxValue.ToUnixTimeSeconds()), isMicro ? (int)Math.Clamp(nanoseconds, 0, 999_999_999) / 1000 * 1000 : 0);
        if (time.IsZero)
            return 0;
        Span<byte> text = stackalloc byte[ScalarText.MaxTimeLength];
        return NewText(NodeKind.String, text[..ScalarText.WriteTime(time, isMicro, text)]);
    }

    private int ReadStrings(ReadOnlySpan<byte> message)
    {
        var list = _document.NewNode(NodeKind.Array);
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var field, out var wireType))
        {
            if (field == 1 && wireType == ProtoWriter.Bytes)
                _document.Link(list, NewText(NodeKind.String, Valid(reader.Bytes())));
            else
                reader.Skip(wireType);
        }
        return list;
    }

    private int ReadSchemaOrList(ReadOnlySpan<byte> message, FieldSchema field, int depth)
    {
        var list = _document.NewNode(NodeKind.Array);
        var single = 0;
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 2 && wireType == ProtoWriter.Bytes && field.Kind == FieldKind.SchemaOrStringArray)
                _document.Link(list, NewText(NodeKind.String, Valid(reader.Bytes())));
            else if (number is 1 or 2 && wireType == ProtoWriter.Bytes)
            {
                var node = _document.NewNode(NodeKind.Object);
                ReadMessage(reader.Bytes(), node, field.Element!, depth + 1);
                if (number == 1)
                    single = node;
                else
                    _document.Link(list, node);
            }
            else
                reader.Skip(wireType);
        }
        return single != 0 ? single : list;
    }

    private int ReadSchemaOrBool(ReadOnlySpan<byte> message, FieldSchema field, int depth)
    {
        var result = 0;
        var allows = false;
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1 && wireType == ProtoWriter.Varint)
                allows = reader.Varint() != 0;
            else if (number == 2 && wireType == ProtoWriter.Bytes)
            {
                result = _document.NewNode(NodeKind.Object);
                ReadMessage(reader.Bytes(), result, field.Element!, depth + 1);
            }
            else
                reader.Skip(wireType);
        }
        return result != 0 ? result : _document.NewNode(allows ? NodeKind.True : NodeKind.False);
    }

    // JSON, or a whole enveloped object.
    private int ReadRaw(ReadOnlySpan<byte> raw, int depth)
    {
        if (raw.Length == 0)
            return 0;
        if (raw.StartsWith(ProtobufCodec.Magic))
            return ReadEnvelope(raw, null, depth + 1);
        var path = DecodePath.Rent();
        try
        {
            return new JsonTreeDecoder(raw, _document, path, DecodeOptions.DefaultMaxDepth, null).DecodeDocument(null);
        }
        catch (JsonSyntaxException syntax)
        {
            throw ApiStatus.BadRequest(syntax.Message).ToException();
        }
        finally
        {
            DecodePath.Return(path);
        }
    }

    private static ReadOnlySpan<byte> FirstBytes(ReadOnlySpan<byte> message)
    {
        ReadOnlySpan<byte> bytes = default;
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1 && wireType == ProtoWriter.Bytes)
                bytes = reader.Bytes();
            else
                reader.Skip(wireType);
        }
        return bytes;
    }

    private static long FirstNumber(ReadOnlySpan<byte> message)
    {
        ulong value = 0;
        var reader = new ProtoReader(message);
        while (reader.TryTag(out var number, out var wireType))
        {
            if (number == 1 && wireType == ProtoWriter.Varint)
                value = reader.Varint();
            else
                reader.Skip(wireType);
        }
        return (long)value;
    }

    private static ReadOnlySpan<byte> Bytes(scoped ref ProtoReader reader, int wireType, FieldSchema field)
    {
        if (wireType != ProtoWriter.Bytes)
            ThrowWireType(wireType, field);
        return reader.Bytes();
    }

    private static ulong Varint(ref ProtoReader reader, int wireType, FieldSchema field)
    {
        if (wireType != ProtoWriter.Varint)
            ThrowWireType(wireType, field);
        return reader.Varint();
    }

    private static void ThrowWireType(int wireType, FieldSchema field) => ProtoReader.Throw($"proto: wrong wireType = {wireType} for field {field.JsonName}");

    private void Put(int target, ReadOnlySpan<byte> name, int value)
    {
        if (_document.Find(target, name) is var existing && existing != 0)
        {
            _document.Overwrite(existing, value);
            return;
        }
        _document.SetName(value, name);
        _document.Link(target, value);
    }

    private int ZeroOf(FieldSchema field) => field.Kind switch
    {
        FieldKind.String or FieldKind.Bytes => _document.NewNode(NodeKind.String),
        FieldKind.Quantity => NewText(NodeKind.String, "0"u8),
        FieldKind.Message => _document.NewNode(NodeKind.Object),
        FieldKind.StringList => _document.NewNode(NodeKind.Array),
        _ => _document.NewNode(NodeKind.Null),
    };

    private bool IsZeroScalar(FieldSchema field, int value) => field.Kind switch
    {
        FieldKind.String or FieldKind.Bytes => _document[value].Last == 0,
        FieldKind.Boolean => _document[value].Kind == NodeKind.False,
        FieldKind.Int32 or FieldKind.Int64 or FieldKind.Double => _document.TextOf(value).SequenceEqual("0"u8),
        _ => false,
    };

    private int NewText(NodeKind kind, scoped ReadOnlySpan<byte> text)
    {
        var node = _document.NewNode(kind);
        _document.SetText(node, text);
        return node;
    }

    private int NewNumber(long value)
    {
        Span<byte> digits = stackalloc byte[24];
        value.TryFormat(digits, out var length, default, CultureInfo.InvariantCulture);
        return NewText(NodeKind.Number, digits[..length]);
    }

    private int NewDouble(double value)
    {
        if (!double.IsFinite(value))
            ProtoReader.Throw("proto: number is not finite");
        Span<byte> text = stackalloc byte[ScalarText.MaxDoubleLength];
        return NewText(NodeKind.Number, text[..ScalarText.WriteDouble(value, text)]);
    }

    private int NewBase64(ReadOnlySpan<byte> bytes)
    {
        var node = _document.NewNode(NodeKind.String);
        var destination = _document.ReserveText(Base64.GetMaxEncodedToUtf8Length(bytes.Length));
        Base64.EncodeToUtf8(bytes, destination, out _, out var length);
        var start = _document.CommitText(length);
        _document[node].First = start;
        _document[node].Last = length;
        return node;
    }

    private static ReadOnlySpan<byte> Valid(ReadOnlySpan<byte> text) =>
        Utf8.IsValid(text) ? text : Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(text));
}
