using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

// What is wrong with a body, in upstream's words: the first value of a wrong type, and what only strict decoding minds (unknown and repeated fields).
internal ref partial struct JsonTreeDecoder
{
    // As upstream's strict decoder: more errors than this help nobody.
    private const int MaxStrictErrors = 100;

    // The same error again is not told again; it is not even looked for any more when it comes very often.
    private const int MaxStrictFinds = 1000;

    private int WrongType(byte next, FieldSchema field, string goType)
    {
        _ = field;
        Wrong(NameOfValue(next), goType);
        DecodeFreeQuietly();
        return 0;
    }

    private int WrongQuantity()
    {
        Fail(Quantity.FormatError);
        DecodeFreeQuietly();
        return 0;
    }

    private int Wrong(string value, string goType) => Fail($"json: cannot unmarshal {value} into {_path.GoField()} of type {goType}");

    private int Fail(string message)
    {
        TypeError ??= message;
        return 0;
    }

    // The last of equal keys stays, as in Go's maps. A table is used from the size on where comparing all pairs would cost more.
    private void DropDuplicates(int map)
    {
        const int AllPairsLimit = 12;
        var count = _document[map].Count;
        if (count < 2)
            return;
        if (count > AllPairsLimit)
        {
            DropDuplicatesSlow(map, count);
            return;
        }
        for (var later = _document[_document[map].First].Next; later != 0; later = _document[later].Next)
        {
            var name = _document.NameOf(later);
            var previous = 0;
            for (var earlier = _document[map].First; earlier != later; previous = earlier, earlier = _document[earlier].Next)
            {
                if (_document[earlier].NameLength != name.Length || !_document.NameOf(earlier).SequenceEqual(name))
                    continue;
                AddStrictError("duplicate field", name);
                _document.Unlink(map, previous, earlier);
                break;
            }
        }
    }

    private void DropDuplicatesSlow(int map, int count)
    {
        var size = 64;
        while (size < count * 2)
            size *= 2;
        var slots = ArrayPool<int>.Shared.Rent(size);
        slots.AsSpan(0, size).Clear();
        var hasDuplicates = false;
        for (var child = _document[map].First; child != 0; child = _document[child].Next)
        {
            var hash = new HashCode();
            hash.AddBytes(_document.NameOf(child));
            var slot = hash.ToHashCode() & (size - 1);
            while (slots[slot] != 0 && !_document.NameOf(slots[slot]).SequenceEqual(_document.NameOf(child)))
                slot = (slot + 1) & (size - 1);
            if (slots[slot] != 0)
            {
                AddStrictError("duplicate field", _document.NameOf(child));
                _document[slots[slot]].FieldHint = -1;
                hasDuplicates = true;
            }
            slots[slot] = child;
        }
        ArrayPool<int>.Shared.Return(slots);
        var previous = 0;
        for (int child = _document[map].First, next; hasDuplicates && child != 0; child = next)
        {
            next = _document[child].Next;
            if (_document[child].FieldHint == -1)
                _document.Unlink(map, previous, child);
            else
                previous = child;
        }
    }

    private void AddStrictError(string what, ReadOnlySpan<byte> name)
    {
        if (_strictErrors is null || _strictErrors.Count >= MaxStrictErrors || _strictFinds++ >= MaxStrictFinds)
            return;
        var member = GoText.Clip(Encoding.UTF8.GetString(name));
        var error = $"{what} {GoText.Quote(_path.Strict(_document, member))}";
        if (!_strictErrors.Contains(error))
            _strictErrors.Add(error);
    }

    private static string NameOfValue(byte next) => next switch
    {
        (byte)'{' => "object",
        (byte)'[' => "array",
        (byte)'"' => "string",
        (byte)'t' or (byte)'f' => "bool",
        _ => "number",
    };

    private static string GoName(FieldSchema field)
    {
        var element = field.Kind switch
        {
            FieldKind.Message => GoName(field.Element!),
            FieldKind.Boolean => "bool",
            FieldKind.Int32 => "int32",
            FieldKind.Int64 => "int64",
            FieldKind.Double => "float64",
            FieldKind.Bytes => "[]uint8",
            FieldKind.Quantity => "resource.Quantity",
            FieldKind.IntOrString => "intstr.IntOrString",
            FieldKind.Time => "v1.Time",
            FieldKind.RawExtension => "runtime.RawExtension",
            FieldKind.StringList => "[]string",
            _ => "string",
        };
        return field.Cardinality switch
        {
            FieldCardinality.List when field.Kind != FieldKind.StringList => "[]" + element,
            FieldCardinality.Map when field.Kind == FieldKind.Quantity => "v1.ResourceList",
            FieldCardinality.Map => "map[string]" + element,
            _ => element,
        };
    }

    private static string GoName(TypeSchema type)
    {
        var dot = type.FullName.LastIndexOf('.');
        return dot <= 0 ? type.FullName : type.FullName[(type.FullName.LastIndexOf('.', dot - 1) + 1)..];
    }
}
