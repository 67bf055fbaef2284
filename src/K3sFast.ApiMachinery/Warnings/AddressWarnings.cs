using System.Net.Sockets;

namespace K3sFast.ApiMachinery;

/// <summary>Addresses and prefixes that are valid but not written as they should be.</summary>
internal static class AddressWarnings
{
    internal static void Ip(ref WarningList warnings, string path, ApiNode value)
    {
        string text = value.AsString();
        if (Addresses.Parse(text) is not { } address)
            return;
        string canonical = address.IsIPv4MappedToIPv6 ? address.MapToIPv4().ToString() : address.ToString();
        if (Addresses.HasLeadingZero(text) || address.IsIPv4MappedToIPv6)
            warnings.Add($"{path}: non-standard IP address {GoText.Quote(text)} is invalid: use {GoText.Quote(canonical)}");
        else if (address.AddressFamily == AddressFamily.InterNetworkV6 && canonical != text)
            warnings.Add($"{path}: IPv6 address {GoText.Quote(text)} should be in RFC 5952 canonical format ({GoText.Quote(canonical)})");
    }

    internal static void Cidr(ref WarningList warnings, string path, ApiNode value)
    {
        string text = value.AsString();
        if (Addresses.ParseCidr(text) is not var (address, length))
            return;
        string masked = Addresses.Masked(address, length), written = $"{address}/{length}";
        bool isAmbiguous = masked != written;
        if (isAmbiguous)
            warnings.Add($"{path}: CIDR value {GoText.Quote(text)} is ambiguous in this context (should be {GoText.Quote(masked)} or {GoText.Quote($"{address}/{(address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128)}")}?)");
        string number = text[(text.IndexOf('/') + 1)..];
        bool isOdd = Addresses.HasLeadingZero(text[..text.IndexOf('/')]) || number.Length > 1 && number[0] == '0' || address.IsIPv4MappedToIPv6;
        if (isOdd)
            warnings.Add($"{path}: non-standard CIDR value {GoText.Quote(text)} is invalid: use {GoText.Quote(masked)}");
        else if (!isAmbiguous && address.AddressFamily == AddressFamily.InterNetworkV6 && written != text)
            warnings.Add($"{path}: IPv6 CIDR value {GoText.Quote(text)} should be in RFC 5952 canonical format ({GoText.Quote(written)})");
    }
}
