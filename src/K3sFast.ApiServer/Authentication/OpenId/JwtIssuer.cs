using System.Security.Cryptography.X509Certificates;

namespace K3sFast.ApiServer;

/// <summary>One issuer of foreign tokens and how its claims become a user. Immutable.</summary>
public sealed record JwtIssuer
{
    /// <summary>Every algorithm that tokens may be signed with, by RFC 7518.</summary>
    public static IReadOnlyList<string> AllAlgorithms { get; } = ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];

    /// <summary>Who issues: the tokens' iss, and where the discovery document is.</summary>
    public required string Url { get; init; }

    /// <summary>Where the discovery document is instead; "" = at the issuer.</summary>
    public string DiscoveryUrl { get; init; } = "";

    /// <summary>The only CAs that the issuer's server may have its certificate from; null = the host's.</summary>
    public X509Certificate2Collection? Authorities { get; init; }

    /// <summary>A token must be for one of these.</summary>
    public required IReadOnlyList<string> Audiences { get; init; }

    /// <summary>The claim that is the user's name.</summary>
    public required string UsernameClaim { get; init; }

    /// <summary>What is put before the name.</summary>
    public string UsernamePrefix { get; init; } = "";

    /// <summary>The claim that has the groups; "" = none.</summary>
    public string GroupsClaim { get; init; } = "";

    /// <summary>What is put before each group.</summary>
    public string GroupsPrefix { get; init; } = "";

    /// <summary>The claim that is the user's uid; "" = none.</summary>
    public string UidClaim { get; init; } = "";

    /// <summary>Claims that a token must have with just this value.</summary>
    public IReadOnlyDictionary<string, string> RequiredClaims { get; init; } = new Dictionary<string, string>();

    /// <summary>Expressions in the place of claims, and rules.</summary>
    internal JwtExpressions Expressions { get; init; } = JwtExpressions.None;

    /// <summary>The algorithms that its tokens may be signed with.</summary>
    public IReadOnlyList<string> Algorithms { get; init; } = AllAlgorithms;
}
