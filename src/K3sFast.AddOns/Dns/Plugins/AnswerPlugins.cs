using System.Net;

namespace K3sFast.AddOns.Dns;

/// <summary>Gives addresses out in turn, because clients take the first (loadbalance).</summary>
internal sealed class LoadBalancePlugin : Plugin
{
    internal override string Name => "loadbalance";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        exchange.TakesTurns = true;
        return Step.Next;
    }

    // The cluster's own addresses were written in turn; those of other servers are turned here.
    internal override Step Finish(Exchange exchange)
    {
        if (exchange.Notes.IsForeign && exchange.Answers > 1 && exchange.Type is DnsType.A or DnsType.Aaaa) Turn(exchange);
        return Step.Answered;
    }

    // Records of equal shape, one behind the other, change places; nothing in them depends on where they stand.
    private static void Turn(Exchange exchange)
    {
        var message = exchange.Seal();
        var buffer = exchange.AnswerBuffer;
        var size = exchange.Type == DnsType.A ? 16 : 28;
        var at = exchange.RecordsAt;
        var (start, count) = (0, 0);
        for (var i = 0; i < exchange.Answers; i++)
        {
            if (!WireName.TrySkip(message, at, out var end)) return;
            var length = end + 10 + DnsMessage.U16(message[(end + 8)..]) - at;
            if (length == size && end - at == 2 && (DnsType)DnsMessage.U16(message[end..]) == exchange.Type)
            {
                if (count++ == 0) start = at;
            }
            else if (count > 0) return;
            at += length;
        }
        if (count < 2) return;
        var first = Random.Shared.Next(count) * size;
        if (first == 0) return;
        var run = buffer.Slice(start, count * size);
        // A rotation by three reversals would turn bytes around; blocks are small, so through a copy.
        Span<byte> copy = stackalloc byte[512];
        if (run.Length > copy.Length) return;
        run.CopyTo(copy);
        copy[first..run.Length].CopyTo(run);
        copy[..first].CopyTo(run[(run.Length - first)..]);
    }
}

/// <summary>Leaves only the answer section of answers that have one (minimal).</summary>
internal sealed class MinimalPlugin : Plugin
{
    internal override string Name => "minimal";

    internal override bool IsForQuestionOnly => true;

    internal override Step Finish(Exchange exchange)
    {
        if (exchange is { Code: DnsCode.NoError, Answers: > 0 }) exchange.CutBehindAnswers(AnswerRecords.EndOfAnswers(exchange));
        return Step.Answered;
    }
}

/// <summary>Sets or clears flags of the header (header).</summary>
internal sealed class HeaderPlugin(IReadOnlyList<(bool IsQuery, bool IsSet, string Flag)> rules) : Plugin
{
    internal override string Name => "header";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        foreach (var (isQuery, isSet, flag) in rules)
        {
            if (isQuery && flag == "rd") exchange.RecursionDesired = isSet;
        }
        return Step.Next;
    }

    internal override Step Finish(Exchange exchange)
    {
        foreach (var (isQuery, isSet, flag) in rules)
        {
            if (isQuery) continue;
            if (flag == "aa") exchange.IsAuthoritative = isSet;
            else if (flag == "ra") exchange.IsRecursionAvailable = isSet;
            else exchange.RecursionDesired = isSet;
        }
        return Step.Answered;
    }
}

/// <summary>Says which server this is, to clients that ask (nsid, RFC 5001).</summary>
internal sealed class NsidPlugin(byte[] data) : Plugin
{
    private const ushort OptionCode = 3;

    internal override string Name => "nsid";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        if (exchange.HasOpt && exchange.Opt.Has(exchange.Query, OptionCode))
        {
            exchange.Notes.Nsid = data;
            exchange.Reset();
        }
        return Step.Next;
    }
}

/// <summary>Lowers the size of answers over UDP (bufsize).</summary>
internal sealed class BufferSizePlugin(int size) : Plugin
{
    internal override string Name => "bufsize";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        if (!exchange.IsUdp || !exchange.HasOpt || exchange.Limit <= size) return Step.Next;
        exchange.Limit = size;
        exchange.Reset();
        return Step.Next;
    }
}

/// <summary>Makes AAAA records of A records, for networks with NAT64 (dns64, RFC 6147).</summary>
internal sealed class Dns64Plugin(byte[] prefix, int prefixLength, bool translatesAll, bool allowsV4) : Plugin
{
    internal override string Name => "dns64";

    internal override bool IsForQuestionOnly => true;

    internal override Step Finish(Exchange exchange)
    {
        if (exchange.Notes.TranslatesAddresses)
        {
            exchange.Notes.TranslatesAddresses = false;
            exchange.Type = DnsType.Aaaa;
            Translate(exchange);
            return Step.Answered;
        }
        Span<byte> client = stackalloc byte[16];
        if (exchange.Type != DnsType.Aaaa || exchange.Class != 1 || exchange.Code != DnsCode.NoError || exchange.WantsDnssec && exchange.ChecksDisabled) return Step.Answered;
        if (!allowsV4 && exchange.ReadClient(client) == 4) return Step.Answered;
        if (!translatesAll && HasAddresses(exchange)) return Step.Answered;
        exchange.Notes.TranslatesAddresses = true;
        exchange.Type = DnsType.A;
        exchange.Reset();
        return Step.Again;
    }

    private static bool HasAddresses(Exchange exchange) =>
        exchange.Answers > 0 && AnswerRecords.Read(exchange).Exists(static record => record is { Section: 0, Type: DnsType.Aaaa });

    private void Translate(Exchange exchange) => AnswerRecords.Replace(exchange, AnswerRecords.Read(exchange)
        .Where(static record => record.Section < 2)
        .Select(record => record is { Section: 0, Type: DnsType.A } ? record with { Type = DnsType.Aaaa, Data = Embed(record.Data) } : record).ToList());

    // RFC 6052 §2.2: the address follows the prefix and passes over bits 64 to 71.
    private byte[] Embed(byte[] address)
    {
        var data = new byte[16];
        prefix.AsSpan(0, prefixLength / 8).CopyTo(data);
        var at = prefixLength / 8;
        foreach (var b in address)
        {
            if (at == 8) at++;
            data[at++] = b;
        }
        return data;
    }

    /// <summary>Reads a prefix of one of the lengths that RFC 6052 knows.</summary>
    internal static bool TryPrefix(string text, out byte[] prefix, out int length)
    {
        (prefix, length) = ([], 0);
        if (!IPNetwork.TryParse(text, out var network) || network.BaseAddress.GetAddressBytes().Length != 16 || network.PrefixLength is not (32 or 40 or 48 or 56 or 64 or 96)) return false;
        (prefix, length) = (network.BaseAddress.GetAddressBytes(), network.PrefixLength);
        return true;
    }
}
