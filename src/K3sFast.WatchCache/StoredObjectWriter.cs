using System.Buffers.Text;
using System.Text.Json;
using K3sFast.WatchCache.Json;
using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache;

/// <summary>Makes stored objects: scans the JSON once, puts the resourceVersion in, lays out the block.</summary>
internal static unsafe class StoredObjectWriter
{
    // More selectable fields than any built-in type has (pods have about ten); a byte counts them.
    private const int MaxFields = 64;

    // What a long has at most, in decimal.
    private const int MaxRevisionDigits = 20;

    /// <summary>What ends a frame after the object.</summary>
    public static ReadOnlySpan<byte> FrameTail => "}\n"u8;

    private static ReadOnlySpan<byte> VersionStart => "\"resourceVersion\":\""u8;

    /// <summary>The opening bytes of a frame.</summary>
    public static ReadOnlySpan<byte> FrameStart(WatchEventType type) => type switch
    {
        WatchEventType.Added => "{\"type\":\"ADDED\",\"object\":"u8,
        WatchEventType.Modified => "{\"type\":\"MODIFIED\",\"object\":"u8,
        _ => "{\"type\":\"DELETED\",\"object\":"u8,
    };

    /// <summary>An object with one reference, the caller's. Throws <see cref="FormatException"/> for JSON that cannot be walked.</summary>
    public static StoredObject Create(
        ReadOnlySpan<byte> key, ReadOnlySpan<byte> json, long revision, long createRevision, WatchEventType type, FieldPaths paths)
    {
        int fieldCount = Math.Min(paths.Paths.Length, MaxFields);
        Span<TextRange> fields = stackalloc TextRange[MaxFields];
        fields = fields[..fieldCount];
        fields.Clear();
        var scan = ObjectScan.Run(json, paths, fields);

        Span<byte> digits = stackalloc byte[MaxRevisionDigits];
        Utf8Formatter.TryFormat(revision, digits, out int digitCount);
        var version = digits[..digitCount];
        int inserted = scan.SpliceAt < 0 ? 0 : VersionStart.Length + digitCount + 1 + (scan.NeedsCommaBefore ? 1 : 0) + (scan.NeedsCommaAfter ? 1 : 0);

        // Checked before there is anything to lose: what a header cannot hold, no API server stores.
        if (Math.Max(key.Length, Math.Max(scan.Name.Length, scan.Uid.Length)) > ushort.MaxValue || scan.Namespace.Length > byte.MaxValue)
        {
            throw new FormatException("stored JSON has a name, uid or key beyond 65535 bytes, or a namespace beyond 255");
        }
        int splicedBy = inserted - scan.Removed;
        int spliceAt = scan.SpliceAt < 0 ? int.MaxValue : scan.SpliceAt;
        var cut = scan.Owned;
        int sharedAt = cut.Start + (cut.Start >= spliceAt ? splicedBy : 0);
        var shared = cut.Length >= SharedPieces.MinBytes && sharedAt <= ushort.MaxValue ? SharedPieces.Shared.TryTake(json.Slice(cut.Start, cut.Length)) : null;
        if (shared is null) (cut, sharedAt) = (new TextRange(int.MaxValue, 0), 0);

        var start = FrameStart(type);
        int ownLength = json.Length + splicedBy - cut.Length;
        int content = key.Length + start.Length + ownLength + FrameTail.Length + EscapedBytes(json, fields);
        bool isNear = sizeof(StoredHeader) + (fieldCount * sizeof(NearField)) + content <= ushort.MaxValue;
        int keyOffset = sizeof(StoredHeader) + (fieldCount * (isNear ? sizeof(NearField) : sizeof(StoredField)));
        int frameOffset = keyOffset + key.Length;
        int jsonOffset = frameOffset + start.Length;
        int tailOffset = jsonOffset + ownLength + FrameTail.Length;
        int size = keyOffset + content;

        byte* block = SlabAllocator.Shared.Allocate(size);
        var bytes = new Span<byte>(block, size);
        key.CopyTo(bytes[keyOffset..]);
        start.CopyTo(bytes[frameOffset..]);
        WriteJson(bytes.Slice(jsonOffset, ownLength), json, scan, version, cut);
        FrameTail.CopyTo(bytes[(jsonOffset + ownLength)..]);

        var header = (StoredHeader*)block;
        *header = new StoredHeader
        {
            Revision = revision,
            CreateRevision = createRevision,
            Shared = shared,
            BlockSize = size,
            JsonLength = ownLength + cut.Length,
            LabelsOffset = Place(scan.Labels),
            LabelsLength = scan.Labels.Length,
            NameOffset = Place(scan.Name),
            NamespaceOffset = Place(scan.Namespace),
            UidOffset = Place(scan.Uid),
            SharedAt = (ushort)sharedAt,
            KeyOffset = (ushort)keyOffset,
            KeyLength = (ushort)key.Length,
            NameLength = (ushort)scan.Name.Length,
            UidLength = (ushort)scan.Uid.Length,
            NamespaceLength = (byte)scan.Namespace.Length,
            Type = type,
        };
        for (int i = 0; i < fieldCount; i++)
        {
            var place = PlaceField(bytes, ref tailOffset, json, fields[i], Place(fields[i]));
            if (isNear) ((NearField*)(header + 1))[i] = new NearField { Offset = (ushort)place.Offset, Length = (ushort)place.Length };
            else ((StoredField*)(header + 1))[i] = place;
        }
        return new StoredObject(block);

        int Place(TextRange range) => jsonOffset + range.Start + (range.Start >= spliceAt ? splicedBy : 0) - (range.Start >= cut.Start ? cut.Length : 0);
    }

