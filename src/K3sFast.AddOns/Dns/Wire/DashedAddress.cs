using System.Buffers.Text;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.AddOns.Dns;

/// <summary>Addresses as DNS labels: 10-42-0-7, or 2001-db8--1.</summary>
internal static class DashedAddress
{
    // The longest: eight groups of four digits with seven dashes.
    internal const int MaxSize = 39;

    /// <summary>Writes the label of an address of 4 or 16 bytes; returns its size. Allocates nothing for IPv4.</summary>
    internal static int Write(ReadOnlySpan<byte> address, Span<byte> label)
    {
        if (address.Length == 4)
        {
            var at = 0;
            for (var i = 0; i < 4; i++)
            {
                if (i > 0) label[at++] = (byte)'-';
                Utf8Formatter.TryFormat(address[i], label[at..], out var size);
                at += size;
            }
            return at;
        }
        // Rare: IPAddress allocates, and knows which run of zeros is left out (RFC 5952).
        new IPAddress(address).TryFormat(label, out var length);
        label[..length].Replace((byte)':', (byte)'-');
        return length;
    }

    /// <summary>Reads a label; <paramref name="size"/> is 4 or 16. Allocates nothing for IPv4.</summary>
    internal static bool TryParse(ReadOnlySpan<byte> label, Span<byte> address, out int size)
    {
        // "-" stands for "." in IPv4 (always three of them, digits else) and for ":" in IPv6.
        size = 4;
        if (TryParse4(label, address)) return true;
        size = 16;
        return TryParse6(label, address);
    }

    private static bool TryParse4(ReadOnlySpan<byte> text, Span<byte> address)
    {
        for (var i = 0; i < 4; i++)
        {
            // A leading zero would let one address have many names.
            if (!Utf8Parser.TryParse(text, out byte part, out var used) || used > 3 || (used > 1 && text[0] is (byte)'0' or (byte)'+')) return false;
            address[i] = part;
            text = text[used..];
            if (i == 3) return text.IsEmpty;
            if (text.IsEmpty || text[0] != '-') return false;
            text = text[1..];
        }
        return false;
    }

    // Rare: IPAddress allocates.
    private static bool TryParse6(ReadOnlySpan<byte> label, Span<byte> address)
    {
        if (label.Length is < 2 or > MaxSize || label.IndexOfAnyExceptInRange((byte)'-', (byte)'f') >= 0) return false;
        Span<byte> text = stackalloc byte[MaxSize];
        label.Replace(text, (byte)'-', (byte)':');
        return IPAddress.TryParse(text[..label.Length], out var parsed) && parsed.AddressFamily == AddressFamily.InterNetworkV6 && parsed.TryWriteBytes(address, out _);
    }
}
