using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace K3sFast.ApiMachinery.Tests.Certificates;

/// <summary>Certificate requests are read and their signatures verified, in upstream's words where that fails.</summary>
public sealed class CertificateRequestTextTests
{
    private const string OfEd25519 = """
        -----BEGIN CERTIFICATE REQUEST-----
        MIGaME4CAQAwGzEMMAoGA1UECgwDb3BzMQswCQYDVQQDDAJlZDAqMAUGAytlcAMh
        AFdJH+U8bp5Q8rlbk4r+HXxbhsXXktOLT90HKpwMdPU4oAAwBQYDK2VwA0EAmmdY
        yKFGulwNdvvkdvJpoEuvx8k9rQ1E6XvPGaPWClalx3jk6Etx3UE9v8XUYwFES/RS
        zf/sIowvH/DqGSp1AA==
        -----END CERTIFICATE REQUEST-----
        """;

    public static TheoryData<string, Func<string>, string?> Requests => new()
    {
        { "RSA", static () => OfRsa(2048, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1), null },
        { "RSA with a masked padding", static () => OfRsa(2048, HashAlgorithmName.SHA384, RSASignaturePadding.Pss), null },
        { "P-256", static () => OfEc(ECCurve.NamedCurves.nistP256), null },
        { "P-521", static () => OfEc(ECCurve.NamedCurves.nistP521), null },
        { "Ed25519", static () => OfEd25519, null },
        { "a small key", static () => OfRsa(512, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1), "crypto/rsa: 512-bit keys are insecure (see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size)" },
        { "another curve", static () => OfEc(ECCurve.NamedCurves.brainpoolP256r1), "x509: unsupported elliptic curve" },
        { "nothing", static () => "", "PEM block type must be CERTIFICATE REQUEST" },
        { "another label", static () => OfEd25519.Replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST", StringComparison.Ordinal), "PEM block type must be CERTIFICATE REQUEST" },
        { "bytes behind the request", static () => Change(OfEd25519, static der => [.. der, 0]), "asn1: syntax error: trailing data" },
        { "another subject", static () => Change(OfEd25519, static der => Flip(der, 24)), "x509: Ed25519 verification failure" },
        { "another signature, RSA", static () => Change(OfRsa(2048, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1), static der => Flip(der, der.Length - 1)), "crypto/rsa: verification error" },
        { "another subject, EC", static () => Change(OfEc(ECCurve.NamedCurves.nistP256), static der => Flip(der, Array.IndexOf(der, (byte)'a'))), "x509: ECDSA verification failure" },
    };

    [Theory]
    [MemberData(nameof(Requests))]
    public void Request_IsJudgedAsUpstreamDoes(string name, Func<string> pem, string? problem)
    {
        _ = name;
        Assert.Equal(problem, CertificateRequestText.Problem(Encoding.ASCII.GetBytes(pem())));
    }

    [Fact]
    public void Request_CutAnywhere_IsRefused()
    {
        var whole = OfEd25519;
        for (var length = 0; length < 150; length += 7)
            Assert.NotNull(CertificateRequestText.Problem(Encoding.ASCII.GetBytes(Change(whole, der => der[..length]))));
    }

    // RFC 8032 §7.1, tests 1, 2 and 3.
    [Theory]
    [InlineData("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "", "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")]
    [InlineData("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72", "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")]
    [InlineData("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82", "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a")]
    public void Ed25519_OfTheStandard_Verifies_AndNothingElseDoes(string key, string message, string signature)
    {
        byte[] owner = Convert.FromHexString(key), text = Convert.FromHexString(message), signed = Convert.FromHexString(signature);
        Assert.True(Ed25519.Verify(owner, text, signed));
        Assert.False(Ed25519.Verify(owner, [.. text, 1], signed));
        Assert.False(Ed25519.Verify(owner, text, Flip(signed, 3)));
        Assert.False(Ed25519.Verify(owner, text, Flip(signed, 40)));
        Assert.False(Ed25519.Verify(Flip(owner, 5), text, signed));
    }

    private static string OfRsa(int bits, HashAlgorithmName hash, RSASignaturePadding padding)
    {
        using var key = RSA.Create(bits);
        return new CertificateRequest("CN=a", key, hash, padding).CreateSigningRequestPem();
    }

    private static string OfEc(ECCurve curve)
    {
        using var key = ECDsa.Create(curve);
        return new CertificateRequest("CN=a", key, HashAlgorithmName.SHA256).CreateSigningRequestPem();
    }

    private static string Change(string pem, Func<byte[], byte[]> change)
    {
        var block = PemEncoding.Find(pem);
        return PemEncoding.WriteString(pem[block.Label], change(Convert.FromBase64String(pem[block.Base64Data])));
    }

    private static byte[] Flip(byte[] bytes, int at)
    {
        var copy = (byte[])bytes.Clone();
        copy[at] ^= 1;
        return copy;
    }
}
