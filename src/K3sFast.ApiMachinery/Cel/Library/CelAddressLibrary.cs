using System.Globalization;
using System.Net;
using System.Net.Sockets;
using static K3sFast.ApiMachinery.CelLibraries;

namespace K3sFast.ApiMachinery;

/// <summary>IP addresses and prefixes.</summary>
internal static class CelAddressLibrary
{
    internal static readonly CelType IPType = CelType.Opaque("net.IP");
    internal static readonly CelType CidrType = CelType.Opaque("net.CIDR");

    private static readonly CelType s_string = CelType.String, s_bool = CelType.Bool, s_int = CelType.Int;

    internal static IEnumerable<CelFunction> Functions =>
    [
        Function("ip",
            Global("string_to_ip", [s_string], IPType, static args => ToIP(args[0].AsString)),
            Member("cidr_ip", [CidrType], IPType, static args => CelValue.Opaque(new CelIP(Cidr(args[0]).Address)))),
        Function("isIP", Global("is_ip", [s_string], s_bool, static args => CelValue.Of(TryIP(args[0].AsString, out _, out _)))),
        Function("ip.isCanonical", Global("ip_is_canonical", [s_string], s_bool, static args => IsCanonical(args[0].AsString))),
        Function("family", Member("ip_family", [IPType], s_int, static args => CelValue.Of(IP(args[0]).AddressFamily == AddressFamily.InterNetwork ? 4L : 6L))),
        Is("isUnspecified", "ip_is_unspecified", static ip => ip.Equals(IPAddress.Any) || ip.Equals(IPAddress.IPv6Any)),
        Is("isLoopback", "ip_is_loopback", IPAddress.IsLoopback),
        Is("isLinkLocalMulticast", "ip_is_link_local_multicast", IsLinkLocalMulticast),
        Is("isLinkLocalUnicast", "ip_is_link_local_unicast", IsLinkLocalUnicast),
        Is("isGlobalUnicast", "ip_is_global_unicast", static ip => !ip.Equals(IPAddress.Any) && !ip.Equals(IPAddress.IPv6Any) && !ip.Equals(IPAddress.Broadcast)
            && !IPAddress.IsLoopback(ip) && !IsMulticast(ip) && !IsLinkLocalUnicast(ip)),
        Function("string",
            Global("ip_to_string", [IPType], s_string, static args => CelValue.Of(args[0].Reference!.ToString()!)),
            Global("cidr_to_string", [CidrType], s_string, static args => CelValue.Of(args[0].Reference!.ToString()!))),
        Function("cidr", Global("string_to_cidr", [s_string], CidrType, static args => ToCidr(args[0].AsString))),
        Function("isCIDR", Global("is_cidr", [s_string], s_bool, static args => CelValue.Of(TryCidr(args[0].AsString, out _, out _)))),
        Function("containsIP",
            Member("cidr_contains_ip_string", [CidrType, s_string], s_bool, static args => ContainsIP(args[0], ToIP(args[1].AsString))),
            Member("cidr_contains_ip_ip", [CidrType, IPType], s_bool, static args => ContainsIP(args[0], args[1]))),
        Function("containsCIDR",
            Member("cidr_contains_cidr_string", [CidrType, s_string], s_bool, static args => ContainsCidr(args[0], ToCidr(args[1].AsString))),
            Member("cidr_contains_cidr", [CidrType, CidrType], s_bool, static args => ContainsCidr(args[0], args[1]))),
        Function("prefixLength", Member("cidr_prefix_length", [CidrType], s_int, static args => CelValue.Of((long)Cidr(args[0]).Length))),
        Function("masked", Member("cidr_masked", [CidrType], CidrType, static args => CelValue.Opaque(Cidr(args[0]).Masked()))),
    ];

    private static CelFunction Is(string name, string id, Func<IPAddress, bool> holds) => Function(name, Member(id, [IPType], s_bool, args => CelValue.Of(holds(IP(args[0])))));

    private static IPAddress IP(CelValue value) => ((CelIP)value.Reference!).Address;

    private static CelCidr Cidr(CelValue value) => (CelCidr)value.Reference!;

    private static CelValue ToIP(string text) => TryIP(text, out var address, out string problem) ? CelValue.Opaque(new CelIP(address!)) : CelValue.Error(problem);

    private static CelValue ToCidr(string text) =>
        TryCidr(text, out var prefix, out string problem) ? CelValue.Opaque(prefix!) : CelValue.Error($"network address parse error during conversion from string: {problem}");

    private static CelValue IsCanonical(string text) => TryIP(text, out var address, out string problem) ? CelValue.Of(new CelIP(address!).ToString() == text) : CelValue.Error(problem);

    private static bool TryIP(string text, out IPAddress? address, out string problem)
    {
        address = Addresses.HasLeadingZero(text) ? null : Addresses.Parse(text);
        string shown = GoText.Quote(text);
        if (address is null && text.Contains('%') && Addresses.Parse(text[..text.IndexOf('%')]) is not null)
            problem = $"IP address {shown} with zone value is not allowed";
        else if (address is null)
            problem = $"IP Address {shown} parse error during conversion from string: ParseAddr({shown}): {WhyNone(text)}";
        else
            problem = address.IsIPv4MappedToIPv6 ? $"IPv4-mapped IPv6 address {shown} is not allowed" : "";
        return problem.Length == 0;
    }

