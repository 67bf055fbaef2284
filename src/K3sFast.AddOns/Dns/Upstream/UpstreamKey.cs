namespace K3sFast.AddOns.Dns;

/// <summary>Questions as keys: small-lettered wire name, type, class, DO and CD.</summary>
internal static class UpstreamKey
{
    internal const int MaxSize = DnsMessage.MaxNameSize + 5;

    /// <summary>The key of the exchange's question as it stands, into <paramref name="key"/>; returns its size.</summary>
    internal static int Write(Exchange exchange, Span<byte> key)
    {
        var name = exchange.Name;
        name.CopyTo(key);
        DnsMessage.U16(key[name.Length..], (ushort)exchange.Type);
        DnsMessage.U16(key[(name.Length + 2)..], exchange.Class);
        key[name.Length + 4] = (byte)((exchange.WantsDnssec ? 1 : 0) | (exchange.ChecksDisabled ? 2 : 0));
        return name.Length + 5;
    }

    internal static bool WantsDnssec(ReadOnlySpan<byte> key) => (key[^1] & 1) != 0;

    internal static bool ChecksDisabled(ReadOnlySpan<byte> key) => (key[^1] & 2) != 0;

    /// <summary>The question that a key stands for: name, type, class.</summary>
    internal static ReadOnlySpan<byte> Question(ReadOnlySpan<byte> key) => key[..^1];

    /// <summary>A query for the key's question, with a random ID (RFC 5452 §9.2) and an OPT.</summary>
    internal static byte[] Query(ReadOnlySpan<byte> key, bool isRecursive)
    {
        var question = Question(key);
        var query = new byte[DnsMessage.HeaderSize + question.Length + 11];
        System.Security.Cryptography.RandomNumberGenerator.Fill(query.AsSpan(0, 2));
        query[2] = (byte)(isRecursive ? 0x01 : 0);
        query[3] = (byte)(ChecksDisabled(key) ? 0x10 : 0);
        query[5] = 1;
        query[11] = 1;
        question.CopyTo(query.AsSpan(DnsMessage.HeaderSize));
        var opt = query.AsSpan(DnsMessage.HeaderSize + question.Length);
        DnsMessage.U16(opt[1..], (ushort)DnsType.Opt);
        DnsMessage.U16(opt[3..], DnsMessage.LargestUdpSize);
        if (WantsDnssec(key)) opt[7] = 0x80;
        return query;
    }

    /// <summary>True where a message is the answer to a query of ours: same ID, same question, and an answer at all.</summary>
    internal static bool IsAnswerTo(ReadOnlySpan<byte> query, ReadOnlySpan<byte> answer)
    {
        var questionSize = query.Length - DnsMessage.HeaderSize - 11;
        if (answer.Length < DnsMessage.HeaderSize + questionSize || !answer[..2].SequenceEqual(query[..2]) || (answer[2] & 0xF8) != 0x80) return false;
        if (DnsMessage.U16(answer[4..]) != 1) return false;
        Span<byte> lower = stackalloc byte[MaxSize];
        var name = questionSize - 4;
        DnsMessage.ToLower(answer.Slice(DnsMessage.HeaderSize, name), lower);
        answer.Slice(DnsMessage.HeaderSize + name, 4).CopyTo(lower[name..]);
        return lower[..questionSize].SequenceEqual(query.Slice(DnsMessage.HeaderSize, questionSize));
    }
}
