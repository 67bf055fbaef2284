namespace K3sFast.AddOns.Dns;

/// <summary>
/// Another server's answer: its bytes without the OPT record, and where its TTLs stand, so that they can be counted down. Immutable but for
/// what the cache counts.
/// </summary>
internal sealed class ForeignAnswer
{
    // Records of one answer that are read; a message of 64 KiB has room for 5,461 of the smallest.
    private const int MaxRecords = 6000;

    private readonly byte[] _message;
    private readonly int[] _ttlOffsets;

    private ForeignAnswer(byte[] message, int[] ttlOffsets, int recordsAt, uint smallestTtl, uint? negativeTtl)
    {
        (_message, _ttlOffsets, RecordsAt, SmallestTtl, NegativeTtl) = (message, ttlOffsets, recordsAt, smallestTtl, negativeTtl);
    }

    /// <summary>Where the records begin: behind the question.</summary>
    internal int RecordsAt { get; }

    /// <summary>The smallest TTL of all records; 0 without records.</summary>
    internal uint SmallestTtl { get; }

    /// <summary>What a SOA in the authority section says about how long the name's absence holds (RFC 2308 §5).</summary>
    internal uint? NegativeTtl { get; }

    internal DnsCode Code => (DnsCode)(_message[3] & 0x0F);

    internal bool IsTruncated => (_message[2] & 0x02) != 0;

    internal bool IsAuthentic => (_message[3] & 0x20) != 0;

    internal bool HasAnswers => _message[6] != 0 || _message[7] != 0;

    /// <summary>No such name, or no such record of it.</summary>
    internal bool IsDenial => Code == DnsCode.NameError || (Code == DnsCode.NoError && !HasAnswers);

    internal ReadOnlySpan<byte> Message => _message;

    /// <summary>The question: name, type and class as they were sent.</summary>
    internal ReadOnlySpan<byte> Question => _message.AsSpan(DnsMessage.HeaderSize, RecordsAt - DnsMessage.HeaderSize);

    /// <summary>Reads an answer. Null where it is malformed.</summary>
    internal static ForeignAnswer? Read(ReadOnlySpan<byte> message)
    {
        if (message.Length < DnsMessage.HeaderSize || DnsMessage.U16(message[4..]) != 1) return null;
        if (!DnsMessage.TryReadPlainName(message, DnsMessage.HeaderSize, out var at) || at + 4 > message.Length) return null;
        at += 4;
        var recordsAt = at;
        int answers = DnsMessage.U16(message[6..]), authorities = DnsMessage.U16(message[8..]), additionals = DnsMessage.U16(message[10..]);
        var total = answers + authorities + additionals;
        if (total > MaxRecords) return null;
        var offsets = new List<int>(Math.Min(total, 32));
        var smallest = uint.MaxValue;
        uint? negative = null;
        Span<byte> name = stackalloc byte[DnsMessage.MaxNameSize];
        var kept = message.Length;
        for (var i = 0; i < total; i++)
        {
            var start = at;
            if (WireName.Expand(message, at, name, out at) < 0 || at + 10 > message.Length) return null;
            var type = (DnsType)DnsMessage.U16(message[at..]);
            var size = DnsMessage.U16(message[(at + 8)..]);
            var end = at + 10 + size;
            if (end > message.Length) return null;
            if (type == DnsType.Opt)
            {
                // OPT speaks of one hop only. It stands last by custom; what follows it is additional and can be spared.
                if (i < answers + authorities) return null;
                kept = start;
                additionals = i - answers - authorities;
                break;
            }
            // RFC 2181 §8: a TTL with the top bit set is 0.
            var ttl = DnsMessage.U32(message[(at + 4)..]);
            if (ttl > int.MaxValue) ttl = 0;
            if (!IsSound(message, type, at + 10, end, name)) return null;
            if (type == DnsType.Soa && i >= answers && i < answers + authorities && size >= 22) negative = Math.Min(ttl, DnsMessage.U32(message[(end - 4)..]));
            offsets.Add(at + 4);
            smallest = Math.Min(smallest, ttl);
            at = end;
            if (i == total - 1) kept = at;
        }
        if (total == 0) kept = recordsAt;
        var copy = message[..kept].ToArray();
        DnsMessage.U16(copy.AsSpan(10), additionals);
        return new ForeignAnswer(copy, [.. offsets], recordsAt, offsets.Count == 0 ? 0 : smallest, negative);
    }