    /// <summary>The last state of a deleted object, with the deletion's revision.</summary>
    public static StoredObject CreateDeleted(StoredObject last, long revision, FieldPaths paths)
    {
        using var json = last.Json.Rent();
        return Create(last.KeyUtf8, json.Span, revision, last.CreateRevision, WatchEventType.Deleted, paths);
    }

    /// <summary>The JSON with the resourceVersion put in and a piece left out.</summary>
    private static void WriteJson(Span<byte> target, ReadOnlySpan<byte> json, in ObjectScan scan, ReadOnlySpan<byte> version, TextRange cut)
    {
        if (scan.SpliceAt < 0)
        {
            CopyAround(target, json, 0, json.Length, cut);
            return;
        }
        int at = CopyAround(target, json, 0, scan.SpliceAt, cut);
        if (scan.NeedsCommaBefore) target[at++] = (byte)',';
        VersionStart.CopyTo(target[at..]);
        at += VersionStart.Length;
        version.CopyTo(target[at..]);
        at += version.Length;
        target[at++] = (byte)'"';
        if (scan.NeedsCommaAfter) target[at++] = (byte)',';
        CopyAround(target[at..], json, scan.SpliceAt + scan.Removed, json.Length, cut);
    }

    /// <summary>Copies a stretch of JSON without what of it is cut; returns the bytes copied. A stretch holds a cut whole or not at all.</summary>
    private static int CopyAround(Span<byte> target, ReadOnlySpan<byte> json, int from, int to, TextRange cut)
    {
        if (cut.Start < from || cut.Start >= to)
        {
            json[from..to].CopyTo(target);
            return to - from;
        }
        json[from..cut.Start].CopyTo(target);
        json[cut.End..to].CopyTo(target[(cut.Start - from)..]);
        return to - from - cut.Length;
    }

    /// <summary>Room for the values that must be decoded: never longer than their escaped text.</summary>
    private static int EscapedBytes(ReadOnlySpan<byte> json, ReadOnlySpan<TextRange> fields)
    {
        int bytes = 0;
        foreach (var field in fields)
        {
            if (json.Slice(field.Start, field.Length).Contains((byte)'\\')) bytes += field.Length;
        }
        return bytes;
    }

    private static StoredField PlaceField(Span<byte> block, ref int tailOffset, ReadOnlySpan<byte> json, TextRange field, int place)
    {
        if (field.Length == 0) return default;
        if (!json.Slice(field.Start, field.Length).Contains((byte)'\\')) return new StoredField { Offset = place, Length = field.Length };
        // Rare: the value has escapes and is decoded behind the frame.
        try
        {
            var reader = new Utf8JsonReader(json.Slice(field.Start - 1, field.Length + 2));
            reader.Read();
            int length = reader.CopyString(block[tailOffset..]);
            var decoded = new StoredField { Offset = tailOffset, Length = length };
            tailOffset += length;
            return decoded;
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // An escape that is no character (half of a surrogate pair) can be selected by nobody: its text stands for it.
            return new StoredField { Offset = place, Length = field.Length };
        }
    }
}
