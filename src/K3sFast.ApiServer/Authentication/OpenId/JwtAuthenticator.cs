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
        return Map(claims);
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

    private TokenVerdict Map(Dictionary<string, JsonElement> claims)
    {
        if (!claims.TryGetValue(_issuer.UsernameClaim, out var nameClaim))
            return TokenVerdict.Bad($"oidc: parse username claims {GoText.Quote(_issuer.UsernameClaim)}: claim not present");
        if (nameClaim.ValueKind != JsonValueKind.String)
            return TokenVerdict.Bad($"oidc: parse username claims {GoText.Quote(_issuer.UsernameClaim)}: json: cannot unmarshal {KindOf(nameClaim)} into Go value of type string");
        if (_issuer.UsernameClaim == "email" && claims.TryGetValue("email_verified", out var verified))
        {
            if (verified.ValueKind is not (JsonValueKind.True or JsonValueKind.False))
                return TokenVerdict.Bad($"oidc: parse 'email_verified' claim: json: cannot unmarshal {KindOf(verified)} into Go value of type bool");
            if (verified.ValueKind == JsonValueKind.False)
                return TokenVerdict.Bad("oidc: email not verified");
        }
        var groups = new List<string>();
        if (_issuer.GroupsClaim.Length > 0 && claims.TryGetValue(_issuer.GroupsClaim, out var groupsClaim))
        {
            if (GroupsOf(groupsClaim) is not { } named)
                return TokenVerdict.Bad($"oidc: parse groups claim {GoText.Quote(_issuer.GroupsClaim)}: json: cannot unmarshal {KindOf(groupsClaim)} into Go value of type string");
            groups.AddRange(named.Select(group => _issuer.GroupsPrefix + group));
        }
        var uid = "";
        if (_issuer.UidClaim.Length > 0)
        {
            if (!claims.TryGetValue(_issuer.UidClaim, out var uidClaim))
                return TokenVerdict.Bad($"oidc: parse uid claim {GoText.Quote(_issuer.UidClaim)}: claim not present");
            if (uidClaim.ValueKind != JsonValueKind.String)
                return TokenVerdict.Bad($"oidc: parse uid claim {GoText.Quote(_issuer.UidClaim)}: json: cannot unmarshal {KindOf(uidClaim)} into Go value of type string");
            uid = uidClaim.GetString()!;
        }
        foreach (var (claim, value) in _issuer.RequiredClaims)
        {
            if (!claims.TryGetValue(claim, out var given))
                return TokenVerdict.Bad($"oidc: required claim {claim} not present in ID token");
            if (given.ValueKind != JsonValueKind.String)
                return TokenVerdict.Bad($"oidc: parse claim {claim}: json: cannot unmarshal {KindOf(given)} into Go value of type string");
            if (given.GetString() != value)
                return TokenVerdict.Bad($"oidc: required claim {claim} value does not match. Got = {given.GetString()}, want = {value}");
        }
        var extra = new Dictionary<string, string[]>();
        if (claims.TryGetValue("jti", out var id) && id.ValueKind == JsonValueKind.String && id.GetString()!.Length > 0)
            extra[UserInfo.CredentialIdKey] = [$"JTI={id.GetString()}"];
        return new TokenVerdict(new UserInfo(_issuer.UsernamePrefix + nameClaim.GetString(), groups, uid, extra));
    }

    private static List<string>? GroupsOf(JsonElement claim)
    {
        switch (claim.ValueKind)
        {
            case JsonValueKind.String:
                return [claim.GetString()!];
            case JsonValueKind.Array when claim.EnumerateArray().All(static item => item.ValueKind == JsonValueKind.String):
                return [.. claim.EnumerateArray().Select(static item => item.GetString()!)];
            case JsonValueKind.Null:
                return [];
            default:
                return null;
        }
    }

    private static string KindOf(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        JsonValueKind.Number => "number",
        JsonValueKind.True or JsonValueKind.False => "bool",
        JsonValueKind.String => "string",
        _ => "null",
    };
}
