using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.PostgreSql;

/// <summary>
/// Messages of PostgreSQL's protocol 3.0 (PostgreSQL documentation, "Message Formats"): type byte, then length (itself included) and body.
/// </summary>
internal static class PgMessages
{
    // Object identifiers of types (pg_type.dat).
    private const int ByteaType = 17;
    private const int Int8Type = 20;
    private const int TextType = 25;

    public static void Startup(IBufferWriter<byte> to, IEnumerable<KeyValuePair<string, string>> settings)
    {
        var body = new ArrayBufferWriter<byte>();
        Int32(body, 3 << 16);
        foreach (var (name, value) in settings)
        {
            Text(body, name);
            Text(body, value);
        }
        body.Write("\0"u8);
        Int32(to, body.WrittenCount + 4);
        to.Write(body.WrittenSpan);
    }

    /// <summary>Asks for TLS; the answer is one byte, S or N.</summary>
    public static void SslRequest(IBufferWriter<byte> to)
    {
        Int32(to, 8);
        Int32(to, 80877103);
    }

    public static void Password(IBufferWriter<byte> to, ReadOnlySpan<byte> body)
    {
        to.Write("p"u8);
        Int32(to, body.Length + 4);
        to.Write(body);
    }

    /// <summary>Parse, Bind and Execute of a statement without names, all parameters and results in binary.</summary>
    public static void Run(IBufferWriter<byte> to, in SqlStatement statement)
    {
        var values = statement.Values;
        int textBytes = Encoding.UTF8.GetByteCount(statement.Text);
        to.Write("P"u8);
        Int32(to, 4 + 1 + textBytes + 1 + 2 + (values.Length * 4));
        to.Write("\0"u8);
        Text(to, statement.Text);
        Int16(to, values.Length);
        foreach (ref readonly var value in values.AsSpan()) Int32(to, value.Type switch { SqlValue.Kind.Number => Int8Type, SqlValue.Kind.Text => TextType, _ => ByteaType });

        int size = 4 + 2 + 4 + 2 + 4;
        foreach (ref readonly var value in values.AsSpan()) size += 4 + Math.Max(0, LengthOf(value));
        to.Write("B"u8);
        Int32(to, size);
        to.Write("\0\0"u8);
        Int16(to, 1);
        Int16(to, 1);
        Int16(to, values.Length);
        foreach (ref readonly var value in values.AsSpan()) Value(to, value);
        Int16(to, 1);
        Int16(to, 1);

        to.Write("E"u8);
        Int32(to, 9);
        to.Write("\0"u8);
        Int32(to, 0);
    }

    public static void Sync(IBufferWriter<byte> to)
    {
        to.Write("S"u8);
        Int32(to, 4);
    }

    public static void Terminate(IBufferWriter<byte> to)
    {
        to.Write("X"u8);
        Int32(to, 4);
    }

    private static int LengthOf(in SqlValue value) => value.Type switch
    {
        SqlValue.Kind.Number => 8,
        SqlValue.Kind.Text => Encoding.UTF8.GetByteCount(value.Text),
        SqlValue.Kind.Bytes => value.Bytes.Length,
        _ => -1,
    };

    private static void Value(IBufferWriter<byte> to, in SqlValue value)
    {
        Int32(to, LengthOf(value));
        switch (value.Type)
        {
            case SqlValue.Kind.Number:
                BinaryPrimitives.WriteInt64BigEndian(to.GetSpan(8), value.Number);
                to.Advance(8);
                break;
            case SqlValue.Kind.Text:
                Encoding.UTF8.GetBytes(value.Text, to);
                break;
            case SqlValue.Kind.Bytes:
                to.Write(value.Bytes.Span);
                break;
            default:
                break;
        }
    }

    private static void Text(IBufferWriter<byte> to, string text)
    {
        Encoding.UTF8.GetBytes(text, to);
        to.Write("\0"u8);
    }

    private static void Int16(IBufferWriter<byte> to, int number)
    {
        BinaryPrimitives.WriteInt16BigEndian(to.GetSpan(2), (short)number);
        to.Advance(2);
    }

    private static void Int32(IBufferWriter<byte> to, int number)
    {
        BinaryPrimitives.WriteInt32BigEndian(to.GetSpan(4), number);
        to.Advance(4);
    }
}
