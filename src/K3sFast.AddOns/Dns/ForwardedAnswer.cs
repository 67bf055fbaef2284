using System.Buffers.Binary;

namespace K3sFast.AddOns.Dns;

/// <summary>
/// Another server's answer, kept for a while: its bytes without the OPT record, and where its TTLs stand, so that they can be counted down.
/// Immutable.
/// </summary>
internal sealed class ForwardedAnswer
{
    // k3s' Corefile: "cache 30". No answer is kept longer, whatever its TTL.
    private const uint LongestSeconds = 30;

    // An answer without records (NXDOMAIN without SOA, SERVFAIL) is kept this long: it spares the resolver a storm, and heals soon.
    private const uint EmptySeconds = 5;

    private readonly byte[] _message;
    private readonly int[] _ttlOffsets;
    private readonly long _storedAt;

    private ForwardedAnswer(byte[] message, int[] ttlOffsets, uint seconds, long storedAt)
    {
        (_message, _ttlOffsets, LifeSeconds, _storedAt) = (message, ttlOffsets, seconds, storedAt);
    }

    /// <summary>How long it may be given out.</summary>
    internal uint LifeSeconds { get; }

    internal bool IsTruncated => (_message[2] & 0x02) != 0;

    internal ReadOnlySpan<byte> Message => _message;

    internal bool IsFresh(TimeProvider time) => Age(time) < LifeSeconds;

    /// <summary>Reads an answer. Null where it is malformed.</summary>
    internal static ForwardedAnswer? Read(ReadOnlySpan<byte> message, TimeProvider time)
    {
        if (message.Length < DnsQuestion.HeaderSize) return null;
        Span<byte> name = stackalloc byte[DnsQuestion.MaxNameSize];
        if (WireName.Expand(message, DnsQuestion.HeaderSize, name, out var at) < 0) return null;
        at += 4;
        int answers = BinaryPrimitives.ReadUInt16BigEndian(message[6..]);
        int authorities = BinaryPrimitives.ReadUInt16BigEndian(message[8..]);
        int additionals = BinaryPrimitives.ReadUInt16BigEndian(message[10..]);
        var offsets = new List<int>();
        var seconds = LongestSeconds;
        var kept = message.Length;
        for (var i = 0; i < answers + authorities + additionals; i++)
        {
            var start = at;
            if (WireName.Expand(message, at, name, out at) < 0 || at + 10 > message.Length) return null;
            var type = (DnsType)BinaryPrimitives.ReadUInt16BigEndian(message[at..]);
            var size = BinaryPrimitives.ReadUInt16BigEndian(message[(at + 8)..]);
            if (at + 10 + size > message.Length) return null;
            if (type == DnsType.Opt)
            {
                // OPT speaks of one hop only. It stands last by custom; what follows it is additional and can be spared.
                kept = start;
                additionals = i - answers - authorities;
                break;
            }
            offsets.Add(at + 4);
            seconds = Math.Min(seconds, BinaryPrimitives.ReadUInt32BigEndian(message[(at + 4)..]));
            at += 10 + size;
        }
        if (offsets.Count == 0) seconds = EmptySeconds;
        var copy = message[..kept].ToArray();
        BinaryPrimitives.WriteUInt16BigEndian(copy.AsSpan(10), (ushort)additionals);
        return new ForwardedAnswer(copy, [.. offsets], seconds, time.GetTimestamp());
    }

    /// <summary>Writes the answer for a client: his ID, his spelling of the name, his size, TTLs counted down. Allocates nothing.</summary>
    internal int Write(in DnsQuestion question, Span<byte> buffer, int sizeLimit, TimeProvider time)
    {
        if (_message.Length + 11 > sizeLimit)
        {
            // Too long for this client over UDP: the bare question with TC, so that it asks again over TCP.
            var cut = new DnsAnswer(question, buffer, 0);
            cut.Add(DnsType.Any, 0, default);
            return cut.Finish((DnsCode)(_message[3] & 0x0F), isAuthoritative: false, question.RecursionDesired);
        }
        _message.CopyTo(buffer);
        question.Packet[..2].CopyTo(buffer);
        question.Name.CopyTo(buffer[DnsQuestion.HeaderSize..]);
        // QR, RD as asked, RA; AA is the other server's word, not ours.
        buffer[2] = (byte)((buffer[2] & 0xFA) | 0x80 | (question.RecursionDesired ? 1 : 0));
        buffer[3] = (byte)((buffer[3] & 0x3F) | 0x80);
        var age = (uint)Age(time);
        foreach (var offset in _ttlOffsets)
        {
            var ttl = BinaryPrimitives.ReadUInt32BigEndian(buffer[offset..]);
            BinaryPrimitives.WriteUInt32BigEndian(buffer[offset..], ttl > age ? ttl - age : 0);
        }
        if (!question.HasOpt) return _message.Length;
        var opt = buffer.Slice(_message.Length, 11);
        opt.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(opt[1..], (ushort)DnsType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(opt[3..], 1232);
        if (question.WantsDnssec) opt[7] = 0x80;
        BinaryPrimitives.WriteUInt16BigEndian(buffer[10..], (ushort)(BinaryPrimitives.ReadUInt16BigEndian(buffer[10..]) + 1));
        return _message.Length + 11;
    }

    /// <summary>Adds the answer's address and alias records to an answer of ours, names spelled out.</summary>
    internal void AddTo(ref DnsAnswer answer)
    {
        ReadOnlySpan<byte> message = _message;
        Span<byte> name = stackalloc byte[DnsQuestion.MaxNameSize];
        Span<byte> target = stackalloc byte[DnsQuestion.MaxNameSize];
        if (WireName.Expand(message, DnsQuestion.HeaderSize, name, out var at) < 0) return;
        at += 4;
        for (int i = 0, count = BinaryPrimitives.ReadUInt16BigEndian(message[6..]); i < count; i++)
        {
            var nameSize = WireName.Expand(message, at, name, out at);
            var type = (DnsType)BinaryPrimitives.ReadUInt16BigEndian(message[at..]);
            var ttl = BinaryPrimitives.ReadUInt32BigEndian(message[(at + 4)..]);
            var size = BinaryPrimitives.ReadUInt16BigEndian(message[(at + 8)..]);
            if (type is DnsType.A or DnsType.Aaaa)
            {
                answer.Add(name[..nameSize], type, ttl, message.Slice(at + 10, size));
            }
            else if (type == DnsType.Cname)
            {
                var targetSize = WireName.Expand(message, at + 10, target, out _);
                if (targetSize > 0) answer.Add(name[..nameSize], type, ttl, target[..targetSize]);
            }
            at += 10 + size;
        }
    }

    private double Age(TimeProvider time) => time.GetElapsedTime(_storedAt).TotalSeconds;
}
