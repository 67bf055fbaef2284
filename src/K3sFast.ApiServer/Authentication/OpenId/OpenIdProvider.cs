using System.Security.Cryptography;
using System.Text.Json;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// An issuer's signing keys: its discovery document is asked for until it is there (the issuer may run on this very cluster), then its keys are
/// held and asked for anew when a token names one that is not known.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class OpenIdProvider(string issuer, string discoveryUrl, HttpClient client, TimeProvider clock, ILogger logger)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(10);

    // Anybody can make up a token with an unknown key: not more often than this do such tokens cost the issuer a request.
    private static readonly TimeSpan s_refreshPeriod = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _refreshing = new(1);
    private JsonWebKey[] _keys = [];
    private Uri? _keysUrl;
    private long _refreshed;

    /// <summary>True when the discovery document was read.</summary>
    internal bool IsReady => Volatile.Read(ref _keysUrl) is not null;

    /// <summary>Why it is not ready, from the last try.</summary>
    internal string LastFailure { get; private set; } = "not initialized";

    /// <summary>Asks for the discovery document until it is there.</summary>
    internal async Task StartAsync(CancellationToken cancel)
    {
        while (!await TryDiscoverAsync(cancel).ConfigureAwait(false))
            await Task.Delay(s_retry, clock, cancel).ConfigureAwait(false);
    }

    internal async Task<bool> TryDiscoverAsync(CancellationToken cancel)
    {
        try
        {
            using var document = JsonDocument.Parse(await client.GetByteArrayAsync(DiscoveryUri(), cancel).ConfigureAwait(false));
            var named = JsonText.Of(document.RootElement, "issuer"u8);
            if (named != issuer)
                throw new JsonException($"oidc: issuer did not match the issuer returned by provider, expected {GoText.Quote(issuer)} got {GoText.Quote(named)}");
            if (!Uri.TryCreate(JsonText.Of(document.RootElement, "jwks_uri"u8), UriKind.Absolute, out var keys))
                throw new JsonException("provider did not return JWKS URL");
            Volatile.Write(ref _keysUrl, keys);
            return true;
        }
        catch (Exception error) when (error is HttpRequestException or JsonException || error is OperationCanceledException && !cancel.IsCancellationRequested)
        {
            LastFailure = error.Message;
            Log.IssuerNotReady(logger, issuer, error.Message);
            return false;
        }
    }

    /// <summary>Null when one of the issuer's keys signed the token; else what is wrong.</summary>
    internal async ValueTask<string?> VerifyAsync(JsonWebToken token, CancellationToken cancel)
    {
        if (token.IsSignedBy(Volatile.Read(ref _keys)))
            return null;
        try
        {
            if (await RefreshAsync(cancel).ConfigureAwait(false) && token.IsSignedBy(Volatile.Read(ref _keys)))
                return null;
            return "failed to verify signature: failed to verify id token signature";
        }
        catch (Exception error) when (error is HttpRequestException or JsonException or CryptographicException
            || error is OperationCanceledException && !cancel.IsCancellationRequested)
        {
            return $"failed to verify signature: fetching keys oidc: get keys failed {error.Message}";
        }
    }

    // False when the keys were looked at just now.
    private async Task<bool> RefreshAsync(CancellationToken cancel)
    {
        var asked = clock.GetTimestamp();
        await _refreshing.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            // Somebody else refreshed while this one waited.
            if (_refreshed > asked)
                return true;
            if (_refreshed != 0 && clock.GetElapsedTime(_refreshed) < s_refreshPeriod)
                return false;
            using var document = JsonDocument.Parse(await client.GetByteArrayAsync(_keysUrl, cancel).ConfigureAwait(false));
            _refreshed = clock.GetTimestamp();
            var keys = new List<JsonWebKey>();
            if (document.RootElement.TryGetProperty("keys"u8, out var list) && list.ValueKind == JsonValueKind.Array)
            {
                foreach (var item in list.EnumerateArray())
                {
                    if (JsonWebKey.Read(item) is { } key)
                        keys.Add(key);
                }
            }
            Volatile.Write(ref _keys, [.. keys]);
            return true;
        }
        finally
        {
            _refreshing.Release();
        }
    }

    private Uri DiscoveryUri() => new(discoveryUrl.Length > 0 ? discoveryUrl : issuer.TrimEnd('/') + "/.well-known/openid-configuration");
}
