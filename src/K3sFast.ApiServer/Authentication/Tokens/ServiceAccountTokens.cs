using System.Buffers;
using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>
/// Signs and verifies service-account tokens (RFC 7519, RS256 or ES256/384/512 by the key's kind) and publishes the keys (RFC 7517). The first
/// key signs; all verify. Verified signatures are remembered by the token's hash.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class ServiceAccountTokens
{
    /// <summary>The issuer of tokens that live in Secrets.</summary>
    internal const string LegacyIssuer = "kubernetes/serviceaccount";

    private const string LegacyPrefix = "kubernetes.io/serviceaccount/";

    // Each running pod holds one token at a time; the bound keeps a flood of one-off tokens from growing the table.
    private const int MaxRemembered = 4096;

    private readonly Lazy<JsonWebKey[]> _keys;
    private readonly IReadOnlyList<string> _issuers;
    private readonly ConcurrentDictionary<UInt128, TokenClaims> _verified = new();

    internal ServiceAccountTokens(IReadOnlyList<string> issuers, IReadOnlyList<string> audiences, IReadOnlyList<AsymmetricAlgorithm> keys)
    {
        _issuers = issuers;
        Audiences = audiences;
        // Of a new cluster they may still be in the making: who signs or verifies first waits for them.
        _keys = new(() => keys.Count > 0 ? [.. keys.Select(JsonWebKey.Own)]
            : throw new InvalidOperationException("no service-account key: give at least one RSA or EC private key"));
    }

    /// <summary>The issuer that signs; further ones are only believed.</summary>
    internal string Issuer => _issuers[0];

    internal IReadOnlyList<string> Issuers => _issuers;

    /// <summary>The API server's own audiences: a token must name one of them.</summary>
    internal IReadOnlyList<string> Audiences { get; }

    private JsonWebKey[] Keys => _keys.Value;

    /// <summary>The signing algorithms in use, for the discovery document.</summary>
    internal IEnumerable<string> Algorithms => Keys.Select(static key => key.Algorithm).Distinct();

    internal string Sign(TokenClaims claims)
    {
        var payload = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(payload))
            WriteClaims(json, claims);
        return Sign(payload.WrittenSpan);
    }

    /// <summary>The token of a Secret: it has no end and no audience, and lives as long as the Secret holds it.</summary>
    internal string SignLegacy(string ns, BoundObject account, string secret)
    {
        var payload = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(payload))
        {
            json.WriteStartObject();
            json.WriteString("iss"u8, LegacyIssuer);
            json.WriteString(LegacyPrefix + "namespace", ns);
            json.WriteString(LegacyPrefix + "secret.name", secret);
            json.WriteString(LegacyPrefix + "service-account.name", account.Name);
            json.WriteString(LegacyPrefix + "service-account.uid", account.Uid);
            json.WriteString("sub"u8, $"system:serviceaccount:{ns}:{account.Name}");
            json.WriteEndObject();
        }
        return Sign(payload.WrittenSpan);
    }

    /// <summary>
    /// The token's claims if one of our keys signed it for one of our issuers. Times, audiences and bound objects are for the caller to check.
    /// <paramref name="error"/> stays null when the token is none of ours.
    /// </summary>
    internal TokenClaims? Verify(ReadOnlySpan<byte> token, out string? error)
    {
        error = null;
        if (token.Length > JsonWebToken.MaxBytes)
            return null;
        Span<byte> digest = stackalloc byte[32];
        SHA256.HashData(token, digest);
        var hash = System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(digest);
        if (_verified.TryGetValue(hash, out var known))
            return known;
        var claims = VerifySlow(token, out error);
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
        foreach (var key in Keys)
            key.Write(json);
        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return output.WrittenSpan.ToArray();
    }

    private string Sign(ReadOnlySpan<byte> payload)
    {
        var key = Keys[0];
        var header = new ArrayBufferWriter<byte>(96);
        using (var json = new Utf8JsonWriter(header))
        {
            json.WriteStartObject();
            json.WriteString("alg"u8, key.Algorithm);
            json.WriteString("kid"u8, key.Id);
            json.WriteEndObject();
        }
        var signed = $"{Base64Url.EncodeToString(header.WrittenSpan)}.{Base64Url.EncodeToString(payload)}";
        return $"{signed}.{Base64Url.EncodeToString(key.Sign(System.Text.Encoding.ASCII.GetBytes(signed)))}";
    }

    private TokenClaims? VerifySlow(ReadOnlySpan<byte> text, out string? error)
    {
        error = null;
        using var token = JsonWebToken.Parse(text);
        if (token is null || !(token.Issuer == LegacyIssuer || _issuers.Contains(token.Issuer)))
            return null;
        if (token.KeyId.Length > 0 && !Keys.Any(key => key.Id == token.KeyId))
            error = "invalid signature, no keys found";
        else if (!token.IsSignedBy(Keys))
            error = "go-jose/go-jose: error in cryptographic primitive";
        else if (Read(token.Claims, token.Issuer) is { } claims)
            return claims;
        return null;
    }

    private static TokenClaims? Read(JsonElement root, string issuer)
    {
        if (JsonText.ListOf(root, "aud") is not { } audiences)
            return null;
        var isLegacy = issuer == LegacyIssuer;
        root.TryGetProperty("kubernetes.io"u8, out var kubernetes);
        return new TokenClaims
        {
            Issuer = issuer,
            Audiences = audiences,
            ExpiresAt = JsonText.SecondsOf(root, "exp"u8),
            NotBefore = JsonText.SecondsOf(root, "nbf"u8),
            IssuedAt = JsonText.SecondsOf(root, "iat"u8),
            Id = JsonText.Of(root, "jti"u8),
            Subject = JsonText.Of(root, "sub"u8),
            IsLegacy = isLegacy,
            Namespace = isLegacy ? Legacy(root, "namespace") : JsonText.Of(kubernetes, "namespace"u8),
            ServiceAccount = isLegacy
                ? new BoundObject(Legacy(root, "service-account.name"), Legacy(root, "service-account.uid"))
                : Bound(kubernetes, "serviceaccount"u8) ?? default,
            Secret = isLegacy ? new BoundObject(Legacy(root, "secret.name"), "") : Bound(kubernetes, "secret"u8),
            Pod = Bound(kubernetes, "pod"u8),
            Node = Bound(kubernetes, "node"u8),
            WarnAfter = kubernetes.ValueKind == JsonValueKind.Object ? JsonText.SecondsOf(kubernetes, "warnafter"u8) : 0,
        };
    }

    private static void WriteClaims(Utf8JsonWriter json, TokenClaims claims)
    {
        json.WriteStartObject();
        json.WriteStartArray("aud"u8);
        foreach (var audience in claims.Audiences)
            json.WriteStringValue(audience);
        json.WriteEndArray();
        json.WriteNumber("exp"u8, claims.ExpiresAt);
        json.WriteNumber("iat"u8, claims.IssuedAt);
        json.WriteString("iss"u8, claims.Issuer);
        json.WriteString("jti"u8, claims.Id);
        json.WriteStartObject("kubernetes.io"u8);
        json.WriteString("namespace"u8, claims.Namespace);
        WriteBound(json, "node", claims.Node);
        WriteBound(json, "pod", claims.Pod);
        WriteBound(json, "secret", claims.Secret);
        WriteBound(json, "serviceaccount", claims.ServiceAccount);
        if (claims.WarnAfter > 0)
            json.WriteNumber("warnafter"u8, claims.WarnAfter);
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
        if (present.Uid.Length > 0)
            json.WriteString("uid"u8, present.Uid);
        json.WriteEndObject();
    }

    private static BoundObject? Bound(JsonElement parent, ReadOnlySpan<byte> name) =>
        parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(name, out var bound) && bound.ValueKind == JsonValueKind.Object
            ? new BoundObject(JsonText.Of(bound, "name"u8), JsonText.Of(bound, "uid"u8)) : null;

    private static string Legacy(JsonElement root, string name) => JsonText.Of(root, System.Text.Encoding.UTF8.GetBytes(LegacyPrefix + name));
}
