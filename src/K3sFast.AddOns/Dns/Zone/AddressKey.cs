using System.Net;
using System.Runtime.InteropServices;

namespace K3sFast.AddOns.Dns;

/// <summary>An address of either family as a key of 16 bytes; IPv4 is ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct AddressKey(ulong High, ulong Low)
{
    private const ulong Mapped = 0x0000_FFFF_0000_0000;

    internal static AddressKey Of(ReadOnlySpan<byte> address) => address.Length == 4
        ? new AddressKey(0, Mapped | DnsMessage.U32(address))
        : new AddressKey(System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(address), System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(address[8..]));

    internal static AddressKey Of(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var size);
        return Of(bytes[..size]);
    }

    internal bool IsV4 => High == 0 && (Low & ~0xFFFF_FFFFUL) == Mapped;

    /// <summary>
    /// Reads the address that a reverse name (d.c.b.a.in-addr.arpa, nibbles.ip6.arpa; small-lettered) asks for. False where it is none.
    /// Allocates nothing.
    /// </summary>
    internal static bool TryParseReverse(ReadOnlySpan<byte> name, out AddressKey key)
    {
        key = default;
        if (name.EndsWith("\u0007in-addr\u0004arpa\0"u8))
        {
            var value = 0u;
            var at = 0;
            for (var i = 0; i < 4; i++)
            {
                if (!TryReadNumber(name, ref at, out var part)) return false;
                value |= part << (8 * i);
            }
            key = new AddressKey(0, Mapped | value);
            return name.Length - at == "\u0007in-addr\u0004arpa\0"u8.Length;
        }
        // 32 labels of one nibble each.
        if (name.Length != 64 + 10 || !name[64..].SequenceEqual("\u0003ip6\u0004arpa\0"u8)) return false;
        ulong high = 0, low = 0;
        for (var i = 0; i < 32; i++)
        {
            if (name[2 * i] != 1) return false;
            var digit = name[2 * i + 1];
            var nibble = digit switch { >= (byte)'0' and <= (byte)'9' => digit - '0', >= (byte)'a' and <= (byte)'f' => digit - 'a' + 10, _ => -1 };
            if (nibble < 0) return false;
            if (i < 16) low |= (ulong)nibble << (4 * i);
            else high |= (ulong)nibble << (4 * (i - 16));
        }
        key = new AddressKey(high, low);
        return true;
    }

    private static bool TryReadNumber(ReadOnlySpan<byte> name, ref int at, out uint number)
    {
        number = 0;
        int size = name[at];
        if (size is 0 or > 3) return false;
        for (var i = at + 1; i <= at + size; i++)
        {
            if ((uint)(name[i] - '0') > 9) return false;
            number = number * 10 + (uint)(name[i] - '0');
        }
        at += size + 1;
        return number <= 255;
    }
}
