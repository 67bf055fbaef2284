using System.Buffers;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>RFC 3986 §2.1 escapes over bytes.</summary>
internal static class PercentEncoding
{
    /// <summary>Decodes a path in place. False when an escape is cut short or not hexadecimal.</summary>
    internal static bool TryDecodeInPlace(Span<byte> text, out int length) => TryDecode(text, plusIsSpace: false, out length);

    /// <summary>Decodes a query value (plus is a space) to a new string; broken escapes stay as they are.</summary>
    internal static string DecodeQuery(ReadOnlySpan<byte> value)
    {
        if (!value.ContainsAny((byte)'%', (byte)'+'))
            return Encoding.UTF8.GetString(value);
        var rented = ArrayPool<byte>.Shared.Rent(value.Length);
        try
        {
            value.CopyTo(rented);
            return TryDecode(rented.AsSpan(0, value.Length), plusIsSpace: true, out var length)
                ? Encoding.UTF8.GetString(rented, 0, length)
                : Encoding.UTF8.GetString(value);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private static bool TryDecode(Span<byte> text, bool plusIsSpace, out int length)
    {
        length = 0;
        for (var i = 0; i < text.Length; i++)
        {
            var value = text[i];
            if (value == '%')
            {
                if (i + 2 >= text.Length)
                    return false;
                int high = Hex(text[i + 1]), low = Hex(text[i + 2]);
                if (high < 0 || low < 0)
                    return false;
                value = (byte)(high << 4 | low);
                i += 2;
            }
            else if (plusIsSpace && value == '+')
            {
                value = (byte)' ';
            }
            text[length++] = value;
        }
        return true;
    }

    private static int Hex(byte digit) => digit switch
    {
        >= (byte)'0' and <= (byte)'9' => digit - '0',
        >= (byte)'a' and <= (byte)'f' => digit - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => digit - 'A' + 10,
        _ => -1,
    };
}
