using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace K3sFast.ApiMachinery;

/// <summary>Protobuf wire format of one message; every length is checked against what is there.</summary>
internal ref struct ProtoReader(ReadOnlySpan<byte> message)
{
    private ReadOnlySpan<byte> _rest = message;

    /// <summary>The next field's number and wire type; false at the end.</summary>
    public bool TryTag(out int number, out int wireType)
    {
        number = wireType = 0;
        if (_rest.Length == 0)
            return false;
        var tag = Varint();
        number = (int)Math.Min(tag >> 3, int.MaxValue);
        wireType = (int)(tag & 7);
        if (number == 0)
            Throw("proto: illegal tag 0 (wire type 0)");
        return true;
    }

    public readonly bool IsAtEnd => _rest.Length == 0;

    public ulong Varint()
    {
        ulong value = 0;
        for (var i = 0; i < 10; i++)
        {
            if (i >= _rest.Length)
                Throw("unexpected EOF");
            var part = _rest[i];
            value |= (ulong)(part & 0x7F) << (7 * i);
            if (part < 0x80)
            {
                _rest = _rest[(i + 1)..];
                return value;
            }
        }
        Throw("proto: integer overflow");
        return 0;
    }

    public double Double()
    {
        if (_rest.Length < 8)
            Throw("unexpected EOF");
        var value = BinaryPrimitives.ReadDoubleLittleEndian(_rest);
        _rest = _rest[8..];
        return value;
    }

    public ReadOnlySpan<byte> Bytes()
    {
        var length = Varint();
        if (length > (ulong)_rest.Length)
            Throw("unexpected EOF");
        var bytes = _rest[..(int)length];
        _rest = _rest[(int)length..];
        return bytes;
    }

    public void Skip(int wireType)
    {
        switch (wireType)
        {
            case ProtoWriter.Varint:
                Varint();
                break;
            case ProtoWriter.Bytes:
                Bytes();
                break;
            case ProtoWriter.Fixed64 or 5:
                var size = wireType == 5 ? 4 : 8;
                if (_rest.Length < size)
                    Throw("unexpected EOF");
                _rest = _rest[size..];
                break;
            default:
                Throw($"proto: illegal wireType {wireType}");
                break;
        }
    }

    [DoesNotReturn]
    public static void Throw(string words) => throw ApiStatus.BadRequest(words).ToException();
}
