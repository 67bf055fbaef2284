using System.Buffers;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>An object that a token is bound to, or that it speaks for.</summary>
public readonly record struct BoundObject(string Name, string Uid);

/// <summary>What a service-account token says.</summary>
internal sealed record TokenClaims
{
    internal required string Issuer { get; init; }

    internal required string[] Audiences { get; init; }

    internal required long ExpiresAt { get; init; }

    internal long NotBefore { get; init; }

    internal string Id { get; init; } = "";

    internal required string Namespace { get; init; }

    internal required BoundObject ServiceAccount { get; init; }

    internal BoundObject? Pod { get; init; }

    internal BoundObject? Secret { get; init; }

    internal BoundObject? Node { get; init; }
}

/// <summary>
/// Signs and verifies service-account tokens (RFC 7519 JSON web tokens, RS256 or ES256/384/512 by the key's kind) and publishes the keys
/// (RFC 7517). The first key signs; all verify. Verified signatures are remembered by the token's hash.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ServiceAccountTokens
{
    // Each running pod holds one token at a time; the bound keeps a flood of one-off tokens from growing the table.
    private const int MaxRemembered = 4096;

    private readonly SigningKey[] _keys;
    private readonly ConcurrentDictionary<UInt128, TokenClaims> _verified = new();

    internal ServiceAccountTokens(string issuer, IReadOnlyList<string> audiences, IReadOnlyList<AsymmetricAlgorithm> keys)
    {
        if (keys.Count == 0)
            throw new ArgumentException("no service-account key: give at least one RSA or EC private key", nameof(keys));
        Issuer = issuer;
        Audiences = audiences;
        _keys = [.. keys.Select(static key => new SigningKey(key))];
    }

    internal string Issuer { get; }

    /// <summary>The API server's own audiences: a token must name one of them.</summary>
    internal IReadOnlyList<string> Audiences { get; }

    /// <summary>The signing algorithms in use, for the discovery document.</summary>
    internal IEnumerable<string> Algorithms => _keys.Select(static key => key.Algorithm).Distinct();

    internal string Sign(TokenClaims claims, long issuedAt, long? warnAfter)
    {
        var key = _keys[0];
        var header = new ArrayBufferWriter<byte>(96);
        using (var json = new Utf8JsonWriter(header))
        {
            json.WriteStartObject();
            json.WriteString("alg"u8, key.Algorithm);
            json.WriteString("kid"u8, key.Id);
            json.WriteEndObject();
        }
        var payload = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(payload))
            WriteClaims(json, claims, issuedAt, warnAfter);
        var signed = $"{Base64Url.EncodeToString(header.WrittenSpan)}.{Base64Url.EncodeToString(payload.WrittenSpan)}";
        return $"{signed}.{Base64Url.EncodeToString(key.Sign(System.Text.Encoding.ASCII.GetBytes(signed)))}";
    }

    /// <summary>The token's claims if one of our keys signed it for our issuer. Times, audiences and bound objects are for the caller to check.</summary>
    internal TokenClaims? Verify(ReadOnlySpan<byte> token)
    {
        // Header, payload and signature stay far below this; longer ones are not looked at.
        if (token.Length is < 16 or > 16 * 1024)
            return null;
        Span<byte> digest = stackalloc byte[32];
        SHA256.HashData(token, digest);
        var hash = System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(digest);
        if (_verified.TryGetValue(hash, out var known))
            return known;
        var claims = VerifySlow(token);
        if (claims is null)
            return null;
        if (_verified.Count >= MaxRemembered)
            _verified.Clear();
        _verified[hash] = claims;
        return claims;
    }

    /// <summary>The public keys as a JSON web key set.</summary>
    internal byte[] KeySet()
    {
        var output = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(output);
        json.WriteStartObject();
        json.WriteStartArray("keys"u8);
        foreach (var key in _keys)
            key.WriteJwk(json);
        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return output.WrittenSpan.ToArray();
    }

    private TokenClaims? VerifySlow(ReadOnlySpan<byte> token)
    {
        var firstDot = token.IndexOf((byte)'.');
        var lastDot = token.LastIndexOf((byte)'.');
        if (firstDot <= 0 || lastDot <= firstDot + 1)
            return null;
        try
        {
            var header = Base64Url.DecodeFromUtf8(token[..firstDot]);
            var signature = Base64Url.DecodeFromUtf8(token[(lastDot + 1)..]);
            if (!ReadHeader(header, out var algorithm, out var keyId))
                return null;
            foreach (var key in _keys)
            {
                // The key decides the algorithm, never the token.
                if (key.Algorithm != algorithm || keyId.Length > 0 && keyId != key.Id || !key.Verify(token[..lastDot], signature))
                    continue;
                return ReadClaims(Base64Url.DecodeFromUtf8(token[(firstDot + 1)..lastDot]));
            }
            return null;
        }
        catch (Exception error) when (error is FormatException or JsonException or InvalidOperationException or CryptographicException)
        {
            return null;
        }
    }

    private static bool ReadHeader(byte[] header, out string algorithm, out string keyId)
    {
        using var document = JsonDocument.Parse(header);
        algorithm = Text(document.RootElement, "alg"u8);
        keyId = Text(document.RootElement, "kid"u8);
        return algorithm.Length > 0;
    }

    private TokenClaims? ReadClaims(byte[] payload)
    {
        using var document = JsonDocument.Parse(payload);
        var root = document.RootElement;
        if (Text(root, "iss"u8) != Issuer || !root.TryGetProperty("kubernetes.io"u8, out var kubernetes))
            return null;
        var audiences = new List<string>();
        if (root.TryGetProperty("aud"u8, out var audience))
        {
            if (audience.ValueKind == JsonValueKind.String)
                audiences.Add(audience.GetString()!);
            else if (audience.ValueKind == JsonValueKind.Array)
                audiences.AddRange(audience.EnumerateArray().Select(static a => a.GetString() ?? ""));
        }
        var ns = Text(kubernetes, "namespace"u8);
        var account = Bound(kubernetes, "serviceaccount"u8);
        if (account is not { } subject || ns.Length == 0 || Text(root, "sub"u8) != $"system:serviceaccount:{ns}:{subject.Name}")
            return null;
        return new TokenClaims
        {
            Issuer = Issuer,
            Audiences = [.. audiences],
            ExpiresAt = root.TryGetProperty("exp"u8, out var exp) ? (long)exp.GetDouble() : 0,
            NotBefore = root.TryGetProperty("nbf"u8, out var nbf) ? (long)nbf.GetDouble() : 0,
            Id = Text(root, "jti"u8),
            Namespace = ns,
            ServiceAccount = subject,
            Pod = Bound(kubernetes, "pod"u8),
            Secret = Bound(kubernetes, "secret"u8),
            Node = Bound(kubernetes, "node"u8),
        };
    }

    private static void WriteClaims(Utf8JsonWriter json, TokenClaims claims, long issuedAt, long? warnAfter)
    {
        json.WriteStartObject();
        json.WriteStartArray("aud"u8);
        foreach (var audience in claims.Audiences)
            json.WriteStringValue(audience);
        json.WriteEndArray();
        json.WriteNumber("exp"u8, claims.ExpiresAt);
        json.WriteNumber("iat"u8, issuedAt);
        json.WriteString("iss"u8, claims.Issuer);
        json.WriteString("jti"u8, claims.Id);
        json.WriteStartObject("kubernetes.io"u8);
        json.WriteString("namespace"u8, claims.Namespace);
        WriteBound(json, "node", claims.Node);
        WriteBound(json, "pod", claims.Pod);
        WriteBound(json, "secret", claims.Secret);
        WriteBound(json, "serviceaccount", claims.ServiceAccount);
        if (warnAfter is { } time)
            json.WriteNumber("warnafter"u8, time);
        json.WriteEndObject();
        json.WriteNumber("nbf"u8, claims.NotBefore);
        json.WriteString("sub"u8, $"system:serviceaccount:{claims.Namespace}:{claims.ServiceAccount.Name}");
        json.WriteEndObject();
    }

    private static void WriteBound(Utf8JsonWriter json, string name, BoundObject? bound)
    {
        if (bound is not { } present)
            return;
        json.WriteStartObject(name);
        json.WriteString("name"u8, present.Name);
        json.WriteString("uid"u8, present.Uid);
        json.WriteEndObject();
    }

    private static BoundObject? Bound(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var bound) && bound.ValueKind == JsonValueKind.Object ? new BoundObject(Text(bound, "name"u8), Text(bound, "uid"u8)) : null;

    private static string Text(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    private sealed class SigningKey
    {
        private readonly AsymmetricAlgorithm _key;
        private readonly HashAlgorithmName _hash;

        internal SigningKey(AsymmetricAlgorithm key)
        {
            _key = key;
            Id = Base64Url.EncodeToString(SHA256.HashData(key.ExportSubjectPublicKeyInfo()));
            (Algorithm, _hash) = key switch
            {
                RSA => ("RS256", HashAlgorithmName.SHA256),
                ECDsa { KeySize: 256 } => ("ES256", HashAlgorithmName.SHA256),
                ECDsa { KeySize: 384 } => ("ES384", HashAlgorithmName.SHA384),
                ECDsa { KeySize: 521 } => ("ES512", HashAlgorithmName.SHA512),
                _ => throw new ArgumentException($"service-account key of kind {key.GetType().Name} cannot sign tokens: use RSA, or EC on P-256, P-384 or P-521", nameof(key)),
            };
        }

        internal string Id { get; }

        internal string Algorithm { get; }

        internal byte[] Sign(byte[] data) => _key switch
        {
            RSA rsa => rsa.SignData(data, _hash, RSASignaturePadding.Pkcs1),
            ECDsa ec => ec.SignData(data, _hash),
            _ => throw new InvalidOperationException(),
        };

        internal bool Verify(ReadOnlySpan<byte> data, ReadOnlySpan<byte> signature) => _key switch
        {
            RSA rsa => rsa.VerifyData(data, signature, _hash, RSASignaturePadding.Pkcs1),
            ECDsa ec => ec.VerifyData(data, signature, _hash),
            _ => false,
        };

        internal void WriteJwk(Utf8JsonWriter json)
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
    }
}
