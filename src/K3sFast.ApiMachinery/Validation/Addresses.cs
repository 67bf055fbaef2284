using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of IP addresses and prefixes in their text form.</summary>
internal static class Addresses
{
    private const string NoAddress = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    private const string NoCidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

    /// <summary>An address as new values must be written: parseable, no leading zeros, no IPv4 in IPv6.</summary>
    internal static bool LegacyIP(At at, ApiNode value)
    {
        string text = value.AsString();
        if (Problem(text) is not { } problem)
            return true;
        at.Invalid(text, problem);
        return false;
    }

    /// <summary>An address in the one form that it has.</summary>
    internal static bool IsCanonical(string text) => Problem(text) is null && Parse(text)!.ToString() == text;

    /// <summary>What is wrong with an address that is not canonical.</summary>
    internal static string CanonicalProblem(string text) => Problem(text) ?? $"must be in canonical form ({GoText.Quote(Parse(text)!.ToString())})";

    /// <summary>A prefix as new values must be written: no leading zeros, no bits beyond its length.</summary>
    internal static bool Cidr(At at, ApiNode value)
    {
        string text = value.AsString();
        if (CidrProblem(text) is not { } problem)
            return true;
        at.Invalid(text, problem);
        return false;
    }

    /// <summary>An endpoint's address: something that another machine can reach.</summary>
    internal static void Endpoint(At at, ApiNode value)
    {
        if (LegacyIP(at, value))
            Reachable(at, value.AsString());
    }

    internal static void Reachable(At at, string text)
    {
        if (Parse(text) is not { } address)
            return;
        if (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any))
            at.Invalid(text, $"may not be unspecified ({text})");
        if (IPAddress.IsLoopback(address))
            at.Invalid(text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        if (address.IsIPv6LinkLocal || IsIPv4(address, 169, 254))
            at.Invalid(text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
        if (address.AddressFamily == AddressFamily.InterNetwork ? IsIPv4(address, 224, 0) && address.GetAddressBytes()[2] == 0 : IsIPv6LinkLocalMulticast(address))
            at.Invalid(text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }

    internal static bool IsIPv6(string text) => text.Contains(':');

    /// <summary>The address, also one with leading zeros; null when the text is none.</summary>
    internal static IPAddress? Parse(string text)
    {
        if (text.Contains(':'))
            return !text.Contains('%') && !text.Contains('[') && !text.Contains('/') && IPAddress.TryParse(text, out var six) && six.AddressFamily == AddressFamily.InterNetworkV6 ? six : null;
        var parts = text.Split('.');
        if (parts.Length != 4)
            return null;
        Span<byte> bytes = stackalloc byte[4];
        for (int i = 0; i < 4; i++)
            if (parts[i].Length == 0 || !byte.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out bytes[i]))
                return null;
        return new IPAddress(bytes);
    }

    /// <summary>The prefix and its length, also with leading zeros and bits beyond the length; null when the text is none.</summary>
    internal static (IPAddress Address, int Length)? ParseCidr(string text)
    {
        int slash = text.IndexOf('/');
        if (slash < 0 || Parse(text[..slash]) is not { } address
            || !int.TryParse(text[(slash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out int length)
            || length > (address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128))
            return null;
        return (address, length);
    }

    /// <summary>The prefix with the bits beyond its length cleared, in its canonical form.</summary>
    internal static string Masked(IPAddress address, int length)
    {
        var bytes = address.GetAddressBytes();
        for (int i = 0; i < bytes.Length; i++)
        {
            int kept = Math.Clamp(length - i * 8, 0, 8);
            bytes[i] &= (byte)(0xFF << (8 - kept));
        }
        return $"{new IPAddress(bytes)}/{length}";
    }

    internal static bool HasLeadingZero(string text) => !text.Contains(':') && text.Split('.').Any(static part => part.Length > 1 && part[0] == '0');

    private static string? Problem(string text)
    {
        if (Parse(text) is not { } address)
            return NoAddress;
        if (HasLeadingZero(text))
            return "must not have leading 0s";
        return address.IsIPv4MappedToIPv6 ? "must not be an IPv4-mapped IPv6 address" : null;
    }

    private static string? CidrProblem(string text)
    {
        if (ParseCidr(text) is not var (address, length))
            return NoCidr;
        string digits = text[(text.IndexOf('/') + 1)..];
        if (HasLeadingZero(text[..text.IndexOf('/')]) || digits.Length > 1 && digits[0] == '0')
            return "must not have leading 0s in IP or prefix length";
        if (address.IsIPv4MappedToIPv6)
            return "must not have an IPv4-mapped IPv6 address";
        return Masked(address, length) == $"{address}/{length}" ? null : "must not have bits set beyond the prefix length";
    }

    private static bool IsIPv4(IPAddress address, byte first, byte second) =>
        address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes() is var bytes && bytes[0] == first && bytes[1] == second;

    private static bool IsIPv6LinkLocalMulticast(IPAddress address) => address.GetAddressBytes() is var bytes && bytes[0] == 0xFF && (bytes[1] & 0x0F) == 0x02;
}
