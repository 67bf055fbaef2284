using System.Buffers;

namespace K3sFast.ApiServer;

/// <summary>Compact JSON with two blanks of indentation, as upstream's indented serializer writes it: no line end behind it, strings untouched.</summary>
internal static class JsonIndent
{
    internal static void Write(ReadOnlySpan<byte> json, IBufferWriter<byte> output)
    {
        var depth = 0;
        Write(json, output, ref depth);
    }

    /// <summary>The same for a text that comes in parts, none of which ends within a value or with an opening bracket; depth is 0 for the first.</summary>
    internal static void Write(ReadOnlySpan<byte> json, IBufferWriter<byte> output, ref int depth)
    {
        for (var i = 0; i < json.Length; i++)
        {
            var symbol = json[i];
            switch (symbol)
            {
                case (byte)'"':
                    var end = EndOfString(json, i);
                    output.Write(json[i..end]);
                    i = end - 1;
                    break;
                case (byte)'{' or (byte)'[':
                    output.Write(new ReadOnlySpan<byte>(in json[i]));
                    // Empty ones stay together.
                    if (i + 1 < json.Length && json[i + 1] == symbol + 2)
                        output.Write(json.Slice(++i, 1));
                    else
                        NewLine(output, ++depth);
                    break;
                case (byte)'}' or (byte)']':
                    NewLine(output, --depth);
                    output.Write(new ReadOnlySpan<byte>(in json[i]));
                    break;
                case (byte)',':
                    output.Write(","u8);
                    NewLine(output, depth);
                    break;
                case (byte)':':
                    output.Write(": "u8);
                    break;
                case (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t':
                    break;
                default:
                    output.Write(new ReadOnlySpan<byte>(in json[i]));
                    break;
            }
        }
    }

    private static int EndOfString(ReadOnlySpan<byte> json, int start)
    {
        for (var i = start + 1; i < json.Length; i++)
        {
            if (json[i] == '\\')
                i++;
            else if (json[i] == '"')
                return i + 1;
        }
        return json.Length;
    }

    private static void NewLine(IBufferWriter<byte> output, int depth)
    {
        var length = 1 + (Math.Max(0, depth) * 2);
        var span = output.GetSpan(length)[..length];
        span.Fill((byte)' ');
        span[0] = (byte)'\n';
        output.Advance(length);
    }
}
