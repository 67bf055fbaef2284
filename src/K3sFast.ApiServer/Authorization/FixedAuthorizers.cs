namespace K3sFast.ApiServer;

/// <summary>Mode AlwaysAllow: for tests and for who keeps everybody else out by other means.</summary>
internal sealed class AllowEverything : IAuthorizer
{
    private static readonly byte[][] s_all = ["*"u8.ToArray()];

    public AuthorizationDecision Authorize(in AuthorizationAttributes attributes) => AuthorizationDecision.Allow();

    public void List(UserInfo user, string ns, RuleListing listing)
    {
        listing.Rules.Add(new PolicyRule { Verbs = s_all, ApiGroups = s_all, Resources = s_all, ResourceNames = [], NonResourceUrls = [] });
        listing.Rules.Add(new PolicyRule { Verbs = s_all, ApiGroups = [], Resources = [], ResourceNames = [], NonResourceUrls = s_all });
    }
}

/// <summary>Mode AlwaysDeny. Upstream's has no opinion, so that a later authorizer may still allow.</summary>
internal sealed class DenyEverything : IAuthorizer
{
    public AuthorizationDecision Authorize(in AuthorizationAttributes attributes) => AuthorizationDecision.NoOpinion("Everything is forbidden.");

    public void List(UserInfo user, string ns, RuleListing listing)
    {
    }
}
