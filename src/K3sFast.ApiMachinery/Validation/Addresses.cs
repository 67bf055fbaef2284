using System.Net;
using System.Net.Sockets;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of IP addresses and prefixes in their text form.</summary>
internal static class Addresses
{
    /// <summary>An address as new values must be written: parseable, no leading zeros, no IPv4 in IPv6.</summary>
    internal static bool LegacyIP(At at, ApiNode value)
    {
        string text = value.AsString();
        if (!IPAddress.TryParse(text, out var address) || text.Contains('%') || text.Contains('[') || !IsAddressText(text))
        {
            at.Invalid(text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
            return false;
        }
        if (address.AddressFamily == AddressFamily.InterNetwork && HasLeadingZero(text))
        {
            at.Invalid(text, "must not have leading 0s");
            return false;
        }
        if (address.IsIPv4MappedToIPv6)
        {
            at.Invalid(text, "must not be an IPv4-mapped IPv6 address");
            return false;
        }
        return true;
    }

    /// <summary>A prefix as new values must be written: no bits beyond its length.</summary>
    internal static bool Cidr(At at, ApiNode value)
    {
        string text = value.AsString();
        int slash = text.IndexOf('/');
        if (slash < 0 || !IPAddress.TryParse(text[..slash], out var address) || !IsAddressText(text[..slash])
            || !int.TryParse(text[(slash + 1)..], out int length) || length < 0 || length > (address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128))
        {
            at.Invalid(text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
            return false;
        }
        if (IPNetwork.TryParse(text, out _))
            return true;
        at.Invalid(text, $"must not have bits set beyond the prefix length");
        return false;
    }

    /// <summary>An endpoint's address: something that another machine can reach.</summary>
    internal static void Endpoint(At at, ApiNode value)
    {
        if (!LegacyIP(at, value) || !IPAddress.TryParse(value.AsString(), out var address))
            return;
        string text = value.AsString();
        if (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any))
            at.Invalid(text, $"may not be unspecified ({text})");
        else if (IPAddress.IsLoopback(address))
            at.Invalid(text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
        else if (address.IsIPv6LinkLocal || IsIPv4(address, 169, 254))
            at.Invalid(text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
        else if (address.AddressFamily == AddressFamily.InterNetwork ? IsIPv4(address, 224, 0) && address.GetAddressBytes()[2] == 0 : IsIPv6LinkLocalMulticast(address))
            at.Invalid(text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }

    internal static bool IsIPv6(string text) => text.Contains(':');

    // .NET also takes decimal and hexadecimal forms of IPv4 that nobody means.
    private static bool IsAddressText(string text) => text.Contains(':') || text.Split('.').Length == 4 && text.All(static c => c == '.' || char.IsAsciiDigit(c));

    private static bool HasLeadingZero(string text) => text.Split('.').Any(static part => part.Length > 1 && part[0] == '0');

    private static bool IsIPv4(IPAddress address, byte first, byte second) =>
        address.AddressFamily == AddressFamily.InterNetwork && address.GetAddressBytes() is var bytes && bytes[0] == first && bytes[1] == second;

    private static bool IsIPv6LinkLocalMulticast(IPAddress address) => address.GetAddressBytes() is var bytes && bytes[0] == 0xFF && (bytes[1] & 0x0F) == 0x02;
}
