using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Protobuf wire format (proto2) into a pooled buffer. A nested message has one byte for its length, which is put there afterwards; a longer one moves
/// the message by a few bytes.
/// </summary>
internal struct ProtoWriter : IDisposable
{
    public const int Varint = 0;
    public const int Fixed64 = 1;
    public const int Bytes = 2;

    private byte[] _buffer;
    private int _length;

    public ProtoWriter(int capacity)
    {
        _buffer = ArrayPool<byte>.Shared.Rent(capacity);
        _length = 0;
    }

    public readonly ReadOnlySpan<byte> Written => _buffer.AsSpan(0, _length);

    public readonly ReadOnlyMemory<byte> Memory => _buffer.AsMemory(0, _length);

    public readonly int Length => _length;

    public void Clear() => _length = 0;

    /// <summary>Forgets what was written since there were so many bytes.</summary>
    public void Truncate(int length) => _length = length;

    /// <summary>Room for so many bytes at least; <see cref="Advance"/> keeps what was put there.</summary>
    public Span<byte> GetSpan(int length) => Reserve(length);

    public void Advance(int length) => _length += length;

    /// <summary>Writes bytes that are there already once more.</summary>
    public void Again(int start, int length)
    {
        Reserve(length);
        _buffer.AsSpan(start, length).CopyTo(_buffer.AsSpan(_length));
        _length += length;
    }

    /// <summary>Takes bytes out; what follows moves up.</summary>
    public void Remove(int start, int length)
    {
        _buffer.AsSpan(start + length, _length - start - length).CopyTo(_buffer.AsSpan(start));
        _length -= length;
    }

    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    public void Raw(scoped ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        _length += bytes.Length;
    }

    public void Tag(int number, int wireType) => Number((ulong)((number << 3) | wireType));

    public void Number(ulong value) => _length += WriteNumber(Reserve(10), value);

    public void NumberField(int number, long value)
    {
        var span = Reserve(20);
        var length = WriteNumber(span, (ulong)(number << 3));
        _length += length + WriteNumber(span[length..], (ulong)value);
    }

    public void DoubleField(int number, double value)
    {
        Tag(number, Fixed64);
        BinaryPrimitives.WriteDoubleLittleEndian(Reserve(8), value);
        _length += 8;
    }

    public void BytesField(int number, scoped ReadOnlySpan<byte> bytes)
    {
        var span = Reserve(bytes.Length + 20);
        var length = WriteNumber(span, (ulong)((number << 3) | Bytes));
        length += WriteNumber(span[length..], (ulong)bytes.Length);
        bytes.CopyTo(span[length..]);
        _length += length + bytes.Length;
    }

    /// <summary>Begins a field whose length is not known yet; answers what <see cref="End"/> needs.</summary>
    public int Begin(int number)
    {
        Tag(number, Bytes);
        Reserve(1);
        return ++_length;
    }

    public void End(int start)
    {
        var length = _length - start;
        if (length < 0x80)
            _buffer[start - 1] = (byte)length;
        else
            EndLong(start, length);
    }

    private void EndLong(int start, int length)
    {
        var more = 0;
        for (var rest = length >> 7; rest > 0; rest >>= 7)
            more++;
        Reserve(more);
        _buffer.AsSpan(start, length).CopyTo(_buffer.AsSpan(start + more));
        _length = start - 1;
        Number((ulong)length);
        _length += length;
    }

    private static int WriteNumber(Span<byte> span, ulong value)
    {
        var length = 0;
        while (value >= 0x80)
        {
            span[length++] = (byte)(value | 0x80);
            value >>= 7;
        }
        span[length++] = (byte)value;
        return length;
    }

    private Span<byte> Reserve(int length)
    {
        if (_buffer.Length - _length < length)
            Grow(length);
        return _buffer.AsSpan(_length);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Grow(int length)
    {
        var grown = ArrayPool<byte>.Shared.Rent(Math.Max(_buffer.Length * 2, _length + length));
        _buffer.AsSpan(0, _length).CopyTo(grown);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = grown;
    }
}
