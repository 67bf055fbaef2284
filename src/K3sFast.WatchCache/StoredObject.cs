using System.Runtime.InteropServices;
using System.Text;
using K3sFast.Datastore;
using K3sFast.WatchCache.Memory;

namespace K3sFast.WatchCache;

/// <summary>Reads a typed object from its JSON.</summary>
public delegate T StoredObjectDecoder<out T>(ReadOnlySpan<byte> json)
    where T : class;

/// <summary>
/// An immutable object: its encoded JSON with the resourceVersion in place, and the few fields that a server itself needs. The bytes
/// are one block of native memory that lives as long as references to it do; spans must not be used after the reference is given back.
/// </summary>
/// <remarks>
/// Any thread. The block is <c>header | selectable fields | key | frame | decoded field values</c>, the frame being
/// <c>{"type":"…","object":</c> JSON <c>}\n</c>, so that JSON and frame share their bytes. A part of the JSON that other objects have too is not in the
/// block but held with them (<see cref="SharedPieces"/>).
/// </remarks>
public sealed unsafe class StoredObject : IDisposable
{
    private byte* _block;
    private int _references = 1;

    // Made when somebody decodes the object, and freed with the block.
    private WeakGCHandle<object> _decoded;

    internal StoredObject(byte* block) => _block = block;

    /// <summary>The object's JSON, canonical, with metadata.resourceVersion.</summary>
    public StoredBytes Json => Around(JsonOffset, leading: 0, trailing: 0);

    /// <summary>The watch frame of the event that made this revision: <c>{"type":"MODIFIED","object":{…}}\n</c>.</summary>
    public StoredBytes Frame
    {
        get
        {
            int start = StoredObjectWriter.FrameStart(Header->Type).Length;
            return Around(JsonOffset - start, start, StoredObjectWriter.FrameTail.Length);
        }
    }

    /// <summary>The JSON and what closes a frame after it: a frame of another type is <see cref="FrameStart"/> and then this.</summary>
    public StoredBytes FrameEnd => Around(JsonOffset, leading: 0, StoredObjectWriter.FrameTail.Length);

    /// <summary>What the event that made this revision did.</summary>
    public WatchEventType EventType => Header->Type;

    /// <summary>The revision: metadata.resourceVersion as a number.</summary>
    public long Revision => Header->Revision;

    /// <summary>The revision of the object's creation; 0 = not known.</summary>
    public long CreateRevision => Header->CreateRevision;

    /// <summary>The datastore key. Makes a string.</summary>
    public string Key => Encoding.UTF8.GetString(KeyUtf8);

    /// <summary>The datastore key.</summary>
    public ReadOnlySpan<byte> KeyUtf8 => Slice(Header->KeyOffset, Header->KeyLength);

    /// <summary>metadata.namespace; empty for cluster-scoped objects.</summary>
    public ReadOnlySpan<byte> NamespaceUtf8 => Slice(Header->NamespaceOffset, Header->NamespaceLength);

    /// <summary>metadata.name.</summary>
    public ReadOnlySpan<byte> NameUtf8 => Slice(Header->NameOffset, Header->NameLength);

    /// <summary>metadata.uid.</summary>
    public ReadOnlySpan<byte> UidUtf8 => Slice(Header->UidOffset, Header->UidLength);

    /// <summary>metadata.labels as a JSON object; empty when there are none.</summary>
    public ReadOnlySpan<byte> LabelsJson => Slice(Header->LabelsOffset, Header->LabelsLength);

    /// <summary>Bytes of the object as an item of a protobuf list, for who has measured it; 0 = nobody has.</summary>
    public int ProtobufItemLength { get; set; }

    /// <summary>Bytes of native memory that the object takes alone.</summary>
    public int SizeBytes => SlabAllocator.RoundUp(Header->BlockSize);

    /// <summary>The opening bytes of a frame: <c>{"type":"ADDED","object":</c>.</summary>
    public static ReadOnlySpan<byte> FrameStart(WatchEventType type) => StoredObjectWriter.FrameStart(type);

