using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiServer.Tests;

/// <summary>A throw-away CA with a serving certificate for loopback and client certificates by name.</summary>
internal sealed class TestCertificates
{
    private readonly X509Certificate2 _authority;

    internal TestCertificates()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=test-ca", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        _authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddDays(1));
        Serving = Issue("CN=kube-apiserver", "1.3.6.1.5.5.7.3.1");
    }

    internal X509Certificate2 Authority => _authority;

    internal X509Certificate2 Serving { get; }

    /// <summary>A server on a free loopback port that shows these and trusts them.</summary>
    internal ApiServerOptions ServerOptions => new()
    {
        BindAddress = IPAddress.Loopback,
        Port = 0,
        AdvertiseAddress = IPAddress.Parse("192.0.2.1"),
        ServingCertificate = Serving,
        ServerAuthorities = [_authority],
        ClientAuthorities = [_authority],
        ServiceAccountKeys = [RSA.Create(2048)],
    };

    internal X509Certificate2 Client(string user, params string[] groups) =>
        Issue(string.Join(",", groups.Select(static g => $"O={g}").Prepend($"CN={user}").Reverse()), "1.3.6.1.5.5.7.3.2");

    /// <summary>A client certificate with a subject made by hand.</summary>
    internal X509Certificate2 Client(X500DistinguishedName subject)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return Sign(new CertificateRequest(subject, key, HashAlgorithmName.SHA256), key, "1.3.6.1.5.5.7.3.2", DateTimeOffset.UtcNow.AddHours(20));
    }

    internal X509Certificate2 Expired(string user)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return Sign(new CertificateRequest($"CN={user}", key, HashAlgorithmName.SHA256), key, "1.3.6.1.5.5.7.3.2", DateTimeOffset.UtcNow.AddMinutes(-1));
    }

    private X509Certificate2 Issue(string subject, string usage)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return Sign(new CertificateRequest(subject, key, HashAlgorithmName.SHA256), key, usage, DateTimeOffset.UtcNow.AddHours(20));
    }

    private X509Certificate2 Sign(CertificateRequest request, ECDsa key, string usage, DateTimeOffset notAfter)
    {
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(_authority, DateTimeOffset.UtcNow.AddMinutes(-30), notAfter, RandomNumberGenerator.GetBytes(8));
        using var withKey = certificate.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(withKey.Export(X509ContentType.Pkcs12), null);
    }
}
