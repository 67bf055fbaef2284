using System.Text;
using K3sFast.WatchCache.Json;

namespace K3sFast.WatchCache;

/// <summary>Reads the index keys of a resource's objects. Immutable, allocates nothing.</summary>
internal sealed class KeyReader
{
    private readonly int _prefixLength;
    private readonly string[] _fieldNames;
    private readonly int[] _fields;
    private readonly byte[][] _labels;

    public KeyReader(ReadOnlySpan<byte> keyPrefix, IReadOnlyList<string> fieldPaths, ResourceIndexes indexes)
    {
        _prefixLength = keyPrefix.Length;
        _fieldNames = [.. indexes.Fields];
        _fields = [.. indexes.Fields.Select(path => Array.IndexOf([.. fieldPaths], path))];
        _labels = [.. indexes.Labels.Select(Encoding.UTF8.GetBytes)];
        if (Array.IndexOf(_fields, -1) >= 0) throw new ArgumentException("an indexed field is no selectable field", nameof(indexes));
        if (IndexKey.FirstIndexKind + _fields.Length + _labels.Length > IndexKey.Kinds) throw new ArgumentException("too many indexes", nameof(indexes));
    }

    /// <summary>Indexes besides namespace and object.</summary>
    public int IndexCount => _fields.Length + _labels.Length;

    /// <summary>The key of a field's value; none when the field is not indexed, or the value empty.</summary>
    public IndexKey OfField(string path, ReadOnlySpan<byte> value)
    {
        int at = Array.IndexOf(_fieldNames, path);
        return at < 0 || value.IsEmpty ? default : IndexKey.Of(IndexKey.FirstIndexKind + at, value);
    }

    /// <summary>The key of a label's value; none when the label is not indexed, or the value empty.</summary>
    public IndexKey OfLabel(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        for (int i = 0; i < _labels.Length; i++)
        {
            if (name.SequenceEqual(_labels[i])) return value.IsEmpty ? default : IndexKey.Of(IndexKey.FirstIndexKind + _fields.Length + i, value);
        }
        return default;
    }

    /// <summary>The key that a key prefix stands for: a namespace (with the slash at its end) or everything.</summary>
    public IndexKey OfPrefix(ReadOnlySpan<byte> prefix) =>
        prefix.Length > _prefixLength && prefix[^1] == '/' ? IndexKey.Of(IndexKey.NamespaceKind, prefix) : default;

    /// <summary>The object's key of a kind; none when it has no such value.</summary>
    public IndexKey Read(StoredObject item, int kind)
    {
        switch (kind)
        {
            case IndexKey.NamespaceKind:
                var key = item.KeyUtf8;
                int slash = key[_prefixLength..].IndexOf((byte)'/');
                return slash < 0 ? default : IndexKey.Of(kind, key[..(_prefixLength + slash + 1)]);
            case IndexKey.ObjectKind:
                return IndexKey.Of(kind, item.KeyUtf8);
            default:
                int index = kind - IndexKey.FirstIndexKind;
                var value = index < _fields.Length ? item.Field(_fields[index]) : LabelOf(item, _labels[index - _fields.Length]);
                return value.IsEmpty ? default : IndexKey.Of(kind, value);
        }
    }

    // Label names and values never need JSON escapes.
    private static ReadOnlySpan<byte> LabelOf(StoredObject item, ReadOnlySpan<byte> label)
    {
        var labels = item.LabelsJson;
        if (labels.IsEmpty || labels[0] != '{') return default;
        var walk = new JsonScanner(labels);
        walk.EnterObject();
        while (walk.NextMember(out var name))
        {
            int start = walk.Position;
            walk.SkipValue();
            if (!name.SequenceEqual(label)) continue;
            var value = new TextRange(start, walk.Position - start).Unquoted(labels);
            return labels.Slice(value.Start, value.Length);
        }
        return default;
    }
}
