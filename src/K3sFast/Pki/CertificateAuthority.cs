using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using K3sFast.Configuration;
using K3sFast.Datastore;

namespace K3sFast.Pki;

/// <summary>A CA on disk (<c>&lt;name&gt;-ca.crt</c>, <c>.key</c>), made when absent, left alone when the user brought it.</summary>
internal sealed class CertificateAuthority : IDisposable
{
    // As k3s: CAs live ten years and are never renewed by themselves.
    private const int LifetimeDays = 3650;

    private readonly X509Certificate2 _issuer;
    private readonly AsymmetricAlgorithm _key;
    private byte[]? _pem;

    private CertificateAuthority(string certificatePath, X509Certificate2Collection chain, AsymmetricAlgorithm key)
    {
        CertificatePath = certificatePath;
        Chain = chain;
        _key = key;
        _issuer = chain[0];
    }

    public string CertificatePath { get; }
    /// <summary>The file's certificates: the issuer first, its own issuers after it.</summary>
    public X509Certificate2Collection Chain { get; }
    public X509Certificate2 Issuer => _issuer;
    /// <summary>The private key; lives as long as this.</summary>
    public AsymmetricAlgorithm Key => _key;

    /// <summary>Reads <c>&lt;directory&gt;/&lt;name&gt;.crt/.key</c> or makes them; a key without certificate gets one, as in k3s.</summary>
    /// <exception cref="ConfigurationException">The key alone is missing, one of the two is corrupt, they do not match, or the CA is expired.</exception>
    public static CertificateAuthority Open(string directory, string name, DateTimeOffset now)
    {
        var certificatePath = Path.Combine(directory, name + ".crt");
        var keyPath = Path.Combine(directory, name + ".key");
        var isCertificateMissing = PemFiles.IsMissing(certificatePath);
        if (!isCertificateMissing && PemFiles.IsMissing(keyPath))
            throw new ConfigurationException($"{keyPath} is missing while its pair is there: restore it, or remove both to have a new CA made");
        if (isCertificateMissing)
            Create(certificatePath, keyPath, name, now);

        var authority = new CertificateAuthority(certificatePath, PemFiles.ReadCertificates(certificatePath), PemFiles.ReadKey(keyPath));
        authority.VerifyUsable(keyPath, now);
        var nochain = Path.Combine(directory, name + ".nochain.crt");
        if (name != "request-header-ca" && PemFiles.IsMissing(nochain))
            PemFiles.WriteCertificates(nochain, authority._issuer.ExportCertificatePem() + "\n");
        return authority;
    }

    /// <summary>The file's bytes.</summary>
    public byte[] ReadPem() => _pem ??= File.ReadAllBytes(CertificatePath);

    /// <summary>The signed certificate for <paramref name="publicKey"/>; without its key.</summary>
    public X509Certificate2 Sign(LeafSpec leaf, PublicKey publicKey, DateTimeOffset now)
    {
        var request = new CertificateRequest(leaf.Subject, publicKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment, critical: true));
        var usages = new OidCollection();
        if (leaf.IsServing)
            usages.Add(new Oid("1.3.6.1.5.5.7.3.1"));
        if (leaf.IsClient)
            usages.Add(new Oid("1.3.6.1.5.5.7.3.2"));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(usages, critical: false));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_issuer, includeKeyIdentifier: HasKeyIdentifier(), includeIssuerAndSerial: !HasKeyIdentifier()));
        if (leaf.BuildSubjectAlternativeNames() is { } names)
            request.CertificateExtensions.Add(names);
        // Positive and at most 20 octets (RFC 5280 §4.1.2.2).
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7F) | 0x01);
        var generator = _key is RSA rsa
            ? X509SignatureGenerator.CreateForRSA(rsa, RSASignaturePadding.Pkcs1)
            : X509SignatureGenerator.CreateForECDsa((ECDsa)_key);
        var until = now.AddDays(LeafSpec.LifetimeDays);
        return request.Create(_issuer.SubjectName, generator, NotBefore(now), until < _issuer.NotAfter ? until : _issuer.NotAfter, serial);
    }

    /// <summary>True when our key signed <paramref name="certificate"/>.</summary>
    public bool HasSigned(X509Certificate2 certificate)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(Chain);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.VerificationFlags = X509VerificationFlags.IgnoreNotTimeValid | X509VerificationFlags.AllowUnknownCertificateAuthority;
        return chain.Build(certificate) && chain.ChainElements.Count > 1 && chain.ChainElements[1].Certificate.RawDataMemory.Span.SequenceEqual(_issuer.RawDataMemory.Span);
    }

    public void Dispose()
    {
        _key.Dispose();
        foreach (var certificate in Chain)
            certificate.Dispose();
    }

    /// <summary>A little in the past, for peers whose clock is behind.</summary>
    internal static DateTimeOffset NotBefore(DateTimeOffset now) => now.AddMinutes(-5);

    private static void Create(string certificatePath, string keyPath, string name, DateTimeOffset now)
    {
        if (PemFiles.IsMissing(keyPath))
        {
            using var made = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            PemFiles.WriteKey(keyPath, made.ExportECPrivateKeyPem() + "\n");
            // The key's name is on disk before the certificate's: a start that is cut off leaves a lone key at most, and the next one goes on from there.
            FileFlush.FlushAbove(keyPath);
        }
        using var key = PemFiles.ReadKey(keyPath);
        var subject = $"CN=k3s-{name}@{now.ToUnixTimeSeconds()}";
        var request = key is RSA rsa
            ? new CertificateRequest(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest(subject, (ECDsa)key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509KeyUsageExtension(
            X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyEncipherment | X509KeyUsageFlags.KeyCertSign, critical: true));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        using var certificate = request.CreateSelfSigned(NotBefore(now), now.AddDays(LifetimeDays));
        PemFiles.WriteCertificates(certificatePath, certificate.ExportCertificatePem() + "\n");
    }

    private void VerifyUsable(string keyPath, DateTimeOffset now)
    {
        if (_issuer.NotAfter < now)
            throw new ConfigurationException($"the CA in {CertificatePath} expired on {_issuer.NotAfter.ToUniversalTime():yyyy-MM-dd}: put a renewed one in its place");
        var isMatching = _key switch
        {
            RSA rsa => rsa.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_issuer.PublicKey.ExportSubjectPublicKeyInfo()),
            ECDsa ec => ec.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_issuer.PublicKey.ExportSubjectPublicKeyInfo()),
            _ => false,
        };
        if (!isMatching)
            throw new ConfigurationException($"{keyPath} is not the key of the first certificate in {CertificatePath}");
    }

    private bool HasKeyIdentifier()
    {
        foreach (var extension in _issuer.Extensions)
        {
            if (extension is X509SubjectKeyIdentifierExtension)
                return true;
        }
        return false;
    }
}
