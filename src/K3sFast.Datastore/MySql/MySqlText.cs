using System.Buffers;
using System.Globalization;
using System.Text;
using K3sFast.Datastore.Sql;

namespace K3sFast.Datastore.MySql;

/// <summary>Statements as text with their parameters written into it: MySQL takes several statements in one packet only so.</summary>
internal static class MySqlText
{
    private static readonly SearchValues<byte> s_special = SearchValues.Create("'\\\0"u8);

    public static void Write(IBufferWriter<byte> to, ReadOnlySpan<SqlStatement> batch)
    {
        for (int i = 0; i < batch.Length; i++)
        {
            if (i > 0) to.Write(";"u8);
            Write(to, batch[i]);
        }
    }

    private static void Write(IBufferWriter<byte> to, in SqlStatement statement)
    {
        var text = statement.Text.AsSpan();
        while (text.IndexOf('$') is >= 0 and var dollar)
        {
            Encoding.UTF8.GetBytes(text[..dollar], to);
            text = text[(dollar + 1)..];
            int digits = text.IndexOfAnyExceptInRange('0', '9');
            if (digits < 0) digits = text.Length;
            Literal(to, statement.Values[int.Parse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture) - 1]);
            text = text[digits..];
        }
        Encoding.UTF8.GetBytes(text, to);
    }

    private static void Literal(IBufferWriter<byte> to, in SqlValue value)
    {
        switch (value.Type)
        {
            case SqlValue.Kind.Number:
                Encoding.UTF8.GetBytes(value.Number.ToString(CultureInfo.InvariantCulture), to);
                break;
            case SqlValue.Kind.Text:
                to.Write("'"u8);
                Escaped(to, Encoding.UTF8.GetBytes(value.Text));
                to.Write("'"u8);
                break;
            case SqlValue.Kind.Bytes:
                to.Write("_binary'"u8);
                Escaped(to, value.Bytes.Span);
                to.Write("'"u8);
                break;
            default:
                to.Write("NULL"u8);
                break;
        }
    }

    // The session's sql_mode is ours (MySqlEngine), so a backslash escapes; in UTF-8 no other character contains these bytes.
    private static void Escaped(IBufferWriter<byte> to, ReadOnlySpan<byte> bytes)
    {
        while (bytes.IndexOfAny(s_special) is >= 0 and var special)
        {
            to.Write(bytes[..special]);
            to.Write(bytes[special] switch { (byte)'\'' => "\\'"u8, (byte)'\\' => "\\\\"u8, _ => "\\0"u8 });
            bytes = bytes[(special + 1)..];
        }
        to.Write(bytes);
    }
}
