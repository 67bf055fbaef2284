using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Credentials to users, in upstream's order: front proxy, client certificate, bearer token, a WebSocket's token; and who shows none may be anonymous. A
/// credential that is bad is a refusal, never anonymity.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class Authenticator(FrontProxy? proxy, ClientCertificates certificates, ITokenAuthenticator tokens, AnonymousAccess anonymous, ILogger logger)
{
    /// <summary>All kinds of tokens, for reviews.</summary>
    internal ITokenAuthenticator Tokens => tokens;

    /// <summary>The user, or null when no credential is good and anonymity is not allowed there.</summary>
    internal ValueTask<UserInfo?> AuthenticateAsync(HttpApiCall call)
    {
        if (proxy?.Authenticate(call) is { } named)
            return new(named);
        var certificate = call.ClientCertificate;
        if (certificate is not null && certificates.Authenticate(certificate) is { } user)
            return new(user);
        var token = BearerToken.OfHeader(call);
        return token.Length > 0 ? AuthenticateAsync(call, token) : AuthenticateSlow(call, isBadCertificate: certificate is not null);
    }

    private async ValueTask<UserInfo?> AuthenticateAsync(HttpApiCall call, string token)
    {
        var verdict = await tokens.AuthenticateAsync(new TokenQuestion(token, null, call)).ConfigureAwait(false);
        if (verdict.User is null)
        {
            Log.NotAuthenticated(logger, verdict.Error ?? "invalid bearer token");
            return null;
        }
        return verdict.User.AsAuthenticated();
    }

    private async ValueTask<UserInfo?> AuthenticateSlow(HttpApiCall call, bool isBadCertificate)
    {
        var (token, error) = BearerToken.OfProtocols(call, out var others);
        if (token.Length > 0)
        {
            var user = await AuthenticateAsync(call, token).ConfigureAwait(false);
            if (user is not null)
                call.RequestHeaders["Sec-WebSocket-Protocol"] = others;
            return user;
        }
        if (error is not null || isBadCertificate)
        {
            Log.NotAuthenticated(logger, error ?? "the client certificate does not chain to a client CA, is out of time, or names no user");
            return null;
        }
        return anonymous.IsEnabled && (anonymous.Paths.Count == 0 || anonymous.Paths.Contains(System.Text.Encoding.UTF8.GetString(call.Info.Path)))
            ? UserInfo.Anonymous : null;
    }
}
