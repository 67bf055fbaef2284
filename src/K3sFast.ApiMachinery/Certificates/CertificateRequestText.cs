using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// PEM-encoded PKCS#10 certificate requests (RFC 2986) as upstream takes them: the request can be read, and is signed by the key that it names. Keys are
/// RSA, EC on the NIST curves, and Ed25519.
/// </summary>
/// <remarks>Layout: SEQUENCE { info SEQUENCE { version, subject, key SubjectPublicKeyInfo, [0] attributes }, algorithm, signature BIT STRING }.</remarks>
public static class CertificateRequestText
{
    private const string Label = "CERTIFICATE REQUEST";
    private const string Unimplemented = "x509: cannot verify signature: algorithm unimplemented";
    private const string RsaKey = "1.2.840.113549.1.1.1";
    private const string EcKey = "1.2.840.10045.2.1";
    private const string Ed25519Key = "1.3.101.112";
    private const string Pss = "1.2.840.113549.1.1.10";

    // P-224, P-256, P-384, P-521.
    private static readonly HashSet<string> s_curves = ["1.3.132.0.33", "1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];

    // Smaller keys are no longer trusted by upstream's library.
    private const int MinRsaBits = 1024;

    /// <summary>What is wrong with a request, in upstream's words; null when nothing is.</summary>
    public static string? Problem(ReadOnlySpan<byte> pem)
    {
        var text = Encoding.Latin1.GetString(pem);
        if (!PemEncoding.TryFind(text, out var block) || !text.AsSpan()[block.Label].SequenceEqual(Label))
            return $"PEM block type must be {Label}";
        try
        {
            return ProblemOf(Convert.FromBase64String(text[block.Base64Data]));
        }
        catch (AsnContentException)
        {
            return "asn1: structure error: the certificate request cannot be read";
        }
        catch (CryptographicException)
        {
            return "x509: the public key cannot be read";
        }
    }

    private static string? ProblemOf(byte[] der)
    {
        var outer = new AsnReader(der, AsnEncodingRules.DER);
        var request = outer.ReadSequence();
        if (outer.HasData)
            return "asn1: syntax error: trailing data";
        var signed = request.PeekEncodedValue();
        var info = request.ReadSequence();
        info.ReadInteger();
        info.ReadSequence();
        var key = info.PeekEncodedValue();
        var keyInfo = info.ReadSequence();
        var keyKind = keyInfo.ReadSequence();
        var keyAlgorithm = keyKind.ReadObjectIdentifier();
        if (keyAlgorithm == EcKey && !s_curves.Contains(keyKind.ReadObjectIdentifier()))
            return "x509: unsupported elliptic curve";
        var keyBytes = keyInfo.ReadBitString(out _);
        var algorithm = request.ReadSequence();
        var signature = request.ReadBitString(out _);
        if (request.HasData)
            return "asn1: syntax error: trailing data";
        return CheckSignature(keyAlgorithm, key, keyBytes, algorithm, signed.Span, signature);
    }

    private static string? CheckSignature(
        string keyAlgorithm, ReadOnlyMemory<byte> key, byte[] keyBytes, AsnReader algorithm, ReadOnlySpan<byte> signed, byte[] signature)
    {
        var oid = algorithm.ReadObjectIdentifier();
        if (keyAlgorithm == Ed25519Key && keyBytes.Length != Ed25519.KeyBytes)
            return "x509: wrong Ed25519 public key size";
        if (oid == "1.2.840.113549.1.1.4")
            return "x509: cannot verify signature: insecure algorithm MD5-RSA";
        var (family, hash) = FamilyOf(oid, algorithm);
        if (family.Length == 0 || keyAlgorithm is not (RsaKey or EcKey or Ed25519Key))
            return Unimplemented;
        if (family != keyAlgorithm)
            return $"x509: signature algorithm specifies an {NameOf(family)} public key, but have public key of type {GoTypeOf(keyAlgorithm)}";
        switch (keyAlgorithm)
        {
            case RsaKey:
                using (var rsa = RSA.Create())
                {
                    rsa.ImportSubjectPublicKeyInfo(key.Span, out _);
                    if (rsa.KeySize < MinRsaBits)
                        return $"crypto/rsa: {rsa.KeySize}-bit keys are insecure (see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size)";
                    return rsa.VerifyData(signed, signature, hash, oid == Pss ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1) ? null : "crypto/rsa: verification error";
                }
            case EcKey:
                using (var ec = ECDsa.Create())
                {
                    ec.ImportSubjectPublicKeyInfo(key.Span, out _);
                    return ec.VerifyData(signed, signature, hash, DSASignatureFormat.Rfc3279DerSequence) ? null : "x509: ECDSA verification failure";
                }
            default:
                return Ed25519.Verify(keyBytes, signed, signature) ? null : "x509: Ed25519 verification failure";
        }
    }

    // The kind of key that a signature algorithm works with, and its hash; "" for one that upstream does not know.
    private static (string Family, HashAlgorithmName Hash) FamilyOf(string oid, AsnReader parameters) => oid switch
    {
        "1.2.840.113549.1.1.5" or "1.3.14.3.2.29" => (RsaKey, HashAlgorithmName.SHA1),
        "1.2.840.113549.1.1.11" => (RsaKey, HashAlgorithmName.SHA256),
        "1.2.840.113549.1.1.12" => (RsaKey, HashAlgorithmName.SHA384),
        "1.2.840.113549.1.1.13" => (RsaKey, HashAlgorithmName.SHA512),
        Pss => PssHash(parameters) is { } hash ? (RsaKey, hash) : ("", default),
        "1.2.840.10045.4.1" => (EcKey, HashAlgorithmName.SHA1),
        "1.2.840.10045.4.3.2" => (EcKey, HashAlgorithmName.SHA256),
        "1.2.840.10045.4.3.3" => (EcKey, HashAlgorithmName.SHA384),
        "1.2.840.10045.4.3.4" => (EcKey, HashAlgorithmName.SHA512),
        Ed25519Key => (Ed25519Key, default),
        _ => ("", default),
    };

    // RSASSA-PSS-params (RFC 4055 §3.1): [0] hash, [1] mask by the same hash, [2] salt as long as the hash.
    private static HashAlgorithmName? PssHash(AsnReader parameters)
    {
        if (!parameters.HasData)
            return null;
        var fields = parameters.ReadSequence();
        if (!fields.HasData || !fields.PeekTag().HasSameClassAndValue(new Asn1Tag(TagClass.ContextSpecific, 0)))
            return null;
        return fields.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0)).ReadSequence().ReadObjectIdentifier() switch
        {
            "2.16.840.1.101.3.4.2.1" => HashAlgorithmName.SHA256,
            "2.16.840.1.101.3.4.2.2" => HashAlgorithmName.SHA384,
            "2.16.840.1.101.3.4.2.3" => HashAlgorithmName.SHA512,
            _ => null,
        };
    }

    private static string NameOf(string keyAlgorithm) => keyAlgorithm switch { RsaKey => "RSA", EcKey => "ECDSA", _ => "Ed25519" };

    private static string GoTypeOf(string keyAlgorithm) => keyAlgorithm switch { RsaKey => "*rsa.PublicKey", EcKey => "*ecdsa.PublicKey", _ => "ed25519.PublicKey" };
}
