using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Pki;

/// <summary>What a leaf certificate must say. Pure description.</summary>
/// <param name="Name">File name without extension, k3s's.</param>
/// <param name="CommonName">User name for client certificates.</param>
/// <param name="Organization">Group, or empty.</param>
internal sealed record LeafSpec(string Name, string CommonName, string Organization)
{
    public const int LifetimeDays = 365;
    /// <summary>Renewed at start when fewer days than this are left (k3s since May 2025).</summary>
    public const int RenewDays = 120;

    public bool IsClient { get; init; } = true;
    public bool IsServing { get; init; }
    public IReadOnlyList<string> DnsNames { get; init; } = [];
    public IReadOnlyList<IPAddress> Addresses { get; init; } = [];

    public X500DistinguishedName Subject
    {
        get
        {
            var builder = new X500DistinguishedNameBuilder();
            builder.AddCommonName(CommonName);
            if (Organization.Length > 0)
                builder.AddOrganizationName(Organization);
            return builder.Build();
        }
    }

    public X509Extension? BuildSubjectAlternativeNames()
    {
        if (DnsNames.Count == 0 && Addresses.Count == 0)
            return null;
        var builder = new SubjectAlternativeNameBuilder();
        foreach (var name in DnsNames)
            builder.AddDnsName(name);
        foreach (var address in Addresses)
            builder.AddIpAddress(address);
        return builder.Build();
    }

    /// <summary>True while <paramref name="certificate"/> says this and lasts long enough.</summary>
    public bool IsSatisfiedBy(X509Certificate2 certificate, DateTimeOffset now)
    {
        if (certificate.NotAfter < now.AddDays(RenewDays) || certificate.NotBefore > now)
            return false;
        if (!certificate.SubjectName.RawData.AsSpan().SequenceEqual(Subject.RawData))
            return false;
        var wanted = BuildSubjectAlternativeNames();
        foreach (var extension in certificate.Extensions)
        {
            if (extension.Oid?.Value == "2.5.29.17")
                return wanted is not null && extension.RawData.AsSpan().SequenceEqual(wanted.RawData);
        }
        return wanted is null;
    }
}
