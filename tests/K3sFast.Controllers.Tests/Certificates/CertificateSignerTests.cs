using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace K3sFast.Controllers.Tests;

/// <summary>Certificates are made for every kind of key that a request may have.</summary>
public sealed class CertificateSignerTests
{
    private const string OfEd25519 = """
        -----BEGIN CERTIFICATE REQUEST-----
        MIGaME4CAQAwGzEMMAoGA1UECgwDb3BzMQswCQYDVQQDDAJlZDAqMAUGAytlcAMh
        AFdJH+U8bp5Q8rlbk4r+HXxbhsXXktOLT90HKpwMdPU4oAAwBQYDK2VwA0EAmmdY
        yKFGulwNdvvkdvJpoEuvx8k9rQ1E6XvPGaPWClalx3jk6Etx3UE9v8XUYwFES/RS
        zf/sIowvH/DqGSp1AA==
        -----END CERTIFICATE REQUEST-----
        """;

    [Fact]
    public void Request_OfAnEd25519Key_IsSigned_AndKeepsTheKeyAsItIs()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var now = DateTimeOffset.UtcNow;
        var ca = new CertificateRequest("CN=ca", key, HashAlgorithmName.SHA256);
        ca.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var issuer = ca.CreateSelfSigned(now.AddHours(-1), now.AddDays(30));
        var wanted = SigningRequest.Parse(Encoding.ASCII.GetBytes(OfEd25519));
        var pem = CertificateSigner.Sign(new SigningAuthority(issuer, key), wanted, ["digital signature", "client auth"], 3600, TimeSpan.FromDays(365), now);
        using var certificate = X509Certificate2.CreateFromPem(pem);
        Assert.Equal("CN=ed, O=ops", certificate.Subject);
        // SubjectPublicKeyInfo { { id-Ed25519 }, key }, without parameters (RFC 8410 §3).
        Assert.StartsWith("302A300506032B6570032100" + "57491FE53C6E9E50F2B95B938AFE1D7C", Convert.ToHexString(certificate.PublicKey.ExportSubjectPublicKeyInfo()), StringComparison.Ordinal);
        using var chain = new X509Chain { ChainPolicy = { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, CustomTrustStore = { issuer } } };
        Assert.True(chain.Build(certificate));
    }
}
