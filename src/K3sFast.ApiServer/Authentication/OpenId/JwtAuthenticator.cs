using System.Globalization;
using System.Text;
using System.Text.Json;
using K3sFast.ApiMachinery;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Tokens of one foreign issuer to users: issuer, signature by its published keys, audience, times, required claims; then claims become name, groups and
/// uid by the configured mapping.
/// </summary>
internal sealed class JwtAuthenticator : ITokenAuthenticator, IDisposable
{
    // A clock that runs behind by this much still takes a fresh token; go-oidc's allowance for nbf.
    private static readonly TimeSpan s_notBeforeLeeway = TimeSpan.FromMinutes(5);

    private readonly JwtIssuer _issuer;
    private readonly TimeProvider _clock;
    private readonly HttpClient _client;
    private readonly OpenIdProvider _provider;
    private readonly DistributedClaims _distributed;
    private readonly JwtUserMapping _mapping;

    internal JwtAuthenticator(JwtIssuer issuer, TimeProvider clock, ILogger logger)
    {
        _issuer = issuer;
        _clock = clock;
        _client = new HttpClient(new SocketsHttpHandler { SslOptions = TlsTrust.Options(issuer.Authorities), UseCookies = false })
        {
            Timeout = TimeSpan.FromSeconds(30),
            // Discovery documents and key sets are a few KB.
            MaxResponseContentBufferSize = 1024 * 1024,
        };
        _provider = new OpenIdProvider(issuer.Url, issuer.DiscoveryUrl, _client, clock, logger);
        _distributed = new DistributedClaims(issuer, _client, clock, logger);
        _mapping = new JwtUserMapping(issuer);
    }

    internal OpenIdProvider Provider => _provider;

    public async ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question)
    {
        using var token = JsonWebToken.Parse(Encoding.UTF8.GetBytes(question.Token));
        if (token is null || token.Issuer != _issuer.Url)
            return default;
        if (!_provider.IsReady)
            return TokenVerdict.Bad("oidc: authenticator not initialized");
        var cancel = question.Call.Aborted;
        if (await CheckAsync(token, _issuer, _provider, _clock, cancel).ConfigureAwait(false) is { } bad)
            return TokenVerdict.Bad($"oidc: verify token: {bad}");
        var claims = new Dictionary<string, JsonElement>();
        foreach (var claim in token.Claims.EnumerateObject())
            claims[claim.Name] = claim.Value;
        if (await _distributed.ExpandAsync(claims, cancel).ConfigureAwait(false) is { } missing)
            return TokenVerdict.Bad($"oidc: could not expand distributed claims: {missing}");
        return _mapping.Map(claims);
    }

    public void Dispose() => _client.Dispose();

    /// <summary>Null when the token is good; else what is wrong with it.</summary>
    internal static async ValueTask<string?> CheckAsync(JsonWebToken token, JwtIssuer issuer, OpenIdProvider provider, TimeProvider clock, CancellationToken cancel)
    {
        if (!issuer.Algorithms.Contains(token.Algorithm))
        {
            var expected = string.Join(' ', issuer.Algorithms.Select(static a => GoText.Quote(a)));
            return $"oidc: id token signed with unsupported algorithm, expected [{expected}] got {GoText.Quote(token.Algorithm)}";
        }
        var audiences = JsonText.ListOf(token.Claims, "aud") ?? [];
        if (!issuer.Audiences.Any(audiences.Contains))
        {
            var wanted = issuer.Audiences.Count == 1
                ? GoText.Quote(issuer.Audiences[0])
                : $"in [{string.Join(' ', issuer.Audiences.Order(StringComparer.Ordinal).Select(static a => GoText.Quote(a)))}]";
            return $"oidc: expected audience {wanted} got [{string.Join(' ', audiences.Select(static a => GoText.Quote(a)))}]";
        }
        var now = clock.GetUtcNow();
        var expiry = JsonText.SecondsOf(token.Claims, "exp"u8);
        if (now.ToUnixTimeSeconds() >= expiry)
            return string.Create(CultureInfo.InvariantCulture, $"oidc: token is expired (Token Expiry: {DateTimeOffset.FromUnixTimeSeconds(expiry):yyyy-MM-dd HH:mm:ss} +0000 UTC)");
        if (JsonText.SecondsOf(token.Claims, "nbf"u8) is > 0 and var start && (now + s_notBeforeLeeway).ToUnixTimeSeconds() < start)
            return string.Create(CultureInfo.InvariantCulture, $"oidc: current time {now:yyyy-MM-dd HH:mm:ss} before the nbf (not before) time: {DateTimeOffset.FromUnixTimeSeconds(start):yyyy-MM-dd HH:mm:ss}");
        return await provider.VerifyAsync(token, cancel).ConfigureAwait(false);
    }
}
