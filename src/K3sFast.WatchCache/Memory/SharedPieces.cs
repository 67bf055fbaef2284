using System.Runtime.InteropServices;
using K3sFast.Datastore;

namespace K3sFast.WatchCache.Memory;

/// <summary>
/// Texts that many objects have in common, each held once: what a client owns of the objects that it makes is the same list of field names in all of
/// them, and a third to a half of each. Found by content, counted by the objects that hold them, freed with the last.
/// </summary>
/// <remarks>
/// Any thread; a lookup is a hash, a short lock and one comparison. A text is held here only when it comes a second time, so that what is in one object
/// alone stays there. The collector sees none of it.
/// </remarks>
internal sealed unsafe class SharedPieces(SlabAllocator slabs)
{
    /// <summary>From here on a second holder saves more than the piece's own header, its place in the table and the rounding of its block cost.</summary>
    public const int MinBytes = 160;

    // Texts that came once, by the low bits of their hash: 16 KiB. A text that comes often is found although others take its place now and then.
    private const int SeenSlots = 4096;

    private const int MinBuckets = 256;

    private readonly Lock _gate = new();

    // Guarded by _gate
    private readonly uint[] _seen = new uint[SeenSlots];
    private SharedPiece** _buckets = NewBuckets(MinBuckets);
    private int _bucketCount = MinBuckets;
    private int _count;
    private long _references;

    /// <summary>The process's one table, for all stored objects.</summary>
    public static SharedPieces Shared { get; } = new(SlabAllocator.Shared);

    /// <summary>Texts that are held.</summary>
    public int Count
    {
        get
        {
            lock (_gate) return _count;
        }
    }

    /// <summary>Objects that hold one.</summary>
    public long References
    {
        get
        {
            lock (_gate) return _references;
        }
    }

    /// <summary>The piece that holds a text, with one more reference, the caller's; null = the text came for the first time, and is not shared.</summary>
    public SharedPiece* TryTake(ReadOnlySpan<byte> text)
    {
        var hashing = default(HashCode);
        hashing.AddBytes(text);
        uint hash = (uint)hashing.ToHashCode();
        lock (_gate)
        {
            var piece = FindLocked(hash, text);
            if (piece is null)
            {
                ref uint seen = ref _seen[hash & (SeenSlots - 1)];
                if (seen != hash)
                {
                    seen = hash;
                    return null;
                }
                piece = AddLocked(hash, text);
            }
            piece->References++;
            _references++;
            return piece;
        }
    }

    /// <summary>Gives one reference back. The last one frees the text.</summary>
    public void Return(SharedPiece* piece)
    {
        lock (_gate)
        {
            _references--;
            piece->References--;
            Invariant.Verify(piece->References >= 0, $"a shared text was given back more often than taken");
            if (piece->References == 0) RemoveLocked(piece);
        }
    }

    private SharedPiece* FindLocked(uint hash, ReadOnlySpan<byte> text)
    {
        for (var piece = _buckets[hash & (uint)(_bucketCount - 1)]; piece is not null; piece = piece->Next)
        {
            if (piece->Hash == hash && piece->Text.SequenceEqual(text)) return piece;
        }
        return null;
    }

    private SharedPiece* AddLocked(uint hash, ReadOnlySpan<byte> text)
    {
        if (_count == _bucketCount) ResizeLocked(_bucketCount * 2);
        var piece = (SharedPiece*)slabs.Allocate(sizeof(SharedPiece) + text.Length);
        var bucket = &_buckets[hash & (uint)(_bucketCount - 1)];
        *piece = new SharedPiece { Next = *bucket, Hash = hash, Length = text.Length };
        // Safe because: the block was asked for with room for the text behind the header.
        text.CopyTo(new Span<byte>(piece + 1, text.Length));
        *bucket = piece;
        _count++;
        return piece;
    }

    private void RemoveLocked(SharedPiece* piece)
    {
        var link = &_buckets[piece->Hash & (uint)(_bucketCount - 1)];
        while (*link != piece) link = &(*link)->Next;
        *link = piece->Next;
        _count--;
        slabs.Free((byte*)piece, sizeof(SharedPiece) + piece->Length);
        if (_bucketCount > MinBuckets && _count < _bucketCount / 8) ResizeLocked(_bucketCount / 4);
    }

    private void ResizeLocked(int count)
    {
        count = Math.Max(MinBuckets, count);
        var buckets = NewBuckets(count);
        for (int i = 0; i < _bucketCount; i++)
        {
            for (var piece = _buckets[i]; piece is not null;)
            {
                var next = piece->Next;
                var bucket = &buckets[piece->Hash & (uint)(count - 1)];
                piece->Next = *bucket;
                *bucket = piece;
                piece = next;
            }
        }
        NativeMemory.Free(_buckets);
        _buckets = buckets;
        _bucketCount = count;
    }

    private static SharedPiece** NewBuckets(int count) => (SharedPiece**)NativeMemory.AllocZeroed((nuint)count, (nuint)sizeof(SharedPiece*));
}

/// <summary>What comes before a text that objects share.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SharedPiece
{
    public SharedPiece* Next;
    public uint Hash;
    public int Length;
    public int References;

    // Safe because: the text follows the header, in the same block (SharedPieces lays it out), and never changes.
    public readonly ReadOnlySpan<byte> Text
    {
        get
        {
            fixed (SharedPiece* self = &this) return new ReadOnlySpan<byte>(self + 1, Length);
        }
    }
}
