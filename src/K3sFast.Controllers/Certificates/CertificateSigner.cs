using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Controllers;

/// <summary>Makes certificates of approved requests: subject, key and names as asked for, usages and life as the request's object says, nothing else.</summary>
internal static class CertificateSigner
{
    // For peers whose clock is behind.
    private static readonly TimeSpan s_backdate = TimeSpan.FromMinutes(5);

    // Shorter lives are not cut by the time they are dated back.
    private static readonly TimeSpan s_short = TimeSpan.FromHours(8);

    private static readonly TimeSpan s_shortest = TimeSpan.FromMinutes(10);

    private static readonly Dictionary<string, X509KeyUsageFlags> s_keyUsages = new()
    {
        ["signing"] = X509KeyUsageFlags.DigitalSignature,
        ["digital signature"] = X509KeyUsageFlags.DigitalSignature,
        ["content commitment"] = X509KeyUsageFlags.NonRepudiation,
        ["key encipherment"] = X509KeyUsageFlags.KeyEncipherment,
        ["key agreement"] = X509KeyUsageFlags.KeyAgreement,
        ["data encipherment"] = X509KeyUsageFlags.DataEncipherment,
        ["cert sign"] = X509KeyUsageFlags.KeyCertSign,
        ["crl sign"] = X509KeyUsageFlags.CrlSign,
        ["encipher only"] = X509KeyUsageFlags.EncipherOnly,
        ["decipher only"] = X509KeyUsageFlags.DecipherOnly,
    };

    // RFC 5280 §4.2.1.12, and Microsoft's and Netscape's arcs.
    private static readonly Dictionary<string, string> s_purposes = new()
    {
        ["any"] = "2.5.29.37.0",
        ["server auth"] = "1.3.6.1.5.5.7.3.1",
        ["client auth"] = "1.3.6.1.5.5.7.3.2",
        ["code signing"] = "1.3.6.1.5.5.7.3.3",
        ["email protection"] = "1.3.6.1.5.5.7.3.4",
        ["s/mime"] = "1.3.6.1.5.5.7.3.4",
        ["ipsec end system"] = "1.3.6.1.5.5.7.3.5",
        ["ipsec tunnel"] = "1.3.6.1.5.5.7.3.6",
        ["ipsec user"] = "1.3.6.1.5.5.7.3.7",
        ["timestamping"] = "1.3.6.1.5.5.7.3.8",
        ["ocsp signing"] = "1.3.6.1.5.5.7.3.9",
        ["microsoft sgc"] = "1.3.6.1.4.1.311.10.3.3",
        ["netscape sgc"] = "2.16.840.1.113730.4.1",
    };

    /// <summary>The certificate as PEM.</summary>
    /// <exception cref="InvalidOperationException">The CA has expired, or a usage is unknown.</exception>
    internal static string Sign(SigningAuthority authority, SigningRequest wanted, IEnumerable<string> usages, int? expirationSeconds, TimeSpan longest, DateTimeOffset now)
    {
        var issuer = authority.Issuer;
        DateTimeOffset end = issuer.NotAfter.ToUniversalTime();
        if (now >= end)
            throw new InvalidOperationException($"refusing to sign a certificate that expired in the past: NotAfter={end:yyyy-MM-dd HH:mm:ss}");
        var request = new CertificateRequest(wanted.Subject, wanted.PublicKey, HashAlgorithmName.SHA256);
        AddUsages(request, usages);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        var hasKeyId = issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Any();
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(issuer, includeKeyIdentifier: hasKeyId, includeIssuerAndSerial: !hasKeyId));
        if (wanted.NamesExtension() is { } names) request.CertificateExtensions.Add(names);

        var life = LifeOf(expirationSeconds, longest);
        var until = now + (life < s_short ? life : life - s_backdate);
        // Positive and at most 20 octets (RFC 5280 §4.1.2.2).
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7F) | 0x01);
        var generator = authority.Key is RSA rsa
            ? X509SignatureGenerator.CreateForRSA(rsa, RSASignaturePadding.Pkcs1)
            : X509SignatureGenerator.CreateForECDsa((ECDsa)authority.Key);
        using var certificate = request.Create(issuer.SubjectName, generator, now - s_backdate, until < end ? until : end, serial);
        return certificate.ExportCertificatePem() + "\n";
    }

    private static void AddUsages(CertificateRequest request, IEnumerable<string> usages)
    {
        var flags = X509KeyUsageFlags.None;
        var purposes = new OidCollection();
        var seen = new HashSet<string>();
        var unknown = new List<string>();
        foreach (var usage in usages)
        {
            if (s_keyUsages.TryGetValue(usage, out var flag)) flags |= flag;
            else if (!s_purposes.TryGetValue(usage, out var purpose)) unknown.Add(usage);
            else if (seen.Add(purpose)) purposes.Add(new Oid(purpose));
        }
        if (unknown.Count > 0) throw new InvalidOperationException($"unrecognized usage values: [{string.Join(' ', unknown.Select(static usage => $"\"{usage}\""))}]");
        if (flags != X509KeyUsageFlags.None) request.CertificateExtensions.Add(new X509KeyUsageExtension(flags, critical: true));
        if (purposes.Count > 0) request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(purposes, critical: false));
    }

    private static TimeSpan LifeOf(int? expirationSeconds, TimeSpan longest)
    {
        if (expirationSeconds is not { } seconds || TimeSpan.FromSeconds(seconds) > longest) return longest;
        return TimeSpan.FromSeconds(seconds) < s_shortest ? s_shortest : TimeSpan.FromSeconds(seconds);
    }
}
