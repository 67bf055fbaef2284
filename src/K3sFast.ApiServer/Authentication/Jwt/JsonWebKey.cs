using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>
/// A key that signs or verifies JSON web tokens (RFC 7517, 7518): RSA with PKCS#1 or PSS padding, or EC on P-256, P-384 or P-521.
/// </summary>
/// <remarks>Immutable. Any thread.</remarks>
internal sealed class JsonWebKey
{
    private readonly AsymmetricAlgorithm _key;

    private JsonWebKey(AsymmetricAlgorithm key, string id, string? algorithm)
    {
        _key = key;
        Id = id;
        Algorithm = algorithm ?? key switch
        {
            RSA => "RS256",
            ECDsa { KeySize: 256 } => "ES256",
            ECDsa { KeySize: 384 } => "ES384",
            ECDsa { KeySize: 521 } => "ES512",
            _ => throw new ArgumentException($"key of kind {key.GetType().Name} cannot sign tokens: use RSA, or EC on P-256, P-384 or P-521", nameof(key)),
        };
    }

    /// <summary>How a token names its key.</summary>
    internal string Id { get; }

    /// <summary>What it signs with.</summary>
    internal string Algorithm { get; }

    /// <summary>One of our own keys: its id is the hash of its public part, as upstream makes it.</summary>
    internal static JsonWebKey Own(AsymmetricAlgorithm key) => new(key, Base64Url.EncodeToString(SHA256.HashData(key.ExportSubjectPublicKeyInfo())), null);

    /// <summary>A key of a published set; null for kinds and uses that no token of ours is signed with.</summary>
    /// <exception cref="CryptographicException">The numbers are no key.</exception>
    internal static JsonWebKey? Read(JsonElement jwk)
    {
        if (JsonText.Of(jwk, "use"u8) is { Length: > 0 } use && use != "sig")
            return null;
        var id = JsonText.Of(jwk, "kid"u8);
        switch (JsonText.Of(jwk, "kty"u8))
        {
            case "RSA":
                return new JsonWebKey(RSA.Create(new RSAParameters { Modulus = Bytes(jwk, "n"u8), Exponent = Bytes(jwk, "e"u8) }), id, null);
            case "EC":
                ECCurve? curve = JsonText.Of(jwk, "crv"u8) switch
                {
                    "P-256" => ECCurve.NamedCurves.nistP256,
                    "P-384" => ECCurve.NamedCurves.nistP384,
                    "P-521" => ECCurve.NamedCurves.nistP521,
                    _ => null,
                };
                return curve is { } known
                    ? new JsonWebKey(ECDsa.Create(new ECParameters { Curve = known, Q = new ECPoint { X = Bytes(jwk, "x"u8), Y = Bytes(jwk, "y"u8) } }), id, null)
                    : null;
            default:
                return null;
        }
    }

    internal byte[] Sign(byte[] data) => _key switch
    {
        RSA rsa => rsa.SignData(data, HashOf(Algorithm), RSASignaturePadding.Pkcs1),
        ECDsa ec => ec.SignData(data, HashOf(Algorithm)),
        _ => throw new InvalidOperationException(),
    };

    /// <summary>True if this key made the signature by that algorithm. The key's kind decides what may be, never the token alone.</summary>
    internal bool Verify(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature, string algorithm) => (_key, algorithm) switch
    {
        (RSA rsa, "RS256" or "RS384" or "RS512") => rsa.VerifyData(data, signature, HashOf(algorithm), RSASignaturePadding.Pkcs1),
        (RSA rsa, "PS256" or "PS384" or "PS512") => rsa.VerifyData(data, signature, HashOf(algorithm), RSASignaturePadding.Pss),
        (ECDsa ec, "ES256" or "ES384" or "ES512") when algorithm == Algorithm => ec.VerifyData(data, signature, HashOf(algorithm)),
        _ => false,
    };

    /// <summary>Writes the public part as a member of a key set.</summary>
    internal void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("use"u8, "sig"u8);
        json.WriteString("kty"u8, _key is RSA ? "RSA"u8 : "EC"u8);
        json.WriteString("kid"u8, Id);
        switch (_key)
        {
            case RSA rsa:
                var parameters = rsa.ExportParameters(false);
                json.WriteString("alg"u8, Algorithm);
                json.WriteString("n"u8, Base64Url.EncodeToString(parameters.Modulus));
                json.WriteString("e"u8, Base64Url.EncodeToString(parameters.Exponent));
                break;
            case ECDsa ec:
                var point = ec.ExportParameters(false).Q;
                json.WriteString("crv"u8, $"P-{ec.KeySize}");
                json.WriteString("alg"u8, Algorithm);
                json.WriteString("x"u8, Base64Url.EncodeToString(point.X));
                json.WriteString("y"u8, Base64Url.EncodeToString(point.Y));
                break;
        }
        json.WriteEndObject();
    }

    private static HashAlgorithmName HashOf(string algorithm) => algorithm[2..] switch
    {
        "256" => HashAlgorithmName.SHA256,
        "384" => HashAlgorithmName.SHA384,
        _ => HashAlgorithmName.SHA512,
    };

    private static byte[] Bytes(JsonElement jwk, ReadOnlySpan<byte> name)
    {
        try
        {
            return Base64Url.DecodeFromChars(JsonText.Of(jwk, name));
        }
        catch (FormatException error)
        {
            throw new CryptographicException("a number of the key is not base64url", error);
        }
    }
}
