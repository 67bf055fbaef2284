using System.Collections.Concurrent;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Impersonate-* headers: a user who may impersonate acts as the one he names. The constrained ways (as a node, a service account, any other user, each only
/// for certain verbs) are tried before the old one that gives all at once; the way that worked last for somebody is tried first.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class Impersonation(Authorizer authorizer)
{
    // Upstream's bound. Forgetting costs further authorizations, nothing else.
    private const int MaxRemembered = 10_000;

    private readonly ImpersonationMode[] _modes =
    [
        new(authorizer, "associated-node", static (wanted, requestor) =>
            wanted.IsNameOnly && wanted.NodeName is { } node && SplitAccount(requestor.Name) is not null
            && requestor.Extra.GetValueOrDefault("authentication.kubernetes.io/node-name") is [var own] && own == node),
        new(authorizer, "arbitrary-node", static (wanted, _) => wanted.IsNameOnly && wanted.NodeName is not null),
        new(authorizer, "serviceaccount", static (wanted, _) => wanted.IsNameOnly && SplitAccount(wanted.Name) is not null),
        new(authorizer, "user-info", static (wanted, _) => wanted.NodeName is null && SplitAccount(wanted.Name) is null),
        new(authorizer, "", static (_, _) => true),
    ];

    private readonly ConcurrentDictionary<string, int> _lastMode = new();

    /// <summary>Makes the call the named user's, or refuses in upstream's words. Requests without such headers cost a look at four of them.</summary>
    internal ValueTask ApplyAsync(HttpApiCall call) => WantedUser.Read(call.RequestHeaders) is { } wanted ? ApplyAsync(call, wanted) : default;

    /// <summary>Namespace and name of a service account's user name; null for other users.</summary>
    internal static (string Namespace, string Name)? SplitAccount(string user)
    {
        var parts = user.Split(':');
        return parts is ["system", "serviceaccount", { Length: > 0 } ns, { Length: > 0 } name] ? (ns, name) : null;
    }

    private async ValueTask ApplyAsync(HttpApiCall call, WantedUser wanted)
    {
        var requestor = call.User;
        ApiStatusException? first = null;
        var last = _lastMode.GetValueOrDefault(requestor.Name, -1);
        for (var i = last >= 0 ? -1 : 0; i < _modes.Length; i++)
        {
            if (i >= 0 && i == last)
                continue;
            var index = i < 0 ? last : i;
            var mode = _modes[index];
            if (!mode.Applies(wanted, requestor))
                continue;
            try
            {
                call.User = await mode.CheckAsync(call, wanted).ConfigureAwait(false);
            }
            catch (ApiStatusException refused)
            {
                first ??= refused;
                continue;
            }
            call.Impersonator = requestor;
            call.ImpersonationConstraint = mode.Constraint;
            if (index != last)
            {
                if (_lastMode.Count >= MaxRemembered)
                    _lastMode.Clear();
                _lastMode[requestor.Name] = index;
            }
            return;
        }
        throw first ?? ApiStatus.InternalError("all impersonation modes failed").ToException();
    }
}
