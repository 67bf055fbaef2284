using System.Text;

namespace K3sFast.ApiServer.Tests;

/// <summary>
/// A protobuf message without a schema: fields by number, in order (protobuf encoding: key = number shifted by 3 | wire type; 0 = varint, 2 = length and
/// bytes). Written here once more on purpose: the server's own codec must not be its own witness.
/// </summary>
internal sealed class ProtoMessage
{
    private readonly List<(int Number, object Value)> _fields = [];

    internal ProtoMessage Add(int number, string text) => AddBytes(number, Encoding.UTF8.GetBytes(text));

    internal ProtoMessage Add(int number, ProtoMessage message) => AddBytes(number, message.ToArray());

    internal ProtoMessage Add(int number, long value)
    {
        _fields.Add((number, (ulong)value));
        return this;
    }

    internal ProtoMessage AddBytes(int number, byte[] bytes)
    {
        _fields.Add((number, bytes));
        return this;
    }

    /// <summary>An entry of a string map: key is field 1, value field 2.</summary>
    internal ProtoMessage AddEntry(int number, string key, string value) => Add(number, new ProtoMessage().Add(1, key).Add(2, value));

    internal bool Has(int number) => _fields.Exists(field => field.Number == number);

    internal string Text(int number) => _fields.Find(field => field.Number == number).Value is byte[] bytes ? Encoding.UTF8.GetString(bytes) : "";

    internal long Number(int number) => _fields.Find(field => field.Number == number).Value is ulong value ? (long)value : 0;

    internal byte[] Bytes(int number) => _fields.Find(field => field.Number == number).Value as byte[] ?? [];

    internal ProtoMessage Message(int number) => Parse(Bytes(number));

    internal List<ProtoMessage> Messages(int number) => [.. _fields.Where(field => field.Number == number).Select(static field => Parse((byte[])field.Value))];

    internal Dictionary<string, string> Map(int number) => Messages(number).ToDictionary(static entry => entry.Text(1), static entry => entry.Text(2));

    /// <summary>The same with another value of a field that is there once.</summary>
    internal ProtoMessage With(int number, ProtoMessage value)
    {
        var copy = new ProtoMessage();
        foreach (var field in _fields)
            copy._fields.Add(field.Number == number ? (number, value.ToArray()) : field);
        return copy;
    }

    /// <summary>True if every field of the other one is here with the same value, or with a message that holds more.</summary>
    internal bool Holds(ProtoMessage other) => other._fields.TrueForAll(wanted => _fields.Exists(field => field.Number == wanted.Number && (field.Value, wanted.Value) switch
    {
        (ulong here, ulong there) => here == there,
        (byte[] here, byte[] there) => here.AsSpan().SequenceEqual(there) || TryParse(here) is { } inner && TryParse(there) is { } outer && inner.Holds(outer),
        _ => false,
    }));

    internal byte[] ToArray()
    {
        var output = new MemoryStream();
        foreach (var (number, value) in _fields)
        {
            WriteVarint(output, (ulong)number << 3 | (value is byte[] ? 2u : 0u));
            if (value is byte[] bytes)
            {
                WriteVarint(output, (ulong)bytes.Length);
                output.Write(bytes);
            }
            else
            {
                WriteVarint(output, (ulong)value);
            }
        }
        return output.ToArray();
    }

    internal static ProtoMessage Parse(ReadOnlySpan<byte> bytes)
    {
        var message = new ProtoMessage();
        while (!bytes.IsEmpty)
        {
            var key = ReadVarint(ref bytes);
            var number = (int)(key >> 3);
            switch (key & 7)
            {
                case 0:
                    message._fields.Add((number, ReadVarint(ref bytes)));
                    break;
                case 2:
                    var length = (int)ReadVarint(ref bytes);
                    message._fields.Add((number, bytes[..length].ToArray()));
                    bytes = bytes[length..];
                    break;
                default:
                    throw new InvalidDataException($"field {number} has wire type {key & 7}");
            }
        }
        return message;
    }

    private static ProtoMessage? TryParse(byte[] bytes)
    {
        try
        {
            return Parse(bytes);
        }
        catch (Exception error) when (error is InvalidDataException or ArgumentOutOfRangeException or IndexOutOfRangeException)
        {
            return null;
        }
    }

    private static void WriteVarint(MemoryStream output, ulong value)
    {
        while (value >= 0x80)
        {
            output.WriteByte((byte)(value | 0x80));
            value >>= 7;
        }
        output.WriteByte((byte)value);
    }

    private static ulong ReadVarint(ref ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var next = bytes[0];
            bytes = bytes[1..];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
                return value;
        }
    }
}
