using System.Buffers.Binary;
using System.Buffers.Text;
using System.Text;

namespace K3sFast.Datastore.Sql;

/// <summary>A row inside a connection's receive buffer. PostgreSQL sends numbers in big-endian binary, MySQL as digits.</summary>
internal sealed class SqlRow(bool isBinary)
{
    private readonly List<(int Start, int Length)> _fields = [];
    private byte[] _buffer = [];

    /// <summary>Begins a new row over a buffer.</summary>
    public void Reset(byte[] buffer)
    {
        _buffer = buffer;
        _fields.Clear();
    }

    /// <summary>Adds a field; length -1 = null.</summary>
    public void Add(int start, int length) => _fields.Add((start, length));

    public bool IsNull(int field) => _fields[field].Length < 0;

    /// <summary>The field's bytes, lent; empty for null.</summary>
    public ReadOnlySpan<byte> Bytes(int field) => _fields[field] is (var start, > 0 and var length) ? _buffer.AsSpan(start, length) : default;

    public string Text(int field) => Encoding.UTF8.GetString(Bytes(field));

    /// <summary>A whole number; 0 for null.</summary>
    public long Int64(int field)
    {
        var bytes = Bytes(field);
        if (!isBinary) return Utf8Parser.TryParse(bytes, out long number, out _) ? number : 0;
        return bytes.Length switch
        {
            8 => BinaryPrimitives.ReadInt64BigEndian(bytes),
            4 => BinaryPrimitives.ReadInt32BigEndian(bytes),
            2 => BinaryPrimitives.ReadInt16BigEndian(bytes),
            1 => bytes[0],
            _ => 0,
        };
    }
}
