namespace K3sFast.AddOns.Dns;

/// <summary>Record types (IANA DNS parameters) that the server knows by name. Any other number is a type too.</summary>
internal enum DnsType : ushort
{
    A = 1,
    NS = 2,
    Cname = 5,
    Soa = 6,
    Ptr = 12,
    Hinfo = 13,
    MX = 15,
    Txt = 16,
    Aaaa = 28,
    Srv = 33,
    Naptr = 35,
    Dname = 39,
    Opt = 41,
    DS = 43,
    Rrsig = 46,
    Nsec = 47,
    Dnskey = 48,
    Svcb = 64,
    Https = 65,
    Ixfr = 251,
    Axfr = 252,
    Any = 255,
    Caa = 257,
}

/// <summary>Response codes, RFC 1035 §4.1.1 and RFC 6891 §9.</summary>
internal enum DnsCode : byte
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,

    // Extended: the upper bits travel in OPT.
    BadVersion = 16,
}

/// <summary>The words by which configuration, logs and metrics call types, classes and codes.</summary>
internal static class DnsWords
{
    private static readonly Dictionary<string, ushort> s_types = new(StringComparer.OrdinalIgnoreCase)
    {
        ["A"] = 1, ["NS"] = 2, ["CNAME"] = 5, ["SOA"] = 6, ["PTR"] = 12, ["HINFO"] = 13, ["MX"] = 15, ["TXT"] = 16, ["AAAA"] = 28, ["SRV"] = 33,
        ["NAPTR"] = 35, ["DNAME"] = 39, ["DS"] = 43, ["RRSIG"] = 46, ["NSEC"] = 47, ["DNSKEY"] = 48, ["SVCB"] = 64, ["HTTPS"] = 65, ["IXFR"] = 251,
        ["AXFR"] = 252, ["ANY"] = 255, ["CAA"] = 257,
    };

    private static readonly Dictionary<ushort, string> s_typeNames = s_types.ToDictionary(static pair => pair.Value, static pair => pair.Key);

    private static readonly string[] s_codes =
        ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"];

    /// <summary>A type by its word, or as TYPE65 (RFC 3597).</summary>
    internal static bool TryType(string word, out DnsType type)
    {
        var isKnown = s_types.TryGetValue(word, out var number)
            || (word.StartsWith("TYPE", StringComparison.OrdinalIgnoreCase) && ushort.TryParse(word.AsSpan(4), out number));
        type = (DnsType)number;
        return isKnown;
    }

    internal static string Type(DnsType type) => s_typeNames.TryGetValue((ushort)type, out var name) ? name : $"TYPE{(ushort)type}";

    internal static bool TryClass(string word, out ushort number)
    {
        number = word.ToUpperInvariant() switch { "IN" => 1, "CH" => 3, "HS" => 4, "ANY" => 255, _ => 0 };
        return number != 0;
    }

    internal static string Class(ushort number) => number switch { 1 => "IN", 3 => "CH", 4 => "HS", 255 => "ANY", _ => $"CLASS{number}" };

    internal static bool TryCode(string word, out DnsCode code)
    {
        var index = Array.FindIndex(s_codes, known => string.Equals(known, word, StringComparison.OrdinalIgnoreCase));
        if (index < 0 && byte.TryParse(word, out var number) && number < 16) index = number;
        code = (DnsCode)Math.Max(index, 0);
        return index >= 0;
    }

    internal static string Code(DnsCode code) => (int)code < s_codes.Length ? s_codes[(int)code] : code == DnsCode.BadVersion ? "BADVERS" : $"RCODE{(int)code}";
}