    // The words of Go's parser for the common mistakes.
    private static string WhyNone(string text)
    {
        if (text.Contains(':') || !text.Contains('.'))
            return text.Contains(':') ? "invalid IPv6 address" : "unable to parse IP";
        var parts = text.Split('.');
        if (text.AsSpan().IndexOfAnyExcept("0123456789.") >= 0)
            return "unexpected character (at " + GoText.Quote(text.AsSpan(text.AsSpan().IndexOfAnyExcept("0123456789."))) + ")";
        if (parts.Any(static part => part.Length == 0))
            return "IPv4 field must have at least one digit (at " + GoText.Quote(text) + ")";
        if (Addresses.HasLeadingZero(text))
            return "IPv4 field has octet with leading zero";
        if (parts.Any(static part => part.Length > 3 || int.Parse(part, CultureInfo.InvariantCulture) > 255))
            return "IPv4 field has value >255";
        return parts.Length > 4 ? "IPv4 address too long" : "IPv4 address too short";
    }

    private static bool TryCidr(string text, out CelCidr? prefix, out string problem)
    {
        prefix = null;
        int slash = text.LastIndexOf('/');
        string shown = GoText.Quote(text);
        string why = slash < 0 ? "no '/'" : "";
        if (slash >= 0)
        {
            string length = text[(slash + 1)..];
            var address = Addresses.HasLeadingZero(text[..slash]) ? null : Addresses.Parse(text[..slash]);
            if (address is null)
                why = $"ParseAddr({GoText.Quote(text.AsSpan(0, slash))}): {WhyNone(text[..slash])}";
            else if (length.Length == 0 || length.Length > 1 && length[0] == '0' || !int.TryParse(length, NumberStyles.None, CultureInfo.InvariantCulture, out int bits))
                why = $"bad bits after slash: {GoText.Quote(length)}";
            else if (bits > (address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128))
                why = "prefix length out of range";
            else if (address.IsIPv4MappedToIPv6)
                return (problem = $"IPv4-mapped IPv6 address {shown} is not allowed").Length == 0;
            else
                prefix = new CelCidr(address, bits);
        }
        problem = why.Length == 0 ? "" : $"network address parse error during conversion from string: netip.ParsePrefix({shown}): {why}";
        return why.Length == 0;
    }

    private static CelValue ContainsIP(CelValue cidr, CelValue ip) => ip.IsError ? ip : CelValue.Of(Cidr(cidr).Contains(IP(ip)));

    private static CelValue ContainsCidr(CelValue cidr, CelValue other) =>
        other.IsError ? other : CelValue.Of(Cidr(cidr).Length <= Cidr(other).Length && Cidr(cidr).Contains(Cidr(other).Address));

    private static bool IsMulticast(IPAddress ip) => ip.AddressFamily == AddressFamily.InterNetwork ? ip.GetAddressBytes()[0] is >= 224 and < 240 : ip.IsIPv6Multicast;

    private static bool IsLinkLocalUnicast(IPAddress ip) => ip.AddressFamily == AddressFamily.InterNetwork ? ip.GetAddressBytes() is [169, 254, ..] : ip.IsIPv6LinkLocal;

    private static bool IsLinkLocalMulticast(IPAddress ip) =>
        ip.AddressFamily == AddressFamily.InterNetwork ? ip.GetAddressBytes() is [224, 0, 0, _] : ip.GetAddressBytes() is [0xFF, var scope, ..] && (scope & 0x0F) == 0x02;
}

/// <summary>An address.</summary>
internal sealed class CelIP(IPAddress address) : ICelObject
{
    internal IPAddress Address { get; } = address;

    public string TypeName => "net.IP";

    public long CostSize => Address.AddressFamily == AddressFamily.InterNetwork ? 4 : 16;

    public CelValue EqualTo(CelValue other) => other.Reference is CelIP ip ? CelValue.Of(ip.Address.Equals(Address)) : CelValue.NoSuchOverload;

    public override string ToString() => Address.ToString();
}

/// <summary>A prefix.</summary>
internal sealed class CelCidr(IPAddress address, int length) : ICelObject
{
    internal IPAddress Address { get; } = address;

    internal int Length { get; } = length;

    public string TypeName => "net.CIDR";

    public long CostSize => (Length + 7) / 8;

    internal CelCidr Masked() => new(IPAddress.Parse(Addresses.Masked(Address, Length).Split('/')[0]), Length);

    internal bool Contains(IPAddress other) => other.AddressFamily == Address.AddressFamily && new CelCidr(other, Length).Masked().Address.Equals(Masked().Address);

    public CelValue EqualTo(CelValue other) =>
        other.Reference is CelCidr cidr ? CelValue.Of(cidr.Length == Length && cidr.Address.Equals(Address)) : CelValue.NoSuchOverload;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{Length}");
}
