using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>How long tokens of service accounts may live.</summary>
public sealed record ServiceAccountTokenOptions
{
    /// <summary>Tokens that admission put into pods live a year, and are only noted as stale after the hour that was asked for.</summary>
    public bool ExtendsExpiration { get; init; } = true;

    /// <summary>Longer lives are shortened to this; zero = no limit.</summary>
    public TimeSpan MaxExpiration { get; init; }
}

/// <summary>serviceaccounts/token: signs a token for the account, bound to a pod, secret or node if asked.</summary>
internal sealed class TokenRequests(
    ResourceCatalog catalog, ServiceAccountTokens tokens, ServiceAccountTokenOptions options, WriteFlow writes, TimeProvider clock, int maxBodyBytes)
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
        call.Audit?.SetRequestObject(request.Root);
        var metadata = request.Root.GetOrAddObject("metadata"u8);
        if (metadata["namespace"u8] is { Utf8.IsEmpty: false } space && space.AsString() != ns)
            throw ApiStatus.BadRequest("the namespace of the provided object does not match the namespace sent on the request").ToException();
        // Before the defaults are put in: a node may ask for no audience, but not for all of ours.
        var isDryRun = BodyDecoder.IsDryRun(call, "CreateOptions");
        var admitted = AdmissionContext.OfCreate(call, accounts.Info, "token", name, type, request.Root, isDryRun);
        await writes.MutateAsync(admitted, call.Aborted).ConfigureAwait(false);
        CheckName(metadata, name);
        using var account = accounts.Storage!.Get(ns, name) ?? throw ApiStatus.NotFound("", "serviceaccounts", name).ToException();
        var accountUid = account.Uid();
        if (metadata["uid"u8].AsString() is { Length: > 0 } uid && uid != accountUid)
        {
            throw ApiStatus.Conflict("authentication.k8s.io", "TokenRequest", name,
                $"the UID in the token request ({uid}) does not match the UID of the service account ({accountUid})").ToException();
        }

        var spec = request.Root.GetOrAddObject("spec"u8);
        var seconds = spec["expirationSeconds"u8].TryGetInt64(out var given) ? given : DefaultSeconds;
        var audiences = new List<string>();
        foreach (var audience in spec["audiences"u8].Elements)
            audiences.Add(audience.AsString());
        if (audiences.Count == 0)
        {
            audiences.AddRange(tokens.Audiences);
            foreach (var audience in audiences)
                spec.GetOrAddArray("audiences"u8).AppendString(System.Text.Encoding.UTF8.GetBytes(audience));
        }
        var issued = clock.GetUtcNow();
        metadata.Set("name"u8, name);
        metadata.Set("namespace"u8, ns);
        metadata.Set("uid"u8, accountUid);
        metadata.Set("creationTimestamp"u8, ObjectText.Time(issued));
        Validate(request.Root, seconds);
        await writes.ValidateAsync(admitted, call.Aborted).ConfigureAwait(false);
        var now = issued.ToUnixTimeSeconds();
        var claims = Bind(spec["boundObjectRef"u8], ns, new TokenClaims
        {
            Issuer = tokens.Issuer,
            Audiences = audiences,
            ExpiresAt = 0,
            NotBefore = now,
            IssuedAt = now,
            Id = Guid.NewGuid().ToString(),
            Namespace = ns,
            ServiceAccount = new BoundObject(name, accountUid),
        });
        var max = (long)options.MaxExpiration.TotalSeconds;
        if (max > 0 && seconds > max)
        {
            call.AddWarning($"requested expiration of {seconds} seconds shortened to {max} seconds");
            seconds = max;
            spec.Set("expirationSeconds"u8, seconds);
        }
        var isExtended = options.ExtendsExpiration && claims.Pod is not null && seconds == WarnOnlySeconds && !audiences.Except(tokens.Audiences).Any();
        claims = claims with { ExpiresAt = now + (isExtended ? ExtendedSeconds : seconds), WarnAfter = isExtended ? now + seconds : 0 };
        var status = request.Root.GetOrAddObject("status"u8);
        status.Clear();
        status.Set("token"u8, tokens.Sign(claims));
        status.Set("expirationTimestamp"u8, ObjectText.Time(DateTimeOffset.FromUnixTimeSeconds(now + seconds)));
        call.Annotate("authentication.kubernetes.io/issued-credential-id", $"JTI={claims.Id}");
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
            throw ApiStatus.Invalid("authentication.k8s.io", "TokenRequest", "", errors).ToException();
    }

    private static void CheckName(ApiNode metadata, string name)
    {
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
        var version = reference["apiVersion"u8].AsString();
        // The version does not matter, the group does.
        var resource = version.Contains('/', StringComparison.Ordinal) ? "" : kind switch { "Pod" => "pods", "Secret" => "secrets", "Node" => "nodes", _ => "" };
        if (resource.Length == 0)
            throw ApiStatus.BadRequest($"cannot bind token to object of type {GroupVersion(version)}, Kind={kind}").ToException();
        var storage = catalog.Storage("", resource);
        using var stored = storage.Get(resource == "nodes" ? "" : ns, name) ?? throw ApiStatus.NotFound("", resource, name).ToException();
        var uid = stored.Uid();
        var bound = new BoundObject(name, uid);
        if (resource == "pods")
        {
            claims = BindPod(storage, stored, bound, claims);
        }
        else
        {
            claims = resource == "secrets" ? claims with { Secret = bound } : claims with { Node = bound };
        }
        if (wantedUid.Length > 0 && wantedUid != uid)
        {
            throw ApiStatus.Conflict("", kind, name,
                $"the UID in the bound object reference ({wantedUid}) does not match the UID in record. The object might have been deleted and then recreated").ToException();
        }
        return claims;
    }

    // The pod's node goes along, so that who sees the token knows where it came from.
    private TokenClaims BindPod(ResourceStorage storage, StoredObject stored, BoundObject bound, TokenClaims claims)
    {
        using var pod = storage.Decode(stored);
        if (pod.Root["spec"u8]["serviceAccountName"u8].AsString() != claims.ServiceAccount.Name)
        {
            throw ApiStatus.BadRequest(
                $"cannot bind token for serviceaccount {GoText.Quote(claims.ServiceAccount.Name)} to pod running with different serviceaccount name.").ToException();
        }
        var nodeName = pod.Root["spec"u8]["nodeName"u8].AsString();
        if (nodeName.Length == 0)
            return claims with { Pod = bound };
        using var node = catalog.Storage("", "nodes").Get("", nodeName);
        return claims with { Pod = bound, Node = new BoundObject(nodeName, node?.Uid() ?? "") };
    }
}
