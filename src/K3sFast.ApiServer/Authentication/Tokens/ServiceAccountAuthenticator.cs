using System.Security.Cryptography;
using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Service-account tokens to users: signature, issuer, times and audiences, then that the account and whatever the token is bound to still
/// exist with the same uid. A token of a Secret must be the one that the Secret holds. Any doubt is a refusal, in upstream's words.
/// </summary>
internal sealed class ServiceAccountAuthenticator(ServiceAccountTokens tokens, IBoundObjects objects, LegacyTokenTracking tracking, TimeProvider clock) : ITokenAuthenticator
{
    // Clocks may differ by this much, and an object that is being deleted keeps its tokens this much longer, so that graceful shutdown can still talk.
    private const long LeewaySeconds = 60;

    private const string Invalidated = "service account token has been invalidated";

    public ValueTask<TokenVerdict> AuthenticateAsync(TokenQuestion question) => new(Authenticate(question));

    private TokenVerdict Authenticate(TokenQuestion question)
    {
        if (question.Token.Length > JsonWebToken.MaxBytes)
            return default;
        var bytes = new byte[Encoding.UTF8.GetByteCount(question.Token)];
        Encoding.UTF8.GetBytes(question.Token, bytes);
        if (tokens.Verify(bytes, out var error) is not { } claims)
            return new TokenVerdict(null, error);
        var held = claims.Audiences;
        if (held.Count == 0)
        {
            question.Call.Annotate("authentication.k8s.io/legacy-token", claims.Subject);
            held = tokens.Audiences;
        }
        var wanted = question.Audiences ?? tokens.Audiences;
        var audiences = held.Where(wanted.Contains).ToList();
        if (audiences.Count == 0)
            return TokenVerdict.Bad($"token audiences {Quote(held)} is invalid for the target audiences {Quote(wanted)}");
        var refusal = claims.IsLegacy ? CheckLegacy(claims, bytes, question.Call) : Check(claims, question.Call);
        return refusal is null ? new TokenVerdict(UserOf(claims), null, audiences) : TokenVerdict.Bad(refusal);
    }

    private string? Check(TokenClaims claims, ApiCall call)
    {
        var now = clock.GetUtcNow();
        var seconds = now.ToUnixTimeSeconds();
        if (claims.NotBefore > 0 && seconds + LeewaySeconds < claims.NotBefore)
            return "service account token is not valid yet";
        if (claims.ExpiresAt > 0 && seconds - LeewaySeconds > claims.ExpiresAt)
            return "service account token has expired";
        if (claims.IssuedAt > 0 && seconds + LeewaySeconds < claims.IssuedAt)
            return "service account token is issued in the future";
        var account = claims.ServiceAccount;
        if (objects.Find("serviceaccounts", claims.Namespace, account.Name) is not { } found)
            return $"serviceaccounts {GoText.Quote(account.Name)} not found";
        if (found.Uid != account.Uid)
            return $"service account UID ({found.Uid}) does not match claim ({account.Uid})";
        if (IsGone(found.DeletionTimestamp, now))
            return $"service account {claims.Namespace}/{account.Name} has been deleted";
        var refusal = claims.Secret is { } secret ? CheckBound("secrets", "secret", claims.Namespace, secret, now) : null;
        if (claims.Pod is { } pod)
            refusal ??= CheckBound("pods", "pod", claims.Namespace, pod, now);
        else if (claims.Node is { } node)
            refusal ??= CheckBound("nodes", "node", "", node, now);
        if (refusal is null && claims.WarnAfter > 0 && seconds > claims.WarnAfter)
        {
            call.Annotate(
                "authentication.k8s.io/stale-token", $"subject: {claims.Subject}, seconds after warning threshold: {seconds - claims.WarnAfter}");
        }
        return refusal;
    }

    private string? CheckBound(string resource, string kind, string ns, BoundObject bound, DateTimeOffset now)
    {
        if (objects.Find(resource, ns, bound.Name) is not { } found)
            return Invalidated;
        if (found.Uid != bound.Uid)
            return $"{kind} UID ({found.Uid}) does not match service account {kind} ref claim ({bound.Uid})";
        return IsGone(found.DeletionTimestamp, now) ? Invalidated : null;
    }

    private string? CheckLegacy(TokenClaims claims, byte[] token, ApiCall call)
    {
        if (claims.Subject.Length == 0)
            return "sub claim is missing";
        if (claims.Namespace.Length == 0)
            return "namespace claim is missing";
        if (claims.Secret is not { Name: { Length: > 0 } secretName })
            return "secretName claim is missing";
        var account = claims.ServiceAccount;
        if (account.Name.Length == 0)
            return "serviceAccountName claim is missing";
        if (account.Uid.Length == 0)
            return "serviceAccountUID claim is missing";
        if (claims.Subject != $"system:serviceaccount:{claims.Namespace}:{account.Name}")
            return "sub claim is invalid";
        if (objects.FindTokenSecret(claims.Namespace, secretName) is not { IsDeleting: false } secret)
            return "Token has been invalidated";
        if (!CryptographicOperations.FixedTimeEquals(secret.Token, token))
            return "Token does not match server's copy";
        if (objects.Find("serviceaccounts", claims.Namespace, account.Name) is not { } found)
            return $"serviceaccounts {GoText.Quote(account.Name)} not found";
        if (found.DeletionTimestamp is not null)
            return $"ServiceAccount {claims.Namespace}/{account.Name} has been deleted";
        if (found.Uid != account.Uid)
            return $"ServiceAccount UID ({found.Uid}) does not match claim ({account.Uid})";

        tracking.NoteUse(claims.Namespace, secretName, secret.LastUsed);
        if (secret.InvalidSince.Length > 0)
        {
            call.Annotate("authentication.k8s.io/legacy-token-invalidated", $"{secretName}/{claims.Namespace}");
            return $"the token in secret {claims.Namespace}/{secretName} for service account {claims.Namespace}/{account.Name} has been marked invalid. "
                + "Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '"
                + LegacyTokenTracking.InvalidSinceLabel + "' label from the secret to temporarily allow use of this token";
        }
        if (objects.AccountNamesSecret(claims.Namespace, account.Name, secretName))
        {
            call.AddWarning("Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.");
            call.Annotate("authentication.k8s.io/legacy-token-autogenerated-secret", secretName);
        }
        else
        {
            call.Annotate("authentication.k8s.io/legacy-token-manual-secret", secretName);
        }
        return null;
    }

    private static bool IsGone(DateTimeOffset? deletion, DateTimeOffset now) => deletion is { } time && time < now - TimeSpan.FromSeconds(LeewaySeconds);

    private static UserInfo UserOf(TokenClaims claims)
    {
        var extra = new Dictionary<string, string[]>();
        if (claims.Id.Length > 0)
            extra[UserInfo.CredentialIdKey] = [$"JTI={claims.Id}"];
        if (claims.Pod is { } pod)
        {
            extra["authentication.kubernetes.io/pod-name"] = [pod.Name];
            extra["authentication.kubernetes.io/pod-uid"] = [pod.Uid];
        }
        if (claims.Node is { } node)
        {
            extra["authentication.kubernetes.io/node-name"] = [node.Name];
            if (node.Uid.Length > 0)
                extra["authentication.kubernetes.io/node-uid"] = [node.Uid];
        }
        return UserInfo.ServiceAccount(claims.Namespace, claims.ServiceAccount.Name, claims.ServiceAccount.Uid, extra);
    }

    private static string Quote(IEnumerable<string> values) => $"[{string.Join(' ', values.Select(static v => GoText.Quote(v)))}]";
}
