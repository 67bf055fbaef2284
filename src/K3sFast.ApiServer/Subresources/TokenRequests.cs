using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>serviceaccounts/token: signs a token for the account, bound to a pod, secret or node if asked.</summary>
internal sealed class TokenRequests(ResourceCatalog catalog, ServiceAccountTokens tokens, TimeProvider clock, int maxBodyBytes)
{
    private const long DefaultSeconds = 3600;
    private const long MinSeconds = 600;
    private const long MaxSeconds = 1L << 32;

    // The life that upstream writes into tokens of pods that ask for 3607 seconds, so that old clients that never reload go on: one year.
    // The token warns after the hour that was asked for.
    private const long WarnOnlySeconds = 3607;
    private const long ExtendedSeconds = 365 * 24 * 3600;

    internal async ValueTask CreateAsync(ApiCall call, ResourceEndpoint accounts)
    {
        var type = Schema.BuiltIn.FindType("authentication.k8s.io", "v1", "TokenRequest") ?? throw new InvalidOperationException("the schema has no TokenRequest");
        var format = ResponseFormat.Negotiate(call, allowsProjection: false);
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var request = BodyDecoder.Decode(call, body.Span, type, BodyDecoder.ValidationOf(call, "CreateOptions"));
        Defaulting.Apply(request.Root, type);
        string ns = call.Info.NamespaceText, name = call.Info.NameText;
        using var account = accounts.Storage!.Get(ns, name) ?? throw ApiStatus.NotFound("", "serviceaccounts", name).ToException();

        var spec = request.Root.GetOrAddObject("spec"u8);
        var seconds = spec["expirationSeconds"u8].TryGetInt64(out var given) ? given : DefaultSeconds;
        CheckSubject(request.Root["metadata"u8], ns, name);
        Validate(request.Root, seconds);
        var audiences = new List<string>();
        foreach (var audience in spec["audiences"u8].Elements)
            audiences.Add(audience.AsString());
        if (audiences.Count == 0)
        {
            audiences.AddRange(tokens.Audiences);
            foreach (var audience in audiences)
                spec.GetOrAddArray("audiences"u8).AppendString(System.Text.Encoding.UTF8.GetBytes(audience));
        }

        var now = clock.GetUtcNow().ToUnixTimeSeconds();
        var isExtended = seconds == WarnOnlySeconds && !audiences.Except(tokens.Audiences).Any();
        var claims = Bind(spec["boundObjectRef"u8], ns, new TokenClaims
        {
            Issuer = tokens.Issuer,
            Audiences = [.. audiences],
            ExpiresAt = now + (isExtended ? ExtendedSeconds : seconds),
            NotBefore = now,
            Id = Guid.NewGuid().ToString(),
            Namespace = ns,
            ServiceAccount = new BoundObject(name, account.Uid()),
        });
        var metadata = request.Root.GetOrAddObject("metadata"u8);
        metadata.Set("name"u8, name);
        metadata.Set("namespace"u8, ns);
        metadata.Set("creationTimestamp"u8, ObjectText.Time(clock.GetUtcNow()));
        var status = request.Root.GetOrAddObject("status"u8);
        status.Set("token"u8, tokens.Sign(claims, now, isExtended ? now + seconds : null));
        status.Set("expirationTimestamp"u8, ObjectText.Time(DateTimeOffset.FromUnixTimeSeconds(now + seconds)));
        var output = new System.Buffers.ArrayBufferWriter<byte>(2048);
        JsonCodec.Encode(request.Root, type, output);
        await ResponseWriter.WriteObjectAsync(call, 201, output.WrittenMemory, type, format).ConfigureAwait(false);
    }

    private static void Validate(ApiNode request, long seconds)
    {
        var errors = new FieldErrorList();
        if (seconds < MinSeconds)
            errors.Invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes");
        if (seconds > MaxSeconds)
            errors.Invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds");
        if (errors.Count > 0)
            throw ApiStatus.Invalid("authentication.k8s.io", "TokenRequest", ObjectText.NameOf(request), errors).ToException();
    }

