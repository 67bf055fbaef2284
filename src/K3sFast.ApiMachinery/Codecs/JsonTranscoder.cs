using System.Buffers;
using System.Text.Unicode;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Compact JSON of a known type into its protobuf message in one pass, without a tree: the bytes that <see cref="ProtoTreeEncoder"/> gives for the decoded
/// object. Fields are written as they come and put into the order of their numbers afterwards where JSON has another; free values are copied as they are.
/// Text that the encoder of stored objects would not have written (white space, names out of order or twice, null in lists, odd escapes and scalars) is not taken.
/// </summary>
/// <remarks>Lives on the stack; allocates nothing. Time is linear in the text, but for moving messages whose length takes more than a byte.</remarks>
internal ref partial struct JsonTranscoder
{
    // No type has more fields than this in another order than JSON's.
    private const int MaxTracked = 64;

    // Real objects stay below 50.
    private const int MaxDepth = 200;

    private readonly ref ProtoWriter _writer;
    private int _depth;
    private JsonCursor _cursor;

    private JsonTranscoder(ReadOnlySpan<byte> json, ref ProtoWriter writer)
    {
        _writer = ref writer;
        _cursor = new JsonCursor(json);
    }

    /// <summary>Appends the message; false = nothing was written, a decoder of all JSON has to be asked.</summary>
    public static bool TryWriteMessage(ReadOnlySpan<byte> json, TypeSchema type, ref ProtoWriter writer)
    {
        var start = writer.Length;
        var transcoder = new JsonTranscoder(json, ref writer);
        if (Utf8.IsValid(json) && transcoder.WriteMessage(type) && transcoder._cursor.IsAtEnd)
            return true;
        writer.Truncate(start);
        return false;
    }

    /// <summary>Reads kind and apiVersion of an object; empty when it has none. False as above.</summary>
    public static bool TryReadKind(ReadOnlySpan<byte> json, out ReadOnlySpan<byte> apiVersion, out ReadOnlySpan<byte> kind)
    {
        apiVersion = kind = default;
        var cursor = new JsonCursor(json);
        if (!cursor.TryOpen((byte)'{', (byte)'}', out var hasMore))
            return false;
        // They come first, so that nothing else is looked at.
        while (hasMore && (apiVersion.IsEmpty || kind.IsEmpty))
        {
            if (!cursor.TryTakeName(out var name))
                return false;
            var isTaken = name.SequenceEqual("kind"u8) ? cursor.TryTakePlain(out kind)
                : name.SequenceEqual("apiVersion"u8) ? cursor.TryTakePlain(out apiVersion) : cursor.TrySkip();
            if (!isTaken || !cursor.TryNext((byte)'}', out hasMore))
                return false;
        }
        return true;
    }

    private bool WriteMessage(TypeSchema type)
    {
        if (++_depth > MaxDepth)
            return false;
        var layout = type.Wire;
        var isWritten = layout.IsInJsonOrder ? WriteMembers(type, layout, default) : WriteTracked(type, layout);
        _depth--;
        return isWritten;
    }

    private bool WriteTracked(TypeSchema type, WireLayout layout)
    {
        if (layout.Fields.Length > MaxTracked)
            return false;
        var segments = (stackalloc Segment[MaxTracked])[..layout.Fields.Length];
        segments.Fill(new Segment(-1, 0));
        return WriteMembers(type, layout, segments);
    }

    // With segments fields may come in any order: they tell where each was written.
    private bool WriteMembers(TypeSchema type, WireLayout layout, scoped Span<Segment> segments)
    {
        var origin = _cursor.Position;
        var start = _writer.Length;
        var isInOrder = true;
        var next = 0;
        var ordinal = -1;
        if (!_cursor.TryOpen((byte)'{', (byte)'}', out var hasMore))
            return false;
        while (hasMore)
        {
            var field = layout.After(ordinal);
            if (field is null || !_cursor.TryTake(field.MemberPrefix))
            {
                if (!_cursor.TryTakeName(out var name))
                    return false;
                if (type.TryGetField(name, out field))
                    layout.Note(ordinal, field);
            }
            var place = -1;
            if (field is not null)
            {
                ordinal = field.Ordinal;
                place = layout.PlaceOf(field);
            }
            if (place >= 0 && place < next && (segments.IsEmpty || segments[place].Start >= 0))
                return false;
            // Null is absence.
            if (place < 0 || _cursor.Peek() == 'n')
            {
                if (!_cursor.TrySkip())
                    return false;
            }
            else
            {
                isInOrder &= place >= next;
                if (isInOrder && !WriteAbsent(layout, next, place, origin))
                    return false;
                var fieldStart = _writer.Length;
                if (!WriteField(field!))
                    return false;
                if (!segments.IsEmpty)
                    segments[place] = new Segment(fieldStart, _writer.Length - fieldStart);
                next = Math.Max(next, place + 1);
            }
            if (!_cursor.TryNext((byte)'}', out hasMore))
                return false;
        }
        return isInOrder ? WriteAbsent(layout, next, layout.Fields.Length, origin) : Arrange(layout, segments, start, origin);
    }

    // The message once more in the right order behind itself, then moved to where it belongs.
    private bool Arrange(WireLayout layout, scoped Span<Segment> segments, int start, int origin)
    {
        var end = _writer.Length;
        for (var place = 0; place < segments.Length; place++)
        {
            if (segments[place].Length > 0)
                _writer.Again(segments[place].Start, segments[place].Length);
            else if (!WriteAbsent(layout, place, place + 1, origin))
                return false;
        }
        _writer.Remove(start, end - start);
        return true;
    }

    private bool WriteAbsent(WireLayout layout, int from, int to, int origin)
    {
        if (from == to)
            return true;
        if (!layout.HasInlined)
        {
            _writer.Raw(layout.Absent(from, to));
            return true;
        }
        for (; from < to; from++)
        {
            if (!layout.Fields[from].Inline)
                _writer.Raw(layout.Absent(from, from + 1));
            else if (!WriteInlined(layout.Fields[from], origin))
                return false;
        }
        return true;
    }

    // The object is read once more for the members of the message that is inlined in it; such objects are small.
    private bool WriteInlined(FieldSchema field, int origin)
    {
        var position = _cursor.Position;
        _cursor.Position = origin;
        var start = _writer.Begin(field.ProtoNumber);
        var isWritten = WriteMessage(field.Element!);
        _writer.End(start);
        _cursor.Position = position;
        return isWritten;
    }

    private bool WriteField(FieldSchema field) => field.Cardinality switch
    {
        FieldCardinality.List => WriteList(field),
        FieldCardinality.Map => WriteMap(field),
        _ => WriteElement(field, field.ProtoNumber),
    };

    private bool WriteList(FieldSchema field)
    {
        if (!_cursor.TryOpen((byte)'[', (byte)']', out var hasMore))
            return false;
        while (hasMore)
        {
            if (!WriteElement(field, field.ProtoNumber) || !_cursor.TryNext((byte)']', out hasMore))
                return false;
        }
        return true;
    }

    private bool WriteMap(FieldSchema field)
    {
        if (!_cursor.TryOpen((byte)'{', (byte)'}', out var hasMore))
            return false;
        ReadOnlySpan<byte> previous = default;
        var isPlain = true;
        for (var isFirst = true; hasMore; isFirst = false)
        {
            var entry = _writer.Begin(field.ProtoNumber);
            var position = _cursor.Position;
            if (!_cursor.TryTakeString(out var key, out var hasEscapes))
                return false;
            _cursor.Position = position;
            isPlain &= !hasEscapes;
            // Sorted is how they are stored, and how they must be sent.
            if (!isFirst && (isPlain ? previous.SequenceCompareTo(key) : CompareEscaped(previous, key)) >= 0)
                return false;
            previous = key;
            if (!WriteString(1) || !_cursor.TryTake((byte)':') || !WriteElement(field, number: 2) || !_cursor.TryNext((byte)'}', out hasMore))
                return false;
            _writer.End(entry);
        }
        return true;
    }

    private static int CompareEscaped(ReadOnlySpan<byte> left, ReadOnlySpan<byte> right)
    {
        var decoded = ArrayPool<byte>.Shared.Rent(left.Length + right.Length);
        var leftLength = JsonScanner.Unescape(left, decoded);
        var rightLength = JsonScanner.Unescape(right, decoded.AsSpan(leftLength));
        var order = decoded.AsSpan(0, leftLength).SequenceCompareTo(decoded.AsSpan(leftLength, rightLength));
        ArrayPool<byte>.Shared.Return(decoded);
        return order;
    }

    private readonly record struct Segment(int Start, int Length);
}
