using System.Buffers;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>The path elements of a set's or keyed list's elements, with lookup. Reused by its walker; allocates nothing once it has grown.</summary>
internal sealed class ListIndex
{
    private struct Entry
    {
        public int Start;
        public int Length;
        public int Hash;
        public int NextInBucket;
        public int Twin;
        public ApiNode Element;
        public bool IsRepeated;
    }

    private readonly ArrayBufferWriter<byte> _text = new(256);
    private Entry[] _entries = new Entry[8];
    private int[] _buckets = new int[16];

    /// <summary>Elements in the list's order.</summary>
    public int Count { get; private set; }

    /// <summary>What makes an element unusable, in structured-merge-diff's words; null when all are fine.</summary>
    public string? Error { get; private set; }

    /// <summary>Reads the elements of a list. Elements before the first unusable one are indexed.</summary>
    public void Build(ApiNode list, bool isExact, in TypedPlace place)
    {
        Clear(list.Count);
        foreach (var element in list.Elements)
        {
            var start = _text.WrittenCount;
            Error = place.Keys.IsEmpty ? WriteValue(element) : WriteKey(element, isExact, place);
            if (Error is not null)
            {
                Error = $"element {Count}: {Error}";
                return;
            }
            Add(start, element);
        }
    }

    /// <summary>The text of an element as fieldsV1 has it.</summary>
    public ReadOnlySpan<byte> PathOf(int index) => _text.WrittenSpan.Slice(_entries[index].Start, _entries[index].Length);

    public ApiNode ElementAt(int index) => _entries[index].Element;

    /// <summary>True when an earlier element has the same path.</summary>
    public bool IsRepetition(int index) => _entries[index].Twin >= 0;

    /// <summary>True when the (first) element of that path is not alone.</summary>
    public bool IsRepeated(int index) => _entries[_entries[index].Twin < 0 ? index : _entries[index].Twin].IsRepeated;

    /// <summary>The next element with the path of the <paramref name="first"/>; <see cref="Count"/> when there is none.</summary>
    public int NextOf(int index, int first)
    {
        if (!_entries[first].IsRepeated)
            return Count;
        do
            index++;
        while (index < Count && _entries[index].Twin != first);
        return index;
    }

    /// <summary>The first element of that path; -1 when there is none.</summary>
    public int Find(ReadOnlySpan<byte> path)
    {
        if (Count == 0)
            return -1;
        var hash = HashOf(path);
        for (var index = _buckets[hash & (_buckets.Length - 1)] - 1; index >= 0; index = _entries[index].NextInBucket)
        {
            if (_entries[index].Hash == hash && PathOf(index).SequenceEqual(path))
                return index;
        }
        return -1;
    }

    private void Clear(int capacity)
    {
        _text.ResetWrittenCount();
        Count = 0;
        Error = null;
        if (_entries.Length < capacity)
            _entries = new Entry[Math.Max(capacity, _entries.Length * 2)];
        var buckets = _buckets.Length;
        while (buckets < capacity * 2)
            buckets *= 2;
        if (buckets != _buckets.Length)
            _buckets = new int[buckets];
        else
            Array.Clear(_buckets);
    }

    private void Add(int start, ApiNode element)
    {
        var path = _text.WrittenSpan[start..];
        var twin = Find(path);
        ref var entry = ref _entries[Count];
        entry = new Entry { Start = start, Length = path.Length, Hash = HashOf(path), Element = element, Twin = twin, NextInBucket = -1 };
        Count++;
        if (twin >= 0)
        {
            _entries[twin].IsRepeated = true;
            return;
        }
        ref var bucket = ref _buckets[entry.Hash & (_buckets.Length - 1)];
        entry.NextInBucket = bucket - 1;
        bucket = Count;
    }

    private string? WriteValue(ApiNode element)
    {
        switch (element.Kind)
        {
            case NodeKind.Object:
                return "associative list without keys has an element that's a map type";
            case NodeKind.Array:
                return "not supported: associative list with lists as elements";
            case NodeKind.Null:
                return "associative list without keys has an element that's an explicit null";
        }
        var writer = new JsonTextWriter(_text);
        writer.Raw("v:"u8);
        element.WriteJson(ref writer);
        writer.Flush();
        return null;
    }

    private string? WriteKey(ApiNode element, bool isExact, in TypedPlace place)
    {
        if (element.Kind == NodeKind.Null)
            return "associative list with keys may not have a null element";
        if (element.Kind != NodeKind.Object)
            return "associative list with keys may not have non-map elements";
        var writer = new JsonTextWriter(_text);
        writer.Raw("k:"u8);
        var separator = (byte)'{';
        foreach (var field in place.Keys)
        {
            var value = element[field.JsonNameUtf8];
            var seen = isExact ? TypedValue.Of(value, isExact) : TypedValue.Of(element, isExact).Field(value, field);
            if (seen.IsAbsent && field.Default is null)
                continue;
            writer.Raw(separator);
            separator = (byte)',';
            writer.String(field.JsonNameUtf8);
            writer.Raw((byte)':');
            WriteKeyValue(ref writer, seen, field);
        }
        if (separator == '{')
        {
            writer.Flush();
            return $"associative list with keys has an element that omits all key fields [{string.Join(' ', place.Keys.ToArray().Select(static key => GoText.Quote(key.JsonName)))}]"
                + " (and doesn't have default values for any key fields)";
        }
        writer.Raw((byte)'}');
        writer.Flush();
        return null;
    }

    private static void WriteKeyValue(ref JsonTextWriter writer, in TypedValue value, FieldSchema field)
    {
        switch (value.Presence)
        {
            case Presence.Given:
                value.Node.WriteJson(ref writer);
                break;
            case Presence.Absent:
                writer.Raw(Encoding.UTF8.GetBytes(field.Default!));
                break;
            case Presence.Null:
                writer.Raw("null"u8);
                break;
            default:
                writer.Raw(field.Kind switch { FieldKind.String => "\"\""u8, FieldKind.Boolean => "false"u8, _ => "0"u8 });
                break;
        }
    }

    private static int HashOf(ReadOnlySpan<byte> path)
    {
        var hash = new HashCode();
        hash.AddBytes(path);
        return hash.ToHashCode();
    }
}
