namespace K3sFast.AddOns.Dns;

/// <summary>Reads and changes the records of an answer that is already written. Cold: only what few configurations ask for comes here.</summary>
internal static class AnswerRecords
{
    private const ushort QuestionPointer = 0xC000 | DnsMessage.HeaderSize;

    /// <summary>A record as it stands in a message.</summary>
    internal readonly record struct Record(int Section, byte[] Owner, DnsType Type, ushort Class, uint Ttl, byte[] Data);

    /// <summary>True where a record has another owner than the question's name.</summary>
    internal static bool HasForeignOwners(Exchange exchange)
    {
        var message = exchange.Seal();
        var at = exchange.RecordsAt;
        for (var i = 0; i < exchange.Answers; i++)
        {
            if (DnsMessage.U16(message[at..]) != QuestionPointer) return true;
            at += 12 + DnsMessage.U16(message[(at + 10)..]);
        }
        return false;
    }

    /// <summary>Sets TTLs below <paramref name="min"/> to it, and those above <paramref name="max"/> to that.</summary>
    internal static void ClampTtl(Exchange exchange, uint min, uint max)
    {
        var message = exchange.Seal();
        var buffer = exchange.AnswerBuffer;
        for (var at = exchange.RecordsAt; at < message.Length;)
        {
            if (!WireName.TrySkip(message, at, out var end)) return;
            DnsMessage.U32(buffer[(end + 4)..], Math.Clamp(DnsMessage.U32(message[(end + 4)..]), min, max));
            at = end + 10 + DnsMessage.U16(message[(end + 8)..]);
        }
    }

    /// <summary>Where the answer section ends.</summary>
    internal static int EndOfAnswers(Exchange exchange)
    {
        var message = exchange.Seal();
        var at = exchange.RecordsAt;
        for (var i = 0; i < exchange.Answers; i++)
        {
            WireName.TrySkip(message, at, out var end);
            at = end + 10 + DnsMessage.U16(message[(end + 8)..]);
        }
        return at;
    }

    /// <summary>All records, names spelled out.</summary>
    internal static List<Record> Read(Exchange exchange)
    {
        var message = exchange.Seal();
        var records = new List<Record>();
        Span<byte> owner = stackalloc byte[DnsMessage.MaxNameSize];
        Span<byte> data = stackalloc byte[520];
        int answers = DnsMessage.U16(message[6..]), authorities = DnsMessage.U16(message[8..]);
        for (int at = exchange.RecordsAt, i = 0; at < message.Length; i++)
        {
            var size = WireName.Expand(message, at, owner, out at);
            if (size < 0) break;
            DnsMessage.ToLower(owner[..size], owner);
            var type = (DnsType)DnsMessage.U16(message[at..]);
            var length = DnsMessage.U16(message[(at + 8)..]);
            var expanded = RecordData.Expand(message, type, at + 10, length, data);
            records.Add(new Record(
                i < answers ? 0 : i < answers + authorities ? 1 : 2, owner[..size].ToArray(), type, DnsMessage.U16(message[(at + 2)..]),
                DnsMessage.U32(message[(at + 4)..]), (expanded < 0 ? message.Slice(at + 10, length) : data[..expanded]).ToArray()));
            at += 10 + length;
        }
        return records;
    }

    /// <summary>Writes the answer anew, with these records.</summary>
    internal static void Replace(Exchange exchange, IEnumerable<Record> records)
    {
        var (code, isAuthoritative, isRecursive, isTruncated) = (exchange.Code, exchange.IsAuthoritative, exchange.IsRecursionAvailable, exchange.IsTruncated);
        // The name that is looked for is not the question's: what is written as the latter must be equal to it.
        var isQuestionName = exchange.IsQuestionName;
        exchange.IsQuestionName = false;
        exchange.Reset();
        foreach (var record in records)
        {
            if (record.Section == 0) exchange.Add(record.Owner, record.Type, record.Class, record.Ttl, record.Data);
            else if (record.Section == 1) exchange.AddAuthority(record.Owner, record.Type, record.Ttl, record.Data);
            else exchange.AddAdditional(record.Owner, record.Type, record.Ttl, record.Data);
        }
        (exchange.Code, exchange.IsAuthoritative, exchange.IsRecursionAvailable, exchange.IsQuestionName) = (code, isAuthoritative, isRecursive, isQuestionName);
        exchange.IsTruncated |= isTruncated;
    }

    /// <summary>Rewrites the names of the answer section's owners, and those in the data of all sections.</summary>
    internal static void Rewrite(Exchange exchange, Func<string, string> name, Func<string, string> value)
    {
        Replace(exchange, Read(exchange).Select(record => record with
        {
            Owner = record.Section == 0 ? Map(record.Owner, name) : record.Owner,
            Data = MapData(record, value),
        }).ToList());
    }

    private static byte[] Map(byte[] wire, Func<string, string> map)
    {
        var text = NameText.Of(wire);
        var mapped = map(text);
        return mapped == text ? wire : NameText.Parse(mapped) ?? wire;
    }

    private static byte[] MapData(Record record, Func<string, string> map)
    {
        var plain = record.Type switch { DnsType.Cname or DnsType.NS or DnsType.Ptr or DnsType.Dname => 0, DnsType.MX => 2, DnsType.Srv => 6, _ => -1 };
        return plain < 0 ? record.Data : [.. record.Data[..plain], .. Map(record.Data[plain..], map)];
    }
}
