using System.Text;

namespace K3sFast.ApiServer;

/// <summary>Looks up what tokens refer to; answers from the watch caches.</summary>
internal interface IBoundObjects
{
    /// <summary>The uid of the object and when its deletion began; null when it does not exist. The namespace is "" for nodes.</summary>
    (string Uid, DateTimeOffset? DeletionTimestamp)? Find(string resource, string ns, string name);
}

/// <summary>
/// Service-account tokens to users: signature, issuer, times and audiences, then that the account and whatever the token is bound to still
/// exist with the same uid. Any doubt is a refusal.
/// </summary>
internal sealed class TokenAuthenticator(ServiceAccountTokens tokens, IBoundObjects objects, TimeProvider clock)
{
    // Upstream lets a token of a pod that is being deleted live this much longer, so that graceful shutdown can still talk.
    private static readonly TimeSpan s_deletionLeeway = TimeSpan.FromSeconds(60);

    /// <summary>The token's user, or null. <paramref name="audiences"/> gets those of the token that are among the wanted ones.</summary>
    internal UserInfo? Authenticate(ReadOnlySpan<char> token, IReadOnlyList<string>? wantedAudiences, out List<string> audiences)
    {
        audiences = [];
        if (token.Length is 0 or > 16 * 1024)
            return null;
        var bytes = new byte[Encoding.UTF8.GetByteCount(token)];
        Encoding.UTF8.GetBytes(token, bytes);
        if (tokens.Verify(bytes) is not { } claims)
            return null;
        var now = clock.GetUtcNow();
        var seconds = now.ToUnixTimeSeconds();
        if (claims.ExpiresAt == 0 || seconds >= claims.ExpiresAt || seconds < claims.NotBefore)
            return null;
        foreach (var audience in claims.Audiences)
        {
            if ((wantedAudiences ?? tokens.Audiences).Contains(audience))
                audiences.Add(audience);
        }
        if (audiences.Count == 0)
            return null;
        if (!IsAlive("serviceaccounts", claims.Namespace, claims.ServiceAccount, now)
            || claims.Secret is { } secret && !IsAlive("secrets", claims.Namespace, secret, now)
            || claims.Pod is { } pod && !IsAlive("pods", claims.Namespace, pod, now)
            || claims.Pod is null && claims.Node is { } node && !IsAlive("nodes", "", node, now))
            return null;
        return UserOf(claims);
    }

    private static UserInfo UserOf(TokenClaims claims)
    {
        var extra = new Dictionary<string, string[]>();
        if (claims.Id.Length > 0)
            extra["authentication.kubernetes.io/credential-id"] = [$"JTI={claims.Id}"];
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

    private bool IsAlive(string resource, string ns, BoundObject bound, DateTimeOffset now) =>
        objects.Find(resource, ns, bound.Name) is { } found && found.Uid == bound.Uid
            && (found.DeletionTimestamp is not { } deletion || now <= deletion + s_deletionLeeway);
}
