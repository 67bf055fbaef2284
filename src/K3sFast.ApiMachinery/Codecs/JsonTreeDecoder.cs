using System.Buffers.Text;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Builds the tree of one body by its schema in one pass: known fields only, values in the form in which upstream would write them again, nulls dropped.
/// Wrong types are noted and decoding goes on, because upstream reports syntax errors first and then the first wrong type.
/// </summary>
internal ref partial struct JsonTreeDecoder
{
    private readonly ApiObject _document;
    private readonly DecodePath _path;
    private readonly int _maxDepth;
    private ICollection<string>? _strictErrors;
    private JsonScanner _scanner;
    private int _depth;
    private int _strictFinds;

    public JsonTreeDecoder(ReadOnlySpan<byte> json, ApiObject document, DecodePath path, int maxDepth, ICollection<string>? strictErrors)
    {
        _document = document;
        _path = path;
        _maxDepth = maxDepth;
        _strictErrors = strictErrors;
        _scanner = new JsonScanner(json, document);
    }

    /// <summary>The first wrong type, in upstream's words; null when all was right.</summary>
    public string? TypeError { get; private set; }

    public int DecodeDocument(TypeSchema? type)
    {
        var first = _scanner.Peek();
        int root;
        if (type is null)
        {
            root = DecodeFree();
        }
        else if (first == '{')
        {
            root = DecodeObject(type);
        }
        else
        {
            TypeError = first == 'n' ? null : $"json: cannot unmarshal {NameOfValue(first)} into Go value of type {GoName(type)}";
            DecodeFree();
            root = _document.NewNode(NodeKind.Object);
        }
        _scanner.ExpectEnd();
        return root;
    }

    private int DecodeObject(TypeSchema type)
    {
        Enter('{');
        var node = _document.NewNode(NodeKind.Object);
        ulong seenLow = 0, seenHigh = 0;
        _scanner.Take();
        if (_scanner.Peek() == '}')
        {
            _scanner.Take();
            _depth--;
            return node;
        }
        do
        {
            var (start, length) = TakeName();
            if (!type.TryGetField(_document.Text(start, length), out var field))
            {
                DecodeUnknown(type, node, start, length);
                continue;
            }
            var ordinal = field.Ordinal;
            ref var seen = ref ordinal < 64 ? ref seenLow : ref seenHigh;
            var isDuplicate = (seen & (1UL << (ordinal & 63))) != 0;
            seen |= 1UL << (ordinal & 63);
            if (isDuplicate)
            {
                AddStrictError("duplicate field", field.JsonNameUtf8);
                RemoveMember(node, _document.Text(start, length));
            }
            _path.PushField(type, field);
            var child = DecodeField(field);
            _path.Pop();
            if (child != 0)
                AddMember(node, child, start, length, ordinal + 1);
        }
        while (_scanner.TakeSeparator((byte)'}', "after object key:value pair"));
        _depth--;
        return node;
    }

    private int DecodeField(FieldSchema field)
    {
        var next = _scanner.Peek();
        if (next == 'n')
        {
            _scanner.TakeLiteral();
            return 0;
        }
        switch (field.Cardinality)
        {
            case FieldCardinality.List:
                return next == '[' ? DecodeList(field) : WrongType(next, field, GoName(field));
            case FieldCardinality.Map:
                return next == '{' ? DecodeMap(field) : WrongType(next, field, GoName(field));
        }
        var node = DecodeElement(field, next);
        // A field that is no pointer upstream cannot tell zero from absence, and omitempty does not write it.
        return node != 0 && field.OmitEmpty && !field.Pointer && IsZeroScalar(field, node) ? 0 : node;
    }

    private int DecodeList(FieldSchema field)
    {
        Enter('[');
        var list = _document.NewNode(NodeKind.Array);
        _scanner.Take();
        if (_scanner.Peek() == ']')
        {
            _scanner.Take();
            _depth--;
            return list;
        }
        var index = 0;
        do
        {
            _path.PushIndex(index++);
            var next = _scanner.Peek();
            var element = DecodeElement(field, next);
            _path.Pop();
            _document.Link(list, element != 0 ? element : NewZero(field));
        }
        while (_scanner.TakeSeparator((byte)']', "after array element"));
        _depth--;
        return list;
    }

    private int DecodeMap(FieldSchema field)
    {
        Enter('{');
        var map = _document.NewNode(NodeKind.Object);
        _scanner.Take();
        if (_scanner.Peek() == '}')
        {
            _scanner.Take();
            _depth--;
            return map;
        }
        do
        {
            var (start, length) = TakeName();
            _path.PushKey(start, length);
            var next = _scanner.Peek();
            var element = DecodeElement(field, next);
            _path.Pop();
            AddMember(map, element != 0 ? element : NewZero(field), start, length, 0);
        }
        while (_scanner.TakeSeparator((byte)'}', "after object key:value pair"));
        DropDuplicates(map);
        _depth--;
        return map;
    }

    // 0 = null or a wrong type, which has been noted.
    private int DecodeElement(FieldSchema field, byte next)
    {
        if (next == 'n' && field.Kind != FieldKind.Any)
        {
            _scanner.TakeLiteral();
            return 0;
        }
        switch (field.Kind)
        {
            case FieldKind.String:
                return next == '"' ? NewText(NodeKind.String, _scanner.TakeString()) : WrongType(next, field, "string");
            case FieldKind.Boolean:
                return next is (byte)'t' or (byte)'f' ? _document.NewNode(_scanner.TakeLiteral()) : WrongType(next, field, "bool");
            case FieldKind.Int32:
            case FieldKind.Int64:
                return IsNumber(next) ? DecodeInteger(field.Kind == FieldKind.Int32) : WrongType(next, field, field.Kind == FieldKind.Int32 ? "int32" : "int64");
            case FieldKind.Message:
                return next == '{' ? DecodeObject(field.Element!) : WrongType(next, field, GoName(field.Element!));
            case FieldKind.Quantity:
                return next == '"' ? DecodeQuantity(_scanner.TakeString()) : IsNumber(next) ? DecodeQuantity(_scanner.TakeNumber()) : WrongQuantity();
            case FieldKind.IntOrString:
                return next == '"' ? NewText(NodeKind.String, _scanner.TakeString()) : IsNumber(next) ? DecodeInteger(isInt32: true) : WrongType(next, field, "int32");
            case FieldKind.Time:
                return next == '"' ? DecodeTime(_scanner.TakeString(), isMicro: false) : WrongType(next, field, "string");
            case FieldKind.MicroTime:
                return next == '"' ? DecodeTime(_scanner.TakeString(), isMicro: true) : WrongType(next, field, "string");
            case FieldKind.Duration:
                return next == '"' ? DecodeDuration(_scanner.TakeString()) : WrongType(next, field, "string");
            case FieldKind.Bytes:
                return next == '"' ? DecodeBytes(_scanner.TakeString()) : WrongType(next, field, "[]uint8");
            case FieldKind.Double:
                return IsNumber(next) ? DecodeDouble(_scanner.TakeNumber()) : WrongType(next, field, "float64");
            case FieldKind.StringList:
                return next == '[' ? DecodeStrings(field) : WrongType(next, field, GoName(field));
            case FieldKind.SchemaOrArray when next == '[':
            case FieldKind.SchemaOrStringArray when next == '[':
                return DecodeSchemaList(field);
            case FieldKind.SchemaOrBool when next is (byte)'t' or (byte)'f':
                return _document.NewNode(_scanner.TakeLiteral());
            case FieldKind.SchemaOrArray or FieldKind.SchemaOrBool or FieldKind.SchemaOrStringArray:
                return next == '{' ? DecodeObject(field.Element!) : WrongType(next, field, GoName(field.Element!));
            default:
                return DecodeFreeQuietly();
        }
    }

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
        var wrongAt = ScalarText.FindBase64Error(text);
        if (wrongAt >= 0)
            return Fail($"illegal base64 data at input byte {wrongAt}");
        if (text.IndexOfAny((byte)'\r', (byte)'\n') < 0)
            return NewText(NodeKind.String, slice);
        var kept = _document.ReserveText(slice.Length);
        var length = 0;
        foreach (var value in _document.Text(slice.Start, slice.Length))
        {
            if (value is not ((byte)'\r' or (byte)'\n'))
                kept[length++] = value;
        }
        return NewText(NodeKind.String, (_document.CommitText(length), length));
    }

    private int DecodeStrings(FieldSchema field)
    {
        Enter('[');
        var list = _document.NewNode(NodeKind.Array);
        _scanner.Take();
        if (_scanner.Peek() == ']')
        {
            _scanner.Take();
            _depth--;
            return list;
        }
        do
        {
            var next = _scanner.Peek();
            if (next == 'n')
                _scanner.TakeLiteral();
            var text = next == '"' ? NewText(NodeKind.String, _scanner.TakeString()) : next == 'n' ? 0 : WrongType(next, field, "string");
            _document.Link(list, text != 0 ? text : _document.NewNode(NodeKind.String));
        }
        while (_scanner.TakeSeparator((byte)']', "after array element"));
        _depth--;
        return list;
    }

    private int DecodeSchemaList(FieldSchema field)
    {
        Enter('[');
        var list = _document.NewNode(NodeKind.Array);
        _scanner.Take();
        if (_scanner.Peek() == ']')
        {
            _scanner.Take();
            _depth--;
            return list;
        }
        do
        {
            var next = _scanner.Peek();
            var element = field.Kind == FieldKind.SchemaOrArray
                ? next == '{' ? DecodeObject(field.Element!) : WrongType(next, field, GoName(field.Element!))
                : next == '"' ? NewText(NodeKind.String, _scanner.TakeString()) : WrongType(next, field, "string");
            if (element != 0)
                _document.Link(list, element);
        }
        while (_scanner.TakeSeparator((byte)']', "after array element"));
        _depth--;
        return list;
    }

    // Free values inside typed ones: upstream keeps their bytes and looks at them later, without strictness.
    private int DecodeFreeQuietly()
    {
        var strictErrors = _strictErrors;
        _strictErrors = null;
        var node = DecodeFree();
        _strictErrors = strictErrors;
        return node;
    }

    private int DecodeFree()
    {
        var next = _scanner.Peek();
        switch (next)
        {
            case (byte)'"':
                return NewText(NodeKind.String, _scanner.TakeString());
            case (byte)'{':
                return DecodeFreeObject();
            case (byte)'[':
                return DecodeFreeArray();
            default:
                return IsNumber(next) ? NewText(NodeKind.Number, _scanner.TakeNumber()) : _document.NewNode(_scanner.TakeLiteral());
        }
    }

    private int DecodeFreeObject()
    {
        Enter('{');
        var node = _document.NewNode(NodeKind.Object);
        _scanner.Take();
        if (_scanner.Peek() == '}')
        {
            _scanner.Take();
            _depth--;
            return node;
        }
        do
        {
            var (start, length) = TakeName();
            _path.PushKey(start, length);
            var child = DecodeFree();
            _path.Pop();
            AddMember(node, child, start, length, 0);
        }
        while (_scanner.TakeSeparator((byte)'}', "after object key:value pair"));
        DropDuplicates(node);
        _depth--;
        return node;
    }

    private int DecodeFreeArray()
    {
        Enter('[');
        var node = _document.NewNode(NodeKind.Array);
        _scanner.Take();
        if (_scanner.Peek() == ']')
        {
            _scanner.Take();
            _depth--;
            return node;
        }
        var index = 0;
        do
        {
            _path.PushIndex(index++);
            var child = DecodeFree();
            _path.Pop();
            _document.Link(node, child);
        }
        while (_scanner.TakeSeparator((byte)']', "after array element"));
        _depth--;
        return node;
    }

    private (int Start, int Length) TakeName()
    {
        var next = _scanner.Peek();
        if (next != '"')
            JsonScanner.ThrowInvalidCharacter(next, "looking for beginning of object key string");
        var name = _scanner.TakeString();
        _scanner.TakeColon();
        return name;
    }

    private void DecodeUnknown(TypeSchema type, int node, int start, int length)
    {
        if (type.PreserveUnknown)
        {
            RemoveMember(node, _document.Text(start, length));
            AddMember(node, DecodeFree(), start, length, 0);
            return;
        }
        AddStrictError("unknown field", _document.Text(start, length));
        DecodeFreeQuietly();
    }

    private readonly void AddMember(int node, int child, int nameStart, int nameLength, int hint)
    {
        ref var member = ref _document[child];
        member.NameStart = nameStart;
        member.NameLength = nameLength;
        member.FieldHint = (short)hint;
        _document.Link(node, child);
    }

    private readonly void RemoveMember(int node, ReadOnlySpan<byte> name) => new ApiNode(_document, node).Remove(name);

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

    private void Enter(char bracket)
    {
        if (++_depth > _maxDepth)
            throw new JsonSyntaxException($"invalid character '{bracket}' exceeded max depth");
        StackGuard.Enter();
    }

    private static bool IsNumber(byte next) => next == '-' || (uint)(next - '0') <= 9;
}
