using System.Net;
using System.Text;
using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

/// <summary>Answers questions for everything of a name with next to nothing (any, RFC 8482).</summary>
internal sealed class AnyPlugin : Plugin
{
    internal override string Name => "any";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        if (exchange.Type != DnsType.Any) return Step.Next;
        exchange.Add(DnsType.Hinfo, 8482, "\u000dANY obsoleted\u000cSee RFC 8482"u8);
        return Step.Answered;
    }
}

/// <summary>Tells version and authors in class CH (chaos).</summary>
internal sealed class ChaosPlugin(string version, IReadOnlyList<string> authors, string host) : Plugin
{
    internal override string Name => "chaos";

    internal override bool IsForQuestionOnly => true;

    internal override Step Handle(Exchange exchange)
    {
        if (exchange.Class != 3 || exchange.Type != DnsType.Txt) return Step.Next;
        string[] texts = NameText.Of(exchange.Name) switch
        {
            "version.bind." or "version.server." => [version],
            "authors.bind." => [.. authors],
            "hostname.bind." or "id.server." => [host],
            _ => [],
        };
        if (texts.Length == 0) return Step.Next;
        foreach (var text in texts)
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            var size = Math.Min(bytes.Length, 255);
            exchange.Add(DnsType.Txt, 0, [(byte)size, .. bytes.AsSpan(0, size)]);
        }
        return Step.Answered;
    }
}

/// <summary>Answers for localhost and the loopback's reverse zones, so that nobody asks the world for them (local).</summary>
internal sealed class LocalPlugin(bool hasPrefix, Counter requests) : Plugin
{
    private const uint TtlSeconds = 604800;

    private static readonly byte[] s_localhost = WireName.Encode("localhost")!;
    private static readonly byte[][] s_zones = [s_localhost, WireName.Encode("0.in-addr.arpa")!, WireName.Encode("127.in-addr.arpa")!, WireName.Encode("255.in-addr.arpa")!];
    private static readonly byte[] s_loopback = WireName.Encode("1.0.0.127.in-addr.arpa")!;

    internal override string Name => "local";

    internal override Step Handle(Exchange exchange)
    {
        if (exchange.Class != 1) return Step.Next;
        var name = exchange.Name;
        var isPrefixed = hasPrefix && name.StartsWith(s_localhost.AsSpan(0, s_localhost.Length - 1)) && name.Length > s_localhost.Length;
        byte[]? zone = null;
        foreach (var candidate in s_zones)
        {
            if (WireName.IsWithin(name, candidate)) zone = candidate;
        }
        if (zone is null && !isPrefixed) return Step.Next;
        if (isPrefixed || (zone == s_localhost && name.Length > s_localhost.Length)) requests.Add();
        exchange.IsAuthoritative = true;
        var before = exchange.Answers;
        var isHost = isPrefixed || zone == s_localhost;
        if (isHost && exchange.Type == DnsType.A) exchange.Add(DnsType.A, TtlSeconds, IPAddress.Loopback.GetAddressBytes());
        else if (isHost && exchange.Type == DnsType.Aaaa) exchange.Add(DnsType.Aaaa, TtlSeconds, IPAddress.IPv6Loopback.GetAddressBytes());
        else if (exchange.Type == DnsType.Ptr && name.SequenceEqual(s_loopback)) exchange.Add(DnsType.Ptr, TtlSeconds, s_localhost);
        if (exchange.Answers == before) exchange.AddAuthority(zone ?? s_localhost, DnsType.Soa, TtlSeconds, Soa(zone ?? s_localhost));
        return Step.Answered;
    }

    private static byte[] Soa(byte[] zone)
    {
        byte[] data = [.. zone, .. zone, .. new byte[20]];
        var at = data.AsSpan(2 * zone.Length);
        DnsMessage.U32(at, 1);
        DnsMessage.U32(at[4..], 7200);
        DnsMessage.U32(at[8..], 1800);
        DnsMessage.U32(at[12..], 86400);
        DnsMessage.U32(at[16..], TtlSeconds);
        return data;
    }
}

/// <summary>Says what came in, for trying out (whoami).</summary>
internal sealed class WhoamiPlugin : Plugin
{
    internal override string Name => "whoami";

    internal override Step Handle(Exchange exchange)
    {
        Span<byte> client = stackalloc byte[16];
        var size = exchange.ReadClient(client);
        exchange.IsAuthoritative = true;
        exchange.AddAdditional(exchange.Name, size == 4 ? DnsType.A : DnsType.Aaaa, 0, client[..size]);
        return Step.Answered;
    }
}