    /// <summary>
    /// Writes the records as the answer to the exchange's question, TTLs <paramref name="ageSeconds"/> older, or all at
    /// <paramref name="fixedTtl"/>. Allocates nothing.
    /// </summary>
    internal void WriteTo(Exchange exchange, uint ageSeconds, uint? fixedTtl)
    {
        // Our own question, unchanged, and nothing written yet: the records stand as they are, compressed names and all.
        if (exchange.Depth == 0 && exchange.Answers == 0 && exchange.IsQuestionName && exchange.Name.SequenceEqual(exchange.Question))
        {
            exchange.Reset();
            if (!exchange.TryCopyRecords(_message, RecordsAt))
            {
                exchange.Code = Code;
                exchange.Truncate();
                return;
            }
            var buffer = exchange.AnswerBuffer;
            foreach (var offset in _ttlOffsets) DnsMessage.U32(buffer[offset..], Aged(DnsMessage.U32(_message.AsSpan(offset)), ageSeconds, fixedTtl));
        }
        else AddTo(exchange, ageSeconds, fixedTtl);
        exchange.Code = Code;
        exchange.IsTruncated |= IsTruncated;
        exchange.IsAuthoritative = false;
        exchange.IsAuthentic = IsAuthentic;
        exchange.Notes.IsForeign = true;
    }

    private static uint Aged(uint ttl, uint ageSeconds, uint? fixedTtl) => fixedTtl ?? (ttl > ageSeconds ? ttl - ageSeconds : 0);

    // The names spelled out: they are records of another question than the client's.
    private void AddTo(Exchange exchange, uint ageSeconds, uint? fixedTtl)
    {
        ReadOnlySpan<byte> message = _message;
        Span<byte> owner = stackalloc byte[DnsMessage.MaxNameSize];
        Span<byte> data = stackalloc byte[512];
        var at = RecordsAt;
        int answers = DnsMessage.U16(message[6..]), authorities = DnsMessage.U16(message[8..]);
        for (var i = 0; i < answers + authorities; i++)
        {
            var ownerSize = WireName.Expand(message, at, owner, out at);
            DnsMessage.ToLower(owner[..ownerSize], owner);
            var type = (DnsType)DnsMessage.U16(message[at..]);
            var @class = DnsMessage.U16(message[(at + 2)..]);
            var ttl = Aged(DnsMessage.U32(message[(at + 4)..]), ageSeconds, fixedTtl);
            var size = DnsMessage.U16(message[(at + 8)..]);
            var expanded = RecordData.Expand(message, type, at + 10, size, data);
            var bytes = expanded < 0 ? message.Slice(at + 10, size) : data[..expanded];
            if (i < answers) exchange.Add(owner[..ownerSize], type, @class, ttl, bytes);
            else exchange.AddAuthority(owner[..ownerSize], type, ttl, bytes);
            at += 10 + size;
        }
    }

    private static bool IsSound(ReadOnlySpan<byte> message, DnsType type, int at, int end, Span<byte> name)
    {
        var size = end - at;
        switch (type)
        {
            case DnsType.A: return size == 4;
            case DnsType.Aaaa: return size == 16;
            case DnsType.Cname or DnsType.NS or DnsType.Ptr or DnsType.Dname: return WireName.Expand(message, at, name, out var after) > 0 && after == end;
            case DnsType.MX: return size > 2 && WireName.Expand(message, at + 2, name, out after) > 0 && after == end;
            case DnsType.Srv: return size > 6 && WireName.Expand(message, at + 6, name, out after) > 0 && after == end;
            case DnsType.Soa:
                return WireName.Expand(message, at, name, out after) > 0 && WireName.Expand(message, after, name, out after) > 0 && after + 20 == end;
            default: return true;
        }
    }
}

/// <summary>Record data that holds names which another server may have compressed.</summary>
internal static class RecordData
{
    /// <summary>Writes the data with its names spelled out; -1 where the type has none that may be compressed (RFC 3597 §4). Allocates nothing.</summary>
    internal static int Expand(ReadOnlySpan<byte> message, DnsType type, int at, int size, Span<byte> data)
    {
        var plain = type switch { DnsType.Cname or DnsType.NS or DnsType.Ptr or DnsType.Dname or DnsType.Soa => 0, DnsType.MX => 2, DnsType.Srv => 6, _ => -1 };
        if (plain < 0 || size < plain) return -1;
        message.Slice(at, plain).CopyTo(data);
        var written = plain;
        var end = at + plain;
        for (var names = type == DnsType.Soa ? 2 : 1; names > 0; names--)
        {
            var name = WireName.Expand(message, end, data[written..Math.Min(data.Length, written + DnsMessage.MaxNameSize)], out end);
            if (name < 0) return -1;
            DnsMessage.ToLower(data.Slice(written, name), data[written..]);
            written += name;
        }
        var rest = at + size - end;
        if (rest < 0 || written + rest > data.Length) return -1;
        message.Slice(end, rest).CopyTo(data[written..]);
        return written + rest;
    }
}
