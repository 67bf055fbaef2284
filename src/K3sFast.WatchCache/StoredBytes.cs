using System.Buffers;

namespace K3sFast.WatchCache;

/// <summary>
/// Bytes of a stored object as they lie in memory: in one piece, or around a piece in the middle that other objects hold too. Who only passes them on
/// writes the parts; who must read them as one text rents a copy.
/// </summary>
/// <remarks>Valid as long as the object is held. Any thread; nothing but <see cref="ToArray"/> allocates.</remarks>
public readonly ref struct StoredBytes
{
    /// <summary>Bytes in one piece.</summary>
    public StoredBytes(ReadOnlySpan<byte> whole) => Head = whole;

    internal StoredBytes(ReadOnlySpan<byte> head, ReadOnlySpan<byte> shared, ReadOnlySpan<byte> tail)
    {
        Head = head;
        Shared = shared;
        Tail = tail;
    }

    /// <summary>What comes first; everything, where nothing is shared.</summary>
    public ReadOnlySpan<byte> Head { get; }

    /// <summary>What other objects hold too.</summary>
    public ReadOnlySpan<byte> Shared { get; }

    /// <summary>What comes behind that.</summary>
    public ReadOnlySpan<byte> Tail { get; }

    /// <summary>Bytes in all.</summary>
    public int Length => Head.Length + Shared.Length + Tail.Length;

    /// <summary>Bytes in one piece, as they are.</summary>
    public static implicit operator StoredBytes(ReadOnlySpan<byte> whole) => new(whole);

    /// <summary>Same as the conversion.</summary>
    public static StoredBytes FromReadOnlySpan(ReadOnlySpan<byte> whole) => new(whole);

    /// <summary>Without the first <paramref name="count"/> bytes, which must lie in the head.</summary>
    public StoredBytes Skip(int count) => new(Head[count..], Shared, Tail);

    /// <summary>Writes everything.</summary>
    public void WriteTo(IBufferWriter<byte> output)
    {
        ArgumentNullException.ThrowIfNull(output);
        var room = output.GetSpan();
        int length = Length;
        if (length <= room.Length)
        {
            CopyTo(room);
            output.Advance(length);
            return;
        }
        output.Write(Head);
        output.Write(Shared);
        output.Write(Tail);
    }

    /// <summary>Copies everything; <paramref name="target"/> has <see cref="Length"/> bytes at least.</summary>
    public void CopyTo(Span<byte> target)
    {
        Head.CopyTo(target);
        Shared.CopyTo(target[Head.Length..]);
        Tail.CopyTo(target[(Head.Length + Shared.Length)..]);
    }

    /// <summary>A copy of one's own.</summary>
    public byte[] ToArray()
    {
        byte[] copy = new byte[Length];
        CopyTo(copy);
        return copy;
    }

    /// <summary>Everything in one piece, for who parses it: the very bytes where they are whole, else a rented copy. The caller disposes it.</summary>
    public WholeBytes Rent()
    {
        if (Shared.IsEmpty) return new WholeBytes(Head, null);
        byte[] rented = ArrayPool<byte>.Shared.Rent(Length);
        CopyTo(rented);
        return new WholeBytes(rented.AsSpan(0, Length), rented);
    }

    /// <summary>
    /// False = a text is nowhere in an object, except perhaps among the names of the fields that somebody owns. What tells cheaply that decoding is not worth it.
    /// </summary>
    public bool MayContain(ReadOnlySpan<byte> text) => Head.IndexOf(text) >= 0 || Tail.IndexOf(text) >= 0;
}

/// <summary>Bytes of a stored object in one piece, lent until this is disposed.</summary>
public readonly ref struct WholeBytes
{
    private readonly byte[]? _rented;

    internal WholeBytes(ReadOnlySpan<byte> span, byte[]? rented)
    {
        Span = span;
        _rented = rented;
    }

    /// <summary>The bytes.</summary>
    public ReadOnlySpan<byte> Span { get; }

    /// <summary>Gives a copy back. Once.</summary>
    public void Dispose()
    {
        if (_rented is not null) ArrayPool<byte>.Shared.Return(_rented);
    }
}
