using System.Net;
using System.Net.Sockets;
using System.Text;

namespace K3sFast.AddOns.Dns;

/// <summary>Addresses as DNS labels: 10-42-0-7, or 2001-db8--1.</summary>
internal static class DashedAddress
{
    /// <summary>The label of an address.</summary>
    internal static string Label(string address) => address.Replace('.', '-').Replace(':', '-');

    /// <summary>Reads a label; <paramref name="size"/> is 4 or 16. Allocates nothing.</summary>
    internal static bool TryParse(ReadOnlySpan<byte> label, Span<byte> address, out int size)
    {
        // "-" stands for "." in IPv4 (always three of them, digits else) and for ":" in IPv6.
        Span<byte> text = stackalloc byte[63];
        var dashes = 0;
        var isDecimal = true;
        for (var i = 0; i < label.Length; i++)
        {
            if (label[i] == '-') dashes++;
            else if ((uint)(label[i] - '0') > 9) isDecimal = false;
        }
        var separator = isDecimal && dashes == 3 ? (byte)'.' : (byte)':';
        for (var i = 0; i < label.Length; i++) text[i] = label[i] == '-' ? separator : label[i];
        size = 0;
        Span<char> characters = stackalloc char[63];
        var length = Encoding.ASCII.GetChars(text[..label.Length], characters);
        return separator == '.'
            ? TryParse4(text[..label.Length], address, out size)
            : TryParse6(characters[..length], address, out size);
    }

    private static bool TryParse4(ReadOnlySpan<byte> text, Span<byte> address, out int size)
    {
        size = 4;
        for (var i = 0; i < 4; i++)
        {
            if (!System.Buffers.Text.Utf8Parser.TryParse(text, out byte part, out var used)) return false;
            address[i] = part;
            text = text[used..];
            if (i == 3) return text.IsEmpty;
            if (text.IsEmpty || text[0] != '.') return false;
            text = text[1..];
        }
        return false;
    }

    // Rare: IPAddress allocates.
    private static bool TryParse6(ReadOnlySpan<char> text, Span<byte> address, out int size)
    {
        size = 16;
        return IPAddress.TryParse(text, out var parsed) && parsed.AddressFamily == AddressFamily.InterNetworkV6 && parsed.TryWriteBytes(address, out _);
    }
}
