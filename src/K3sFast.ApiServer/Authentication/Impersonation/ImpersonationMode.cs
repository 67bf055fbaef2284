using System.Text;
using System.Text.RegularExpressions;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// One way to impersonate. A constrained one takes two rights: <c>impersonate-on:mode:verb</c> on what the request is about, and <c>impersonate:mode</c> on
/// each part of the wanted user; the old one (mode "") takes <c>impersonate</c> on each part.
/// </summary>
internal sealed partial class ImpersonationMode(Authorizer authorizer, string mode, Func<WantedUser, UserInfo, bool> applies)
{
    // From so many groups or extra values on, one right to all of them is asked for first.
    private const int ManyChecks = 4;

    private const string AuthenticationGroup = "authentication.k8s.io";

    private readonly byte[] _verb = Encoding.UTF8.GetBytes(mode.Length == 0 ? "impersonate" : $"impersonate:{mode}");

    private bool IsConstrained => mode.Length > 0;

    private bool IsAssociatedNode => mode == "associated-node";

    /// <summary>What the audit log calls it; "" for the old way.</summary>
    internal string Constraint => mode.Length == 0 ? "" : $"impersonate:{mode}";

    /// <summary>True if this way can lead from the one to the other at all.</summary>
    internal bool Applies(WantedUser wanted, UserInfo requestor) => applies(wanted, requestor);

    /// <summary>The user that the request then is.</summary>
    /// <exception cref="ApiStatusException">403 for the first right that is missing.</exception>
    internal async ValueTask<UserInfo> CheckAsync(HttpApiCall call, WantedUser wanted)
    {
        var requestor = IsAssociatedNode ? WithoutExtra(call.User) : call.User;
        if (IsConstrained)
            await CheckVerbAsync(call, requestor).ConfigureAwait(false);
        var groups = await CheckNameAsync(call, requestor, wanted).ConfigureAwait(false);
        if (wanted.Uid.Length > 0)
            await DemandAsync(call, requestor, AuthenticationGroup, "uids", "", "", wanted.Uid).ConfigureAwait(false);
        await CheckGroupsAsync(call, requestor, wanted.Groups).ConfigureAwait(false);
        await CheckExtraAsync(call, requestor, wanted.Extra).ConfigureAwait(false);
        var own = wanted.Name == UserInfo.AnonymousName ? UserInfo.UnauthenticatedGroup : UserInfo.AuthenticatedGroup;
        if (!groups.Contains(own) && (own == UserInfo.UnauthenticatedGroup || !groups.Contains(UserInfo.UnauthenticatedGroup)))
            groups.Add(own);
        return new UserInfo(wanted.Name, groups, wanted.Uid, wanted.Extra);
    }

    private async ValueTask CheckVerbAsync(HttpApiCall call, UserInfo requestor)
    {
        var info = AuthorizationAttributes.Of(call.Info, requestor).ToOwned();
        info = info with { Verb = Encoding.UTF8.GetBytes($"impersonate-on:{mode}:{Encoding.UTF8.GetString(info.Verb)}") };
        var decision = await authorizer.AuthorizeAsync(info.Attributes(), call.Aborted).ConfigureAwait(false);
        if (!decision.IsAllowed)
            throw Refusal(info, decision);
    }

    // The groups that the user gets if the request names none.
    private async ValueTask<List<string>> CheckNameAsync(HttpApiCall call, UserInfo requestor, WantedUser wanted)
    {
        var groups = new List<string>(wanted.Groups);
        string resource = "users", ns = "", name = wanted.Name;
        if (IsConstrained && wanted.NodeName is { } node)
        {
            (resource, name) = ("nodes", IsAssociatedNode ? "*" : node);
            groups = ["system:nodes"];
        }
        if (Impersonation.SplitAccount(wanted.Name) is { } account)
        {
            (resource, ns, name) = ("serviceaccounts", account.Namespace, account.Name);
            if (groups.Count == 0)
                groups = ["system:serviceaccounts", $"system:serviceaccounts:{ns}"];
        }
        await DemandAsync(call, requestor, IsConstrained ? AuthenticationGroup : "", resource, "", ns, name).ConfigureAwait(false);
        return groups;
    }

