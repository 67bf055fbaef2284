using System.Buffers;
using System.Buffers.Binary;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Protobuf wire format (proto2) into a pooled buffer. A nested message is written first and its length put before it afterwards, which moves the
/// message once by a few bytes.
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

    public void Clear() => _length = 0;

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

    public void Number(ulong value)
    {
        var span = Reserve(10);
        var length = 0;
        while (value >= 0x80)
        {
            span[length++] = (byte)(value | 0x80);
            value >>= 7;
        }
        span[length++] = (byte)value;
        _length += length;
    }

    public void NumberField(int number, long value)
    {
        Tag(number, Varint);
        Number((ulong)value);
    }

    public void DoubleField(int number, double value)
    {
        Tag(number, Fixed64);
        BinaryPrimitives.WriteDoubleLittleEndian(Reserve(8), value);
        _length += 8;
    }

    public void BytesField(int number, scoped ReadOnlySpan<byte> bytes)
    {
        Tag(number, Bytes);
        Number((ulong)bytes.Length);
        Raw(bytes);
    }

    /// <summary>Begins a field whose length is not known yet; answers what <see cref="End"/> needs.</summary>
    public int Begin(int number)
    {
        Tag(number, Bytes);
        return _length;
    }

    public void End(int start)
    {
        var length = _length - start;
        var size = 1;
        for (var rest = length >> 7; rest > 0; rest >>= 7)
            size++;
        Reserve(size);
        _buffer.AsSpan(start, length).CopyTo(_buffer.AsSpan(start + size));
        _length = start;
        Number((ulong)length);
        _length += length;
    }

    private Span<byte> Reserve(int length)
    {
        if (_buffer.Length - _length < length)
        {
            var grown = ArrayPool<byte>.Shared.Rent(Math.Max(_buffer.Length * 2, _length + length));
            _buffer.AsSpan(0, _length).CopyTo(grown);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = grown;
        }
        return _buffer.AsSpan(_length);
    }
}