    /// <summary>
    /// The value of the resource's selectable field number <paramref name="index"/> (order as registered), JSON escapes decoded;
    /// empty when absent. Numbers and booleans are their text. Allocates nothing.
    /// </summary>
    public ReadOnlySpan<byte> Field(int index)
    {
        var header = Header;
        // Safe because: the fields lie between header and key (StoredObjectWriter lays them out), of the kind that the block's size tells.
        int bytes = header->KeyOffset - sizeof(StoredHeader);
        if (header->BlockSize <= ushort.MaxValue)
        {
            if ((uint)index >= (uint)bytes / (uint)sizeof(NearField)) return default;
            var near = ((NearField*)(header + 1))[index];
            return Slice(near.Offset, near.Length);
        }
        if ((uint)index >= (uint)bytes / (uint)sizeof(StoredField)) return default;
        var field = ((StoredField*)(header + 1))[index];
        return Slice(field.Offset, field.Length);
    }

    /// <summary>
    /// The typed object, decoded at most once while anybody holds it, for all users together. It is shared: never change it. One type per object is shared at a time.
    /// </summary>
    public T Decode<T>(StoredObjectDecoder<T> decoder)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(decoder);
        if (Shared() is T shared) return shared;
        lock (this)
        {
            object? held = Shared();
            if (held is T other) return other;
            using var json = Json.Rent();
            var decoded = decoder(json.Span);
            // Who reads a little of everything must not push out what the others share.
            if (held is null) Share(decoded);
            return decoded;
        }
    }

    /// <summary>Takes one more reference: before handing the object to another thread, or to keep it.</summary>
    public void Retain()
    {
        int references = Interlocked.Increment(ref _references);
        Invariant.Verify(references > 1, $"an object was retained after its last reference was given back");
    }

    /// <summary>Gives one reference back. The last one frees the bytes.</summary>
    public void Release()
    {
        int references = Interlocked.Decrement(ref _references);
        Invariant.Verify(references >= 0, $"an object was released more often than retained");
        if (references != 0) return;
        byte* block = _block;
        int size = ((StoredHeader*)block)->BlockSize;
        var shared = ((StoredHeader*)block)->Shared;
        _block = null;
        if (_decoded.IsAllocated) _decoded.Dispose();
        SlabAllocator.Shared.Free(block, size);
        if (shared is not null) SharedPieces.Shared.Return(shared);
    }

    /// <summary>Same as <see cref="Release"/>.</summary>
    public void Dispose() => Release();

    private object? Shared() => _decoded.IsAllocated && _decoded.TryGetTarget(out var shared) ? shared : null;

    private void Share(object decoded)
    {
        if (_decoded.IsAllocated) _decoded.SetTarget(decoded);
        else _decoded = new WeakGCHandle<object>(decoded);
    }

    private StoredHeader* Header
    {
        get
        {
            byte* block = _block;
            if (block is null) ThrowFreed();
            return (StoredHeader*)block;
        }
    }

    private int JsonOffset
    {
        get
        {
            var header = Header;
            return header->KeyOffset + header->KeyLength + StoredObjectWriter.FrameStart(header->Type).Length;
        }
    }

    /// <summary>The JSON with some bytes before and behind it, from an offset on.</summary>
    private StoredBytes Around(int offset, int leading, int trailing)
    {
        var header = Header;
        int length = header->JsonLength + leading + trailing;
        var shared = header->Shared;
        if (shared is null) return new StoredBytes(Slice(offset, length));
        int head = leading + header->SharedAt;
        return new StoredBytes(Slice(offset, head), shared->Text, Slice(offset + head, length - head - shared->Length));
    }

    // Safe because: offsets and lengths were laid out inside the block by StoredObjectWriter and never change.
    private ReadOnlySpan<byte> Slice(int offset, int length) => new(_block + offset, length);

    private static void ThrowFreed() => throw new ObjectDisposedException(nameof(StoredObject), "the last reference was given back");
}

/// <summary>
/// What a block begins with: 64 bytes. The selectable fields fill what is between it and the key; the frame follows the key. Of the JSON, whose whole length
/// this tells, the shared piece is missing in the block.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct StoredHeader
{
    public long Revision;
    public long CreateRevision;
    public SharedPiece* Shared;
    public int BlockSize;
    public int JsonLength;
    public int LabelsOffset;
    public int LabelsLength;
    public int NameOffset;
    public int NamespaceOffset;
    public int UidOffset;
    public ushort SharedAt;
    public ushort KeyOffset;
    public ushort KeyLength;
    public ushort NameLength;
    public ushort UidLength;
    public byte NamespaceLength;
    public WatchEventType Type;
}

/// <summary>Where a selectable field's value is in a block of at most 65535 bytes, which nearly all are.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NearField
{
    public ushort Offset;
    public ushort Length;
}

/// <summary>Where a selectable field's value is in a bigger block.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct StoredField
{
    public int Offset;
    public int Length;
}
