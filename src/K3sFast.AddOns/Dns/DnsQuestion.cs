using System.Buffers.Binary;

namespace K3sFast.AddOns.Dns;

/// <summary>Record types (IANA DNS parameters) that the server knows by name.</summary>
internal enum DnsType : ushort
{
    A = 1,
    Cname = 5,
    Soa = 6,
    Ptr = 12,
    Txt = 16,
    Aaaa = 28,
    Srv = 33,
    Opt = 41,
    Any = 255,
}

/// <summary>Response codes, RFC 1035 §4.1.1.</summary>
internal enum DnsCode : byte
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// <summary>
/// A query, parsed in place: header, the one question, and what an OPT record says. Allocates nothing; valid as long as the packet's bytes.
/// </summary>
/// <remarks>
/// <code>
/// header (12 bytes): ID | QR Opcode AA TC RD | RA Z AD CD RCODE | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT      RFC 1035 §4.1.1
/// question:          QNAME (labels, ends with 0) | QTYPE | QCLASS                                            RFC 1035 §4.1.2
/// OPT:               0 | 41 | UDP size | extended RCODE, version, DO | length | options                      RFC 6891 §6.1.2
/// </code>
/// </remarks>
internal readonly ref struct DnsQuestion
{
    internal const int HeaderSize = 12;

    // RFC 1035 §2.3.4: a name has at most 255 bytes on the wire.
    internal const int MaxNameSize = 255;

    // RFC 1035 §2.3.4: what a client takes that says nothing about it.
    private const int PlainUdpSize = 512;

    // The largest answer sent over UDP whatever the client says: fits the smallest MTU of IPv6 (DNS flag day 2020).
    private const int LargestUdpSize = 1232;

    private DnsQuestion(ReadOnlySpan<byte> packet, int nameSize, DnsType type, ushort queryClass, bool hasOpt, bool wantsDnssec, int udpSize)
    {
        Packet = packet;
        NameSize = nameSize;
        Type = type;
        Class = queryClass;
        HasOpt = hasOpt;
        WantsDnssec = wantsDnssec;
        UdpSize = udpSize;
    }

    internal ReadOnlySpan<byte> Packet { get; }

    internal ushort Id => BinaryPrimitives.ReadUInt16BigEndian(Packet);

    internal bool RecursionDesired => (Packet[2] & 0x01) != 0;

    /// <summary>The name on the wire, its closing zero included, in the client's letters.</summary>
    internal ReadOnlySpan<byte> Name => Packet.Slice(HeaderSize, NameSize);

    internal int NameSize { get; }

    internal DnsType Type { get; }

    internal ushort Class { get; }

    /// <summary>Header and question: what every answer starts with.</summary>
    internal int QuestionEnd => HeaderSize + NameSize + 4;

    internal bool HasOpt { get; }

    internal bool WantsDnssec { get; }

    /// <summary>Bytes that a UDP answer may have.</summary>
    internal int UdpSize { get; }

    /// <summary>
    /// Reads a query. False = no query at all, to be dropped (too short, or an answer); otherwise <paramref name="error"/> tells whether it may
    /// be answered (<see cref="DnsCode.NoError"/>) or with which code it is refused.
    /// </summary>
    internal static bool TryParse(ReadOnlySpan<byte> packet, out DnsQuestion question, out DnsCode error)
    {
        question = default;
        error = DnsCode.FormatError;
        if (packet.Length < HeaderSize || (packet[2] & 0x80) != 0) return false;
        if ((packet[2] & 0x78) != 0)
        {
            error = DnsCode.NotImplemented;
            return true;
        }
        if (BinaryPrimitives.ReadUInt16BigEndian(packet[4..]) != 1) return true;
        if (!TryReadPlainName(packet, HeaderSize, out var end) || packet.Length < end + 4) return true;

        var type = (DnsType)BinaryPrimitives.ReadUInt16BigEndian(packet[end..]);
        var queryClass = BinaryPrimitives.ReadUInt16BigEndian(packet[(end + 2)..]);
        var hasOpt = TryFindOpt(packet, end + 4, out var udpSize, out var wantsDnssec);
        udpSize = Math.Clamp(udpSize, PlainUdpSize, LargestUdpSize);
        question = new DnsQuestion(packet, end - HeaderSize, type, queryClass, hasOpt, wantsDnssec, udpSize);
        error = DnsCode.NoError;
        return true;
    }

    /// <summary>Copies a wire name with ASCII letters made small. Length bytes are below 64 and never taken for letters.</summary>
    internal static void ToLower(ReadOnlySpan<byte> name, Span<byte> lower)
    {
        for (var i = 0; i < name.Length; i++)
        {
            var b = name[i];
            lower[i] = (uint)(b - 'A') <= 'Z' - 'A' ? (byte)(b | 0x20) : b;
        }
    }

    // A question's name has no compression: it is the first name of the packet.
    private static bool TryReadPlainName(ReadOnlySpan<byte> packet, int start, out int end)
    {
        end = start;
        while (end < packet.Length)
        {
            var length = packet[end];
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

    private static bool TryFindOpt(ReadOnlySpan<byte> packet, int at, out int udpSize, out bool wantsDnssec)
    {
        (udpSize, wantsDnssec) = (0, false);
        var records = BinaryPrimitives.ReadUInt16BigEndian(packet[6..]) + BinaryPrimitives.ReadUInt16BigEndian(packet[8..])
            + BinaryPrimitives.ReadUInt16BigEndian(packet[10..]);
        for (; records > 0 && at < packet.Length; records--)
        {
            // OPT's owner is the root; anything else in a query is of no interest here, and ends the search.
            if (packet[at] != 0 || packet.Length < at + 11) return false;
            var size = BinaryPrimitives.ReadUInt16BigEndian(packet[(at + 9)..]);
            if (BinaryPrimitives.ReadUInt16BigEndian(packet[(at + 1)..]) == (ushort)DnsType.Opt)
            {
                udpSize = BinaryPrimitives.ReadUInt16BigEndian(packet[(at + 3)..]);
                wantsDnssec = (packet[at + 7] & 0x80) != 0;
                return true;
            }
            at += 11 + size;
        }
        return false;
    }
}
