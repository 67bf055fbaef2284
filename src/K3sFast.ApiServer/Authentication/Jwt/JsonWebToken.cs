using System.Buffers.Text;
using System.Text.Json;

namespace K3sFast.ApiServer;

/// <summary>
/// A token in compact form, taken apart but not believed: <c>base64url(header).base64url(payload).base64url(signature)</c> (RFC 7515 §7.1).
/// </summary>
internal sealed class JsonWebToken : IDisposable
{
    // Header, payload and signature of every token in the field stay far below this; longer ones are not looked at.
    internal const int MaxBytes = 16 * 1024;

    // Claims are flat; what nests deeper is no token.
    private const int MaxDepth = 32;

    private readonly JsonDocument _payload;
    private readonly byte[] _signed;
    private readonly byte[] _signature;

    private JsonWebToken(byte[] signed, byte[] signature, string algorithm, string keyId, JsonDocument payload)
    {
        _signed = signed;
        _signature = signature;
        Algorithm = algorithm;
        KeyId = keyId;
        _payload = payload;
    }

    internal string Algorithm { get; }

    /// <summary>The key's name; "" when the token names none.</summary>
    internal string KeyId { get; }

    internal JsonElement Claims => _payload.RootElement;

    internal string Issuer => JsonText.Of(Claims, "iss"u8);

    /// <summary>Null when it has not the form of a token.</summary>
    internal static JsonWebToken? Parse(ReadOnlySpan<byte> token)
    {
        if (token.Length is < 5 or > MaxBytes)
            return null;
        var firstDot = token.IndexOf((byte)'.');
        var lastDot = token.LastIndexOf((byte)'.');
        if (firstDot <= 0 || lastDot <= firstDot + 1 || token[(firstDot + 1)..lastDot].Contains((byte)'.'))
            return null;
        JsonDocument? payload = null;
        try
        {
            var options = new JsonDocumentOptions { MaxDepth = MaxDepth };
            using var header = JsonDocument.Parse(Base64Url.DecodeFromUtf8(token[..firstDot]), options);
            payload = JsonDocument.Parse(Base64Url.DecodeFromUtf8(token[(firstDot + 1)..lastDot]), options);
            if (header.RootElement.ValueKind == JsonValueKind.Object && payload.RootElement.ValueKind == JsonValueKind.Object
                && JsonText.Of(header.RootElement, "alg"u8) is { Length: > 0 } algorithm)
            {
                return new JsonWebToken(
                    token[..lastDot].ToArray(), Base64Url.DecodeFromUtf8(token[(lastDot + 1)..]), algorithm, JsonText.Of(header.RootElement, "kid"u8), payload);
            }
        }
        catch (Exception error) when (error is FormatException or JsonException or InvalidOperationException)
        {
            // Not a token.
        }
        payload?.Dispose();
        return null;
    }

    /// <summary>True if one of the keys signed it (of those with its key id, when it names one).</summary>
    internal bool IsSignedBy(IEnumerable<JsonWebKey> keys)
    {
        foreach (var key in keys)
        {
            if ((KeyId.Length == 0 || key.Id == KeyId) && key.Verify(_signed, _signature, Algorithm))
                return true;
        }
        return false;
    }

    public void Dispose() => _payload.Dispose();
}
