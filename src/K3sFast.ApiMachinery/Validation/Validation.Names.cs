namespace K3sFast.ApiMachinery;

public static partial class Validation
{
    /// <summary>What is wrong with a DNS subdomain (RFC 1123), in upstream's words; empty when nothing is.</summary>
    public static IReadOnlyList<string> SubdomainProblems(string text) => Formats.Problems(Format.Dns1123Subdomain, text);
}
