namespace K3sFast.ApiServer;

/// <summary>What an authorizer says. Deny ends the chain as allow does; no opinion leaves it to the next.</summary>
internal enum Verdict : byte { NoOpinion, Allow, Deny }

/// <summary>An authorizer's answer.</summary>
/// <param name="Verdict">The answer itself.</param>
/// <param name="Reason">Words for the refusal, the review and the audit log; often empty.</param>
/// <param name="Error">What kept it from judging; null when nothing did.</param>
internal readonly record struct AuthorizationDecision(Verdict Verdict, string Reason = "", string? Error = null)
{
    internal bool IsAllowed => Verdict == Verdict.Allow;

    internal static AuthorizationDecision Allow(string reason = "") => new(Verdict.Allow, reason);

    internal static AuthorizationDecision NoOpinion(string reason = "") => new(Verdict.NoOpinion, reason);
}

/// <summary>What a user may do in a namespace, as far as it can be listed.</summary>
internal sealed class RuleListing
{
    internal List<PolicyRule> Rules { get; } = [];

    internal List<string> Errors { get; } = [];

    internal bool IsIncomplete { get; set; }
}

/// <summary>An authorizer that answers from memory.</summary>
/// <remarks>Any thread.</remarks>
internal interface IAuthorizer
{
    AuthorizationDecision Authorize(in AuthorizationAttributes attributes);

    /// <summary>Adds what the user may do there; what cannot be listed is said.</summary>
    void List(UserInfo user, string ns, RuleListing listing);
}

/// <summary>An authorizer that asks somebody.</summary>
internal interface IRemoteAuthorizer
{
    ValueTask<AuthorizationDecision> AuthorizeAsync(AuthorizationRequest request, CancellationToken cancel);

    void List(UserInfo user, string ns, RuleListing listing);
}
