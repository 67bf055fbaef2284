using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Text.Json;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// The groups claim when the token only says where it is (OpenID Connect Core 1.0 §5.6.2): <c>_claim_names</c> and <c>_claim_sources</c> name an endpoint that
/// answers with another signed token, which is verified by its own issuer's keys.
/// </summary>
internal sealed class DistributedClaims(JwtIssuer issuer, HttpClient client, TimeProvider clock, ILogger logger)
{
    // An issuer whose users' claims come from more places than this is not one that exists.
    private const int MaxProviders = 64;

    private readonly ConcurrentDictionary<string, OpenIdProvider> _providers = new();

    /// <summary>Adds the groups claim if it is elsewhere. Null when there is nothing (more) to add, else what went wrong.</summary>
    internal async ValueTask<string?> ExpandAsync(Dictionary<string, JsonElement> claims, CancellationToken cancel)
    {
        var claim = issuer.GroupsClaim;
        if (claim.Length == 0 || claims.ContainsKey(claim) || !claims.TryGetValue("_claim_names", out var names))
            return null;
        if (names.ValueKind != JsonValueKind.Object)
            return "oidc: error parsing distributed claim names: no object";
        if (!claims.TryGetValue("_claim_sources", out var sources))
            return "oidc: no claim sources";
        if (JsonText.Of(names, System.Text.Encoding.UTF8.GetBytes(claim)) is not { Length: > 0 } source)
            return null;
        if (sources.ValueKind != JsonValueKind.Object || !sources.TryGetProperty(source, out var endpoint))
            return $"id token _claim_names contained a source {source} missing in _claims_sources";
        var url = JsonText.Of(endpoint, "endpoint"u8);
        return url.Length == 0 ? null : await ResolveAsync(claims, claim, url, JsonText.Of(endpoint, "access_token"u8), cancel).ConfigureAwait(false);
    }

    private async Task<string?> ResolveAsync(Dictionary<string, JsonElement> claims, string claim, string url, string accessToken, CancellationToken cancel)
    {
        byte[] answer;
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            if (accessToken.Length > 0)
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", accessToken);
            using var response = await client.SendAsync(request, cancel).ConfigureAwait(false);
            response.EnsureSuccessStatusCode();
            answer = await response.Content.ReadAsByteArrayAsync(cancel).ConfigureAwait(false);
        }
        catch (Exception error) when (error is HttpRequestException or UriFormatException or InvalidOperationException)
        {
            return $"while getting distributed claim {GoText.Quote(claim)}: {error.Message}";
        }
        using var token = JsonWebToken.Parse(answer.AsSpan().Trim((byte)'\n'));
        if (token is null)
            return $"getting untrusted issuer from endpoint {url} failed for claim {GoText.Quote(claim)}: oidc: malformed jwt";
        if (!_providers.TryGetValue(token.Issuer, out var provider))
        {
            if (_providers.Count >= MaxProviders)
                return $"verifying untrusted issuer {token.Issuer} failed: too many issuers";
            provider = _providers.GetOrAdd(token.Issuer, new OpenIdProvider(token.Issuer, "", client, clock, logger));
        }
        if (!provider.IsReady && !(Uri.TryCreate(token.Issuer, UriKind.Absolute, out _) && await provider.TryDiscoverAsync(cancel).ConfigureAwait(false)))
            return $"verifying untrusted issuer {token.Issuer} failed: verifier not initialized for issuer: {GoText.Quote(token.Issuer)}";
        if (await JwtAuthenticator.CheckAsync(token, issuer, provider, clock, cancel).ConfigureAwait(false) is { } bad)
            return $"verify distributed claim token: {bad}";
        if (!token.Claims.TryGetProperty(claim, out var value))
            return $"jwt returned by distributed claim endpoint {GoText.Quote(url)} did not contain claim: {claim}";
        claims[claim] = value.Clone();
        return null;
    }
}
