using System.Collections.Concurrent;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Kubelet.Volumes;

/// <summary>
/// Service account tokens bound to pods, asked for by TokenRequest and kept until they should be renewed: at 80 % of their life, or after a day,
/// with some jitter so that not all pods ask at once.
/// </summary>
internal sealed class TokenManager(ApiClient client, TimeProvider time)
{
    private static readonly TimeSpan s_maxAge = TimeSpan.FromHours(24);

    private readonly ConcurrentDictionary<string, Token> _tokens = new();

    /// <summary>A token that is good for a while.</summary>
    /// <exception cref="ApiException">The API refuses, and no older token is still valid.</exception>
    public async Task<string> GetAsync(V1Pod pod, string audience, long expirationSeconds, CancellationToken cancellationToken)
    {
        var account = string.IsNullOrEmpty(pod.Spec.ServiceAccountName) ? "default" : pod.Spec.ServiceAccountName;
        var key = $"{pod.Metadata.Uid}/{account}/{audience}/{expirationSeconds}";
        var now = time.GetUtcNow();
        _tokens.TryGetValue(key, out var known);
        if (known is not null && now < known.RenewAt) return known.Value;
        try
        {
            var request = new Authenticationv1TokenRequest
            {
                ApiVersion = "authentication.k8s.io/v1",
                Kind = "TokenRequest",
                Spec = new V1TokenRequestSpec
                {
                    Audiences = audience.Length > 0 ? [audience] : [],
                    ExpirationSeconds = expirationSeconds,
                    BoundObjectRef = new V1BoundObjectReference { ApiVersion = "v1", Kind = "Pod", Name = pod.Metadata.Name, Uid = pod.Metadata.Uid },
                },
            };
            var path = Resources.ServiceAccounts.Path(pod.Metadata.NamespaceProperty, account, "token");
            var answer = await client.PostAsync<Authenticationv1TokenRequest, Authenticationv1TokenRequest>(path, request, cancellationToken).ConfigureAwait(false);
            var expires = new DateTimeOffset(DateTime.SpecifyKind(answer.Status.ExpirationTimestamp ?? now.UtcDateTime + TimeSpan.FromSeconds(expirationSeconds), DateTimeKind.Utc));
            var life = TimeSpan.FromSeconds(answer.Spec?.ExpirationSeconds ?? expirationSeconds);
            var renewAt = expires - (life * 0.2) - TimeSpan.FromSeconds(Random.Shared.NextDouble() * 10);
            if (renewAt > now + s_maxAge) renewAt = now + s_maxAge - TimeSpan.FromSeconds(Random.Shared.NextDouble() * 60);
            _tokens[key] = new Token(answer.Status.Token, renewAt, expires);
            return answer.Status.Token;
        }
        catch (Exception e) when (e is ApiException or HttpRequestException or IOException && known is not null && now < known.ExpiresAt)
        {
            // The old one is still good; asked again at the next look.
            return known!.Value;
        }
    }

    /// <summary>When some token of the pod should be renewed; null = it has none.</summary>
    public DateTimeOffset? NextRenewal(string podUid)
    {
        DateTimeOffset? next = null;
        foreach (var (key, token) in _tokens)
        {
            if (key.StartsWith(podUid + "/", StringComparison.Ordinal) && (next is null || token.RenewAt < next)) next = token.RenewAt;
        }
        return next;
    }

    public void Forget(string podUid)
    {
        foreach (var key in _tokens.Keys)
        {
            if (key.StartsWith(podUid + "/", StringComparison.Ordinal)) _tokens.TryRemove(key, out _);
        }
    }

    private sealed record Token(string Value, DateTimeOffset RenewAt, DateTimeOffset ExpiresAt);
}
