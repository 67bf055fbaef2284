using System.Buffers.Binary;

namespace K3sFast.AddOns.Dns;

/// <summary>What a query's fixed places say, read in place. Allocates nothing.</summary>
/// <remarks>
/// <code>
/// header (12 bytes): ID | QR Opcode AA TC RD | RA Z AD CD RCODE | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT      RFC 1035 §4.1.1
/// question:          QNAME (labels, ends with 0) | QTYPE | QCLASS                                            RFC 1035 §4.1.2
/// OPT:               0 | 41 | UDP size | extended RCODE, version, DO | length | options                      RFC 6891 §6.1.2
/// </code>
/// </remarks>
internal static class DnsMessage
{
    internal const int HeaderSize = 12;

    // RFC 1035 §2.3.4: a name has at most 255 bytes on the wire.
    internal const int MaxNameSize = 255;

    // RFC 1035 §2.3.4: what a client takes that says nothing about it.
    internal const int PlainUdpSize = 512;

    // The largest answer sent over UDP whatever the client says: fits the smallest MTU of IPv6 (DNS flag day 2020), and a forged query cannot
    // make us send more than that to somebody else.
    internal const int LargestUdpSize = 1232;

    // Records behind a question that are looked at for an OPT: real queries have one or two.
    private const int MaxExtraRecords = 16;

    internal static ushort U16(ReadOnlySpan<byte> at) => BinaryPrimitives.ReadUInt16BigEndian(at);

    internal static void U16(Span<byte> at, int value) => BinaryPrimitives.WriteUInt16BigEndian(at, (ushort)value);

    internal static uint U32(ReadOnlySpan<byte> at) => BinaryPrimitives.ReadUInt32BigEndian(at);

    internal static void U32(Span<byte> at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(at, value);

    /// <summary>Copies a wire name with ASCII letters made small. Length bytes are below 64 and never taken for letters.</summary>
    internal static void ToLower(ReadOnlySpan<byte> name, Span<byte> lower)
    {
        for (var i = 0; i < name.Length; i++)
        {
            var b = name[i];
            lower[i] = (uint)(b - 'A') <= 'Z' - 'A' ? (byte)(b | 0x20) : b;
        }
    }

    /// <summary>Where a question's name ends. It has no compression: it is the first name of the packet.</summary>
    internal static bool TryReadPlainName(ReadOnlySpan<byte> packet, int start, out int end)
    {
        end = start;
        while (end < packet.Length)
        {
            int length = packet[end];
            if (length == 0)
            {
                end++;
                return end - start <= MaxNameSize;
            }
            if (length > 63) return false;
            end += length + 1;
        }
        return false;
    }

    /// <summary>Finds the OPT record behind the question. False where there is none; <paramref name="isMalformed"/> where what is there is no record.</summary>
    internal static bool TryFindOpt(ReadOnlySpan<byte> packet, int at, out OptRecord opt, out bool isMalformed)
    {
        (opt, isMalformed) = (default, false);
        var records = Math.Min(MaxExtraRecords, U16(packet[6..]) + U16(packet[8..]) + U16(packet[10..]));
        for (; records > 0; records--)
        {
            if (!WireName.TrySkip(packet, at, out var end) || packet.Length < end + 10)
            {
                isMalformed = true;
                return false;
            }
            var size = U16(packet[(end + 8)..]);
            if (packet.Length < end + 10 + size)
            {
                isMalformed = true;
                return false;
            }
            if (end == at + 1 && U16(packet[end..]) == (ushort)DnsType.Opt)
            {
                opt = new OptRecord(U16(packet[(end + 2)..]), packet[end + 5], (packet[end + 6] & 0x80) != 0, end + 10, size);
                return true;
            }
            at = end + 10 + size;
        }
        return false;
    }
}

/// <summary>What an OPT record says, and where its options lie.</summary>
internal readonly record struct OptRecord(int UdpSize, byte Version, bool WantsDnssec, int OptionsAt, int OptionsSize)
{
    /// <summary>True where the client asks for an option, such as NSID (RFC 5001: code 3).</summary>
    internal bool Has(ReadOnlySpan<byte> packet, ushort code)
    {
        var options = packet.Slice(OptionsAt, OptionsSize);
        while (options.Length >= 4)
        {
            if (DnsMessage.U16(options) == code) return true;
            var size = 4 + DnsMessage.U16(options[2..]);
            if (size > options.Length) return false;
            options = options[size..];
        }
        return false;
    }
}
