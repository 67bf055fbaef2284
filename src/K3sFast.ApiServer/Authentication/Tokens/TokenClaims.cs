namespace K3sFast.ApiServer;

/// <summary>An object that a token is bound to, or that it speaks for.</summary>
public readonly record struct BoundObject(string Name, string Uid);

/// <summary>What a service-account token says.</summary>
internal sealed record TokenClaims
{
    internal required string Issuer { get; init; }

    internal required IReadOnlyList<string> Audiences { get; init; }

    /// <summary>0 = for ever, which only tokens of secrets are.</summary>
    internal required long ExpiresAt { get; init; }

    internal long NotBefore { get; init; }

    internal long IssuedAt { get; init; }

    /// <summary>From here on a token with an extended life is stale: it works, and the audit log says so.</summary>
    internal long WarnAfter { get; init; }

    internal string Id { get; init; } = "";

    internal string Subject { get; init; } = "";

    internal required string Namespace { get; init; }

    internal required BoundObject ServiceAccount { get; init; }

    internal BoundObject? Pod { get; init; }

    internal BoundObject? Secret { get; init; }

    internal BoundObject? Node { get; init; }

    /// <summary>Made for a Secret of type kubernetes.io/service-account-token: <see cref="Secret"/> has its name and no uid.</summary>
    internal bool IsLegacy { get; init; }
}
