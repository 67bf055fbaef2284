using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.Pki;

/// <summary>A leaf on disk: <c>&lt;name&gt;.crt</c> (leaf, then its CA's chain) and <c>&lt;name&gt;.key</c>.</summary>
internal sealed class LeafCertificate
{
    private LeafCertificate(string certificatePath, string keyPath)
    {
        CertificatePath = certificatePath;
        KeyPath = keyPath;
    }

    public string CertificatePath { get; }
    public string KeyPath { get; }

    /// <summary>Keeps the files when they satisfy the spec and the CA; else signs anew, with the same key where there is one.</summary>
    /// <exception cref="Configuration.ConfigurationException">The key file is corrupt. A corrupt certificate is simply replaced.</exception>
    public static LeafCertificate Ensure(string directory, LeafSpec spec, CertificateAuthority authority, DateTimeOffset now)
    {
        var leaf = new LeafCertificate(Path.Combine(directory, spec.Name + ".crt"), Path.Combine(directory, spec.Name + ".key"));
        if (leaf.IsCurrent(spec, authority, now))
            return leaf;
        using var key = EnsureKey(leaf.KeyPath);
        using var certificate = authority.Sign(spec, new PublicKey(key), now);
        PemFiles.WriteCertificates(leaf.CertificatePath, certificate.ExportCertificatePem() + "\n" + File.ReadAllText(authority.CertificatePath));
        return leaf;
    }

    /// <summary>The certificate with its private key. The caller disposes it.</summary>
    public X509Certificate2 Load() => X509Certificate2.CreateFromPemFile(CertificatePath, KeyPath);

    private bool IsCurrent(LeafSpec spec, CertificateAuthority authority, DateTimeOffset now)
    {
        if (PemFiles.IsMissing(CertificatePath) || PemFiles.IsMissing(KeyPath))
            return false;
        try
        {
            using var certificate = X509Certificate2.CreateFromPemFile(CertificatePath, KeyPath);
            return spec.IsSatisfiedBy(certificate, now) && authority.HasSigned(certificate);
        }
        catch (CryptographicException)
        {
            return false;
        }
    }

    /// <summary>The EC key of a file, made when there is none.</summary>
    /// <exception cref="Configuration.ConfigurationException">The file is corrupt.</exception>
    public static ECDsa EnsureKey(string path)
    {
        if (!PemFiles.IsMissing(path))
        {
            var existing = PemFiles.ReadKey(path);
            if (existing is ECDsa ec)
                return ec;
            existing.Dispose();
        }
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        PemFiles.WriteKey(path, key.ExportECPrivateKeyPem() + "\n");
        return key;
    }
}