    private async ValueTask CheckGroupsAsync(HttpApiCall call, UserInfo requestor, List<string> groups)
    {
        if (groups.Count == 0)
            return;
        var apiGroup = IsConstrained ? AuthenticationGroup : "";
        if (IsConstrained)
        {
            if (groups.Contains(""))
                throw Authorizer.Forbidden(Attributes(requestor, apiGroup, "groups", "", "", "").Attributes(), "impersonating the empty string group is not allowed");
            if (groups.Contains(UserInfo.MastersGroup))
                throw Authorizer.Forbidden(Attributes(requestor, apiGroup, "groups", "", "", UserInfo.MastersGroup).Attributes(), "impersonating the system:masters group is not allowed");
            if (groups.Count >= ManyChecks && await MayAsync(call, Attributes(requestor, apiGroup, "groups", "", "", "*")).ConfigureAwait(false))
                return;
        }
        foreach (var group in groups)
            await DemandAsync(call, requestor, apiGroup, "groups", "", "", group).ConfigureAwait(false);
    }

    private async ValueTask CheckExtraAsync(HttpApiCall call, UserInfo requestor, Dictionary<string, string[]> extra)
    {
        if (extra.Count == 0)
            return;
        if (IsConstrained)
        {
            if (Validate(extra) is { } bad)
                throw Authorizer.Forbidden(Attributes(requestor, AuthenticationGroup, "userextras", "", "", "").Attributes(), bad);
            if (extra.Values.Sum(static values => Math.Max(1, values.Length)) >= ManyChecks
                && await MayAsync(call, Attributes(requestor, AuthenticationGroup, "userextras", "*", "", "*")).ConfigureAwait(false))
                return;
        }
        foreach (var (key, values) in extra)
        {
            foreach (var value in values)
                await DemandAsync(call, requestor, AuthenticationGroup, "userextras", key, "", value).ConfigureAwait(false);
        }
    }

    private static string? Validate(Dictionary<string, string[]> extra)
    {
        foreach (var (key, values) in extra)
        {
            if (key.Length == 0)
                return "impersonating the empty string key in extra is not allowed";
            var slash = key.IndexOf('/', StringComparison.Ordinal);
            if (slash <= 0 || slash == key.Length - 1)
                return $"impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {GoText.Quote(key)}: must be a domain-prefixed path (such as \"acme.io/foo\")";
            if (!DomainForm().IsMatch(key.AsSpan(0, slash)))
                return $"impersonating an invalid key in extra is not allowed: extra.key: Invalid value: {GoText.Quote(key.AsSpan(0, slash))}: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
            if (values.Length == 0)
                return "impersonating empty values in extra is not allowed";
            if (values.Contains(""))
                return "impersonating the empty string value in extra is not allowed";
        }
        return null;
    }

    private async ValueTask DemandAsync(HttpApiCall call, UserInfo requestor, string group, string resource, string subresource, string ns, string name)
    {
        var request = Attributes(requestor, group, resource, subresource, ns, name);
        var decision = await authorizer.AuthorizeAsync(request.Attributes(), call.Aborted).ConfigureAwait(false);
        if (!decision.IsAllowed)
            throw Refusal(request, decision);
    }

    private async ValueTask<bool> MayAsync(HttpApiCall call, AuthorizationRequest request) =>
        (await authorizer.AuthorizeAsync(request.Attributes(), call.Aborted).ConfigureAwait(false)).IsAllowed;

    private AuthorizationRequest Attributes(UserInfo requestor, string group, string resource, string subresource, string ns, string name) => new(
        requestor, _verb, true, Encoding.UTF8.GetBytes(group), "v1"u8.ToArray(), Encoding.UTF8.GetBytes(resource), Encoding.UTF8.GetBytes(subresource),
        Encoding.UTF8.GetBytes(ns), Encoding.UTF8.GetBytes(name), [], [], []);

    private static ApiStatusException Refusal(AuthorizationRequest request, in AuthorizationDecision decision)
    {
        var reason = (decision.Error, decision.Reason) switch
        {
            (null, var only) => only,
            (var error, "") => error,
            var (error, why) => $"{error}: {why}",
        };
        return Authorizer.Forbidden(request.Attributes(), reason);
    }

    // Authorizers must answer alike for all pods of one account, whatever node each is on.
    private static UserInfo WithoutExtra(UserInfo user) => new(user.Name, user.Groups, user.Uid, new Dictionary<string, string[]>
    {
        ["authentication.kubernetes.io/associated-node-keys"] = [.. user.Extra.Keys.Order(StringComparer.Ordinal)],
    });

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z")]
    private static partial Regex DomainForm();
}
