using System.Runtime.CompilerServices;

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
        if (!TryOpen(NodeKind.Object, out var node))
            return node;
        ulong seenLow = 0, seenHigh = 0;
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
        while (HasNextMember());
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
        if (!TryOpen(NodeKind.Array, out var list))
            return list;
        var index = 0;
        do
        {
            _path.PushIndex(index++);
            var next = _scanner.Peek();
            var element = DecodeElement(field, next);
            _path.Pop();
            _document.Link(list, element != 0 ? element : NewZero(field));
        }
        while (HasNextElement());
        return list;
    }

    private int DecodeMap(FieldSchema field)
    {
        if (!TryOpen(NodeKind.Object, out var map))
            return map;
        do
        {
            var (start, length) = TakeName();
            _path.PushKey(start, length);
            var next = _scanner.Peek();
            var element = DecodeElement(field, next);
            _path.Pop();
            AddMember(map, element != 0 ? element : NewZero(field), start, length, 0);
        }
        while (HasNextMember());
        DropDuplicates(map);
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

    private int DecodeStrings(FieldSchema field)
    {
        if (!TryOpen(NodeKind.Array, out var list))
            return list;
        do
        {
            var next = _scanner.Peek();
            if (next == 'n')
                _scanner.TakeLiteral();
            var text = next == '"' ? NewText(NodeKind.String, _scanner.TakeString()) : next == 'n' ? 0 : WrongType(next, field, "string");
            _document.Link(list, text != 0 ? text : _document.NewNode(NodeKind.String));
        }
        while (HasNextElement());
        return list;
    }

    private int DecodeSchemaList(FieldSchema field)
    {
        if (!TryOpen(NodeKind.Array, out var list))
            return list;
        do
        {
            var next = _scanner.Peek();
            var element = field.Kind == FieldKind.SchemaOrArray
                ? next == '{' ? DecodeObject(field.Element!) : WrongType(next, field, GoName(field.Element!))
                : next == '"' ? NewText(NodeKind.String, _scanner.TakeString()) : WrongType(next, field, "string");
            if (element != 0)
                _document.Link(list, element);
        }
        while (HasNextElement());
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
        if (!TryOpen(NodeKind.Object, out var node))
            return node;
        do
        {
            var (start, length) = TakeName();
            _path.PushKey(start, length);
            var child = DecodeFree();
            _path.Pop();
            AddMember(node, child, start, length, 0);
        }
        while (HasNextMember());
        DropDuplicates(node);
        return node;
    }

    private int DecodeFreeArray()
    {
        if (!TryOpen(NodeKind.Array, out var node))
            return node;
        var index = 0;
        do
        {
            _path.PushIndex(index++);
            var child = DecodeFree();
            _path.Pop();
            _document.Link(node, child);
        }
        while (HasNextElement());
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

    // Goes into an object or array. False: it was empty, and is left again.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryOpen(NodeKind kind, out int node)
    {
        var isObject = kind == NodeKind.Object;
        if (++_depth > _maxDepth)
            ThrowTooDeep(isObject ? '{' : '[');
        StackGuard.Enter();
        node = _document.NewNode(kind);
        _scanner.Take();
        if (_scanner.Peek() != (isObject ? '}' : ']'))
            return true;
        _scanner.Take();
        _depth--;
        return false;
    }

    // False: the object has no more members, and is left.
    private bool HasNextMember() => HasNext((byte)'}', "after object key:value pair");

    private bool HasNextElement() => HasNext((byte)']', "after array element");

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool HasNext(byte close, string where)
    {
        if (_scanner.TakeSeparator(close, where))
            return true;
        _depth--;
        return false;
    }

    private static void ThrowTooDeep(char bracket) => throw new JsonSyntaxException($"invalid character '{bracket}' exceeded max depth");
}
