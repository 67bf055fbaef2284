using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Kubelet.Server;

/// <summary>Who asks.</summary>
internal sealed record KubeletUser(string Name, string Uid, IReadOnlyList<string> Groups);

/// <summary>
/// Who may use the kubelet's API: client certificates of the cluster's authority, or bearer tokens that the API server knows (TokenReview); what
/// they may do is the API server's decision as well (SubjectAccessReview on the node's subresources). Answers are kept for a while.
/// </summary>
internal sealed class KubeletAuth(KubeletOptions options, ApiClient client, TimeProvider time)
{
    // Upstream's kubelet defaults: tokens 2 min, allowed 5 min, refused 30 s.
    internal static readonly TimeSpan TokenLife = TimeSpan.FromMinutes(2);
    internal static readonly TimeSpan AllowedLife = TimeSpan.FromMinutes(5);
    internal static readonly TimeSpan RefusedLife = TimeSpan.FromSeconds(30);

    // Bounds both caches against a flood of made-up tokens.
    private const int MaxCached = 4096;

    private readonly ConcurrentDictionary<string, (KubeletUser? User, DateTimeOffset Until)> _tokens = new();
    private readonly ConcurrentDictionary<string, (bool IsAllowed, DateTimeOffset Until)> _decisions = new();

    /// <summary>The user, or null: nobody that is known.</summary>
    public async Task<KubeletUser?> AuthenticateAsync(KubeletRequest request)
    {
        if (request.ClientCertificate is { } certificate && Verify(certificate)) return UserOf(certificate);
        var header = request.Header("Authorization").ToString();
        return header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase)
            ? await ReviewTokenAsync(header["Bearer ".Length..].Trim(), request.Aborted).ConfigureAwait(false)
            : null;
    }

    /// <summary>True if the user may do this to the node.</summary>
    public async Task<bool> AuthorizeAsync(KubeletUser user, string method, string path, CancellationToken cancellationToken)
    {
        foreach (var subresource in Subresources(path))
        {
            if (await IsAllowedAsync(user, Verb(method), subresource, cancellationToken).ConfigureAwait(false)) return true;
        }
        return false;
    }

    /// <summary>The verb that a method stands for; a method that stands for none is only for who may do everything.</summary>
    internal static string Verb(string method) => method switch
    {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    };

    // The narrow permission first, then the one for everything.
    internal static string[] Subresources(string path)
    {
        if (IsBelow(path, "/stats")) return ["stats"];
        if (IsBelow(path, "/metrics")) return ["metrics"];
        if (IsBelow(path, "/logs")) return ["log"];
        if (IsBelow(path, "/checkpoint")) return ["checkpoint"];
        if (IsBelow(path, "/statusz")) return ["statusz"];
        if (IsBelow(path, "/flagz")) return ["configz"];
        if (IsBelow(path, "/pods") || IsBelow(path, "/runningpods")) return ["pods", "proxy"];
        if (IsBelow(path, "/healthz")) return ["healthz", "proxy"];
        if (IsBelow(path, "/configz")) return ["configz", "proxy"];
        return ["proxy"];
    }

    private static bool IsBelow(string path, string root) =>
        path.StartsWith(root, StringComparison.Ordinal) && (path.Length == root.Length || path[root.Length] == '/');

    private bool Verify(X509Certificate2 certificate)
    {
        if (options.ClientCAs.Count == 0) return false;
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        foreach (var authority in options.ClientCAs) chain.ChainPolicy.CustomTrustStore.Add(authority);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        // TLS client authentication, RFC 5280 §4.2.1.12.
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.2"));
        return chain.Build(certificate);
    }

    private static KubeletUser UserOf(X509Certificate2 certificate)
    {
        var name = "";
        var groups = new List<string> { "system:authenticated" };
        foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            // CN and O, X.520.
            if (part.GetSingleElementType().Value == "2.5.4.3") name = part.GetSingleElementValue() ?? "";
            else if (part.GetSingleElementType().Value == "2.5.4.10") groups.Add(part.GetSingleElementValue() ?? "");
        }
        return new KubeletUser(name, "", groups);
    }

    private async Task<KubeletUser?> ReviewTokenAsync(string token, CancellationToken cancellationToken)
    {
        if (token.Length == 0) return null;
        var key = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(token)));
        var now = time.GetUtcNow();
        if (_tokens.TryGetValue(key, out var known) && known.Until > now) return known.User;
        var review = new V1TokenReview { ApiVersion = "authentication.k8s.io/v1", Kind = "TokenReview", Spec = new V1TokenReviewSpec { Token = token } };
        var answer = await client.PostAsync<V1TokenReview, V1TokenReview>("/apis/authentication.k8s.io/v1/tokenreviews", review, cancellationToken).ConfigureAwait(false);
        KubeletUser? user = null;
        if (answer.Status?.Authenticated == true && answer.Status.User is { } info) user = new KubeletUser(info.Username ?? "", info.Uid ?? "", [.. info.Groups ?? []]);
        if (_tokens.Count >= MaxCached) _tokens.Clear();
        _tokens[key] = (user, now + TokenLife);
        return user;
    }

    private async Task<bool> IsAllowedAsync(KubeletUser user, string verb, string subresource, CancellationToken cancellationToken)
    {
        // What the API server itself never refuses need not be asked.
        if (user.Groups.Contains("system:masters")) return true;
        var key = $"{user.Name}\0{string.Join('\0', user.Groups)}\0{verb}\0{subresource}";
        var now = time.GetUtcNow();
        if (_decisions.TryGetValue(key, out var known) && known.Until > now) return known.IsAllowed;
        var review = new V1SubjectAccessReview
        {
            ApiVersion = "authorization.k8s.io/v1",
            Kind = "SubjectAccessReview",
            Spec = new V1SubjectAccessReviewSpec
            {
                User = user.Name,
                Uid = user.Uid.Length > 0 ? user.Uid : null,
                Groups = [.. user.Groups],
                ResourceAttributes = new V1ResourceAttributes { Verb = verb, Version = "v1", Resource = "nodes", Subresource = subresource, Name = options.NodeName },
            },
        };
        var path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        var answer = await client.PostAsync<V1SubjectAccessReview, V1SubjectAccessReview>(path, review, cancellationToken).ConfigureAwait(false);
        var isAllowed = answer.Status?.Allowed ?? false;
        if (_decisions.Count >= MaxCached) _decisions.Clear();
        _decisions[key] = (isAllowed, now + (isAllowed ? AllowedLife : RefusedLife));
        return isAllowed;
    }
}