    private static void CheckSubject(ApiNode metadata, string ns, string name)
    {
        if (metadata["namespace"u8] is { Utf8.IsEmpty: false } space && space.AsString() != ns)
            throw ApiStatus.BadRequest("the namespace of the provided object does not match the namespace sent on the request").ToException();
        if (metadata["name"u8].Utf8.IsEmpty || metadata["name"u8].AsString() == name)
            return;
        var errors = new FieldErrorList();
        errors.Invalid("metadata.name", metadata["name"u8].AsString(), "must match the service account name if specified");
        throw ApiStatus.Invalid("authentication.k8s.io", "TokenRequest", name, errors).ToException();
    }

    private static string GroupVersion(string apiVersion) => apiVersion.Contains('/', StringComparison.Ordinal) ? apiVersion : $"/{apiVersion}";

    private TokenClaims Bind(ApiNode reference, string ns, TokenClaims claims)
    {
        if (reference.IsNullOrUndefined)
            return claims;
        var kind = reference["kind"u8].AsString();
        var name = reference["name"u8].AsString();
        var wantedUid = reference["uid"u8].AsString();
        var resource = (kind, reference["apiVersion"u8].AsString()) switch
        {
            ("Pod", "v1") => "pods",
            ("Secret", "v1") => "secrets",
            ("Node", "v1") => "nodes",
            _ => throw ApiStatus.BadRequest($"cannot bind token to object of type {GroupVersion(reference["apiVersion"u8].AsString())}, Kind={kind}").ToException(),
        };
        var storage = catalog.Storage("", resource);
        using var stored = storage.Get(resource == "nodes" ? "" : ns, name) ?? throw ApiStatus.NotFound("", resource, name).ToException();
        var uid = stored.Uid();
        using var pod = storage.Decode(stored);
        if (resource == "pods" && pod.Root["spec"u8]["serviceAccountName"u8].AsString() != claims.ServiceAccount.Name)
        {
            throw ApiStatus.BadRequest(
                $"cannot bind token for serviceaccount {GoText.Quote(claims.ServiceAccount.Name)} to pod running with different serviceaccount name.").ToException();
        }
        if (wantedUid.Length > 0 && wantedUid != uid)
        {
            throw ApiStatus.Conflict("", resource, name,
                $"the UID in the bound object reference ({wantedUid}) does not match the UID in record. The object might have been deleted and then recreated").ToException();
        }
        var bound = new BoundObject(name, uid);
        switch (resource)
        {
            case "secrets": return claims with { Secret = bound };
            case "nodes": return claims with { Node = bound };
        }
        var nodeName = pod.Root["spec"u8]["nodeName"u8].AsString();
        if (nodeName.Length == 0)
            return claims with { Pod = bound };
        using var node = catalog.Storage("", "nodes").Get("", nodeName);
        return claims with { Pod = bound, Node = new BoundObject(nodeName, node?.Uid() ?? "") };
    }
}

/// <summary>What tokens refer to, from the watch caches.</summary>
internal sealed class CachedBoundObjects(ResourceCatalog catalog) : IBoundObjects
{
    private readonly ResourceStorage _accounts = catalog.Storage("", "serviceaccounts");
    private readonly ResourceStorage _secrets = catalog.Storage("", "secrets");
    private readonly ResourceStorage _pods = catalog.Storage("", "pods");
    private readonly ResourceStorage _nodes = catalog.Storage("", "nodes");

    public (string Uid, DateTimeOffset? DeletionTimestamp)? Find(string resource, string ns, string name)
    {
        var storage = resource switch { "serviceaccounts" => _accounts, "secrets" => _secrets, "pods" => _pods, _ => _nodes };
        using var stored = storage.Get(ns, name);
        if (stored is null)
            return null;
        // The word is looked for before anything is decoded: hardly any object is being deleted.
        if (stored.Json.IndexOf("\"deletionTimestamp\":\""u8) < 0)
            return (stored.Uid(), null);
        using var document = storage.Decode(stored);
        return (stored.Uid(), ObjectText.TryParseTime(document.Root["metadata"u8]["deletionTimestamp"u8], out var time) ? time : null);
    }
}
