using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The authorizers in their configured order, behind the one that is always first: system:masters may do everything. The first that allows or denies
/// decides; when none does, the request is refused with the reasons of all.
/// </summary>
/// <remarks>Any thread. A remembered RBAC decision allocates nothing; only a webhook makes a caller wait.</remarks>
internal sealed class Authorizer
{
    private object[] _chain = [];

    internal Authorizer(params object[] chain) => Use(chain);

    /// <summary>Puts another chain in force: each part is an <see cref="IAuthorizer"/> or an <see cref="IRemoteAuthorizer"/>.</summary>
    internal void Use(object[] chain) => Volatile.Write(ref _chain, chain);

    internal ValueTask<AuthorizationDecision> AuthorizeAsync(in AuthorizationAttributes attributes, CancellationToken cancel)
    {
        if (attributes.User.IsMaster)
            return new(AuthorizationDecision.Allow());
        var chain = Volatile.Read(ref _chain);
        var reasons = "";
        for (var i = 0; i < chain.Length; i++)
        {
            if (chain[i] is not IAuthorizer local)
                return AuthorizeSlowAsync(chain, i, reasons, attributes.ToOwned(), cancel);
            var decision = local.Authorize(attributes);
            if (decision.Verdict != Verdict.NoOpinion)
                return new(decision);
            reasons = Join(reasons, decision.Reason);
        }
        return new(AuthorizationDecision.NoOpinion(reasons));
    }

    /// <summary>Refuses with 403 and upstream's words unless it is allowed; a failure to judge is a 500. The audit log hears of it.</summary>
    internal ValueTask DemandAsync(in AuthorizationAttributes attributes, ApiCall call)
    {
        var pending = AuthorizeAsync(attributes, call.Aborted);
        if (!pending.IsCompletedSuccessfully)
            return DemandSlowAsync(pending, attributes.ToOwned(), call);
        var decision = pending.Result;
        Note(decision, call);
        return decision.IsAllowed ? default : ValueTask.FromException(Refusal(attributes, decision, call));
    }

    /// <summary>Everything that the user may do in a namespace, as far as it can be listed.</summary>
    internal RuleListing List(UserInfo user, string ns)
    {
        var listing = new RuleListing();
        foreach (var part in Volatile.Read(ref _chain))
        {
            if (part is IAuthorizer local)
                local.List(user, ns, listing);
            else
                ((IRemoteAuthorizer)part).List(user, ns, listing);
        }
        return listing;
    }

    /// <summary>The refusal of an action, in upstream's words.</summary>
    internal static ApiStatusException Forbidden(in AuthorizationAttributes attributes, string reason)
    {
        var why = attributes.Describe();
        if (reason.Length > 0)
            why = $"{why}: {reason}";
        return ApiStatus.Forbidden(
            Encoding.UTF8.GetString(attributes.Group), Encoding.UTF8.GetString(attributes.Resource), Encoding.UTF8.GetString(attributes.Name), why).ToException();
    }

    private static async ValueTask<AuthorizationDecision> AuthorizeSlowAsync(
        object[] chain, int start, string reasons, AuthorizationRequest request, CancellationToken cancel)
    {
        List<string>? errors = null;
        for (var i = start; i < chain.Length; i++)
        {
            var decision = chain[i] is IAuthorizer local
                ? local.Authorize(request.Attributes())
                : await ((IRemoteAuthorizer)chain[i]).AuthorizeAsync(request, cancel).ConfigureAwait(false);
            if (decision.Verdict != Verdict.NoOpinion)
                return decision;
            if (decision.Error is { } error)
                (errors ??= []).Add(error);
            reasons = Join(reasons, decision.Reason);
        }
        return new AuthorizationDecision(Verdict.NoOpinion, reasons, errors switch { null => null, [var only] => only, _ => $"[{string.Join(", ", errors)}]" });
    }

    private static async ValueTask DemandSlowAsync(ValueTask<AuthorizationDecision> pending, AuthorizationRequest request, ApiCall call)
    {
        var decision = await pending.ConfigureAwait(false);
        Note(decision, call);
        if (!decision.IsAllowed)
            throw Refusal(request.Attributes(), decision, call);
    }

    private static void Note(in AuthorizationDecision decision, ApiCall call)
    {
        if (call.Audit is null)
            return;
        if (!decision.IsAllowed && decision.Error is not null)
        {
            call.Annotate("authorization.k8s.io/reason", "internal error");
            return;
        }
        call.Annotate("authorization.k8s.io/decision", decision.IsAllowed ? "allow" : "forbid");
        call.Annotate("authorization.k8s.io/reason", decision.Reason);
    }

    private static Exception Refusal(in AuthorizationAttributes attributes, in AuthorizationDecision decision, ApiCall call) =>
        decision.Error is { } error
            ? new PlainTextException(500, $"Internal Server Error: {GoText.Quote(call.TargetText)}: {error}\n")
            : Forbidden(attributes, decision.Reason);

    private static string Join(string reasons, string reason) => reasons.Length == 0 ? reason : reason.Length == 0 ? reasons : $"{reasons}\n{reason}";
}

/// <summary>An answer that upstream gives outside of its API machinery: plain text instead of a Status.</summary>
internal sealed class PlainTextException(int code, string text) : Exception(text)
{
    internal int Code { get; } = code;
}
