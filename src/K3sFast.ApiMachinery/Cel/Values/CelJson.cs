using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Objects and other JSON as values: nothing is copied; members are looked up in the tree when they are asked for.</summary>
public static class CelJson
{
    /// <summary>The node as a value; what is not there is null. Valid as long as the document is.</summary>
    public static CelValue Of(ApiNode node) => node.Kind switch
    {
        NodeKind.True => CelValue.True,
        NodeKind.False => CelValue.False,
        NodeKind.String => CelValue.Of(node.AsString()),
        NodeKind.Number => Number(node),
        NodeKind.Array => CelValue.Of(new NodeList(node)),
        NodeKind.Object => CelValue.Of(new NodeMap(node)),
        _ => CelValue.Null,
    };

    private static CelValue Number(ApiNode node) =>
        node.TryGetInt64(out long whole) ? CelValue.Of(whole) : CelValue.Of(double.Parse(node.Utf8, System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>The value as a node of the document that hangs nowhere yet; false for what JSON has no form of.</summary>
    public static bool TryWrite(CelValue value, ApiObject document, out ApiNode node, out string problem)
    {
        problem = "";
        node = default;
        switch (value.Kind)
        {
            case CelKind.Null:
                node = Detached(document, "null"u8);
                return true;
            case CelKind.Bool:
                node = Detached(document, value.AsBool ? "true"u8 : "false"u8);
                return true;
            case CelKind.Int or CelKind.Uint:
                node = Detached(document, Encoding.ASCII.GetBytes(CelText.Of(value)!));
                return true;
            case CelKind.Double when double.IsFinite(value.AsDouble):
                node = Detached(document, Encoding.ASCII.GetBytes(value.AsDouble.ToString("R", System.Globalization.CultureInfo.InvariantCulture)));
                return true;
            case CelKind.String or CelKind.Timestamp or CelKind.Duration:
                node = document.NewString(Encoding.UTF8.GetBytes(CelText.Of(value)!));
                return true;
            case CelKind.Bytes:
                node = document.NewString(Encoding.ASCII.GetBytes(Convert.ToBase64String(value.AsBytes)));
                return true;
            case CelKind.List:
                return TryWriteList(value.AsList, document, out node, out problem);
            case CelKind.Map or CelKind.Struct when value.Reference is CelMap map:
                return TryWriteMap(map, document, out node, out problem);
            default:
                problem = $"type conversion error from '{value.TypeName}' to JSON";
                return false;
        }
    }

    private static bool TryWriteList(CelList list, ApiObject document, out ApiNode node, out string problem)
    {
        node = document.NewArray();
        problem = "";
        for (int i = 0; i < list.Count; i++)
        {
            if (!TryWrite(list[i], document, out var element, out problem))
                return false;
            node.Append(element);
        }
        return true;
    }

    private static bool TryWriteMap(CelMap map, ApiObject document, out ApiNode node, out string problem)
    {
        node = document.NewObject();
        problem = "";
        foreach (var key in map.Keys)
        {
            map.TryGet(key, out var member);
            if (CelText.Of(key) is not { } name)
            {
                problem = $"type conversion error from '{key.TypeName}' to 'string'";
                return false;
            }
            if (!TryWrite(member, document, out var child, out problem))
                return false;
            node.Set(Encoding.UTF8.GetBytes(name), child);
        }
        return true;
    }

    private static ApiNode Detached(ApiObject document, ReadOnlySpan<byte> scalar)
    {
        var holder = document.NewObject();
        var node = scalar[0] switch
        {
            (byte)'t' => holder.Set("x"u8, true),
            (byte)'f' => holder.Set("x"u8, false),
            (byte)'n' => Nothing(holder),
            _ => holder.SetNumber("x"u8, scalar),
        };
        holder.Remove("x"u8);
        return node;
    }

    private static ApiNode Nothing(ApiNode holder)
    {
        holder.SetNull("x"u8);
        return holder["x"u8];
    }

    private sealed class NodeList(ApiNode array) : CelList
    {
        private ApiNode[]? _elements;

        public override int Count => array.Count;

        public override CelValue this[int index] => Of(Elements()[index]);

        // Elements hang on each other; one walk makes every place cheap.
        private ApiNode[] Elements()
        {
            if (_elements is not null)
                return _elements;
            var elements = new ApiNode[array.Count];
            int i = 0;
            foreach (var element in array.Elements)
                elements[i++] = element;
            return _elements = elements;
        }
    }

    private sealed class NodeMap(ApiNode obj) : CelMap
    {
        // Longer names than this go through the heap.
        private const int MaxStackBytes = 256;

        public override int Count => obj.Count;

        public override IEnumerable<CelValue> Keys
        {
            get
            {
                var keys = new List<CelValue>(obj.Count);
                foreach (var member in obj.Members)
                    keys.Add(CelValue.Of(Encoding.UTF8.GetString(member.Name)));
                return keys;
            }
        }

        public override bool TryGet(CelValue key, out CelValue value)
        {
            value = default;
            return key.Kind == CelKind.String && TryGet(key.AsString, out value);
        }

        public override bool TryGet(string key, out CelValue value)
        {
            byte[]? rented = null;
            int size = Encoding.UTF8.GetMaxByteCount(key.Length);
            Span<byte> name = size <= MaxStackBytes ? stackalloc byte[MaxStackBytes] : rented = ArrayPool<byte>.Shared.Rent(size);
            var member = obj[name[..Encoding.UTF8.GetBytes(key, name)]];
            if (rented is not null)
                ArrayPool<byte>.Shared.Return(rented);
            value = member.IsDefined ? Of(member) : default;
            return member.IsDefined;
        }
    }
}
