using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Nobody grants more than he has: roles may hold only rules that the writer holds (or he may escalate), bindings only such roles (or he may bind).</summary>
internal sealed class RbacEscalation(RbacPolicy policy, Authorizer authorizer) : AdmissionPlugin
{
    internal override ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.Operation is AdmissionOperation.Delete or AdmissionOperation.Connect || context.Resource.Group != "rbac.authorization.k8s.io" || context.User.IsMaster)
            return default;
        return context.Resource.Resource switch
        {
            "roles" or "clusterroles" => CheckRoleAsync(context, cancel),
            "rolebindings" or "clusterrolebindings" => CheckBindingAsync(context, cancel),
            _ => default,
        };
    }

    private async ValueTask CheckRoleAsync(AdmissionContext context, CancellationToken cancel)
    {
        var isUnchanged = context.OldObject.IsDefined && Same(context.Object["rules"u8], context.OldObject["rules"u8])
            && Same(context.Object["aggregationRule"u8], context.OldObject["aggregationRule"u8]);
        // A role that is being made has no name yet for authorization.
        if (isUnchanged || await MayDoAsync(context, "escalate", context.Resource.Resource, context.IsCreate ? "" : context.Name, cancel).ConfigureAwait(false))
            return;
        Demand(context, RbacPolicy.Rules(context.Object));
        if (context.Object["aggregationRule"u8]["clusterRoleSelectors"u8].Count == 0 && context.OldObject["aggregationRule"u8]["clusterRoleSelectors"u8].Count == 0)
            return;
        // An aggregated role may come to hold anything.
        var owned = policy.RulesFor(context.User, "");
        byte[][] all = ["*"u8.ToArray()];
        if (!PolicyRule.Covers(owned, new PolicyRule { Verbs = all, ApiGroups = all, Resources = all, ResourceNames = [], NonResourceUrls = [] })
            || !PolicyRule.Covers(owned, new PolicyRule { Verbs = all, ApiGroups = [], Resources = [], ResourceNames = [], NonResourceUrls = all }))
            throw context.Forbid("must have cluster-admin privileges to use the aggregationRule");
    }

    private async ValueTask CheckBindingAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.OldObject.IsDefined && Same(context.Object["subjects"u8], context.OldObject["subjects"u8])
            && Same(context.Object["roleRef"u8], context.OldObject["roleRef"u8]))
            return;
        var role = context.Object["roleRef"u8];
        var isClusterRole = role["kind"u8].Equals("ClusterRole"u8);
        var name = role["name"u8].AsString();
        if (await MayDoAsync(context, "bind", isClusterRole ? "clusterroles" : "roles", name, cancel).ConfigureAwait(false))
            return;
        var rules = policy.FindRole(new RoleRef(isClusterRole, name), context.Namespace)
            ?? throw ApiStatus.NotFound("rbac.authorization.k8s.io", isClusterRole ? "clusterrole" : "role", name).ToException();
        Demand(context, rules);
    }

    private void Demand(AdmissionContext context, PolicyRule[] wanted)
    {
        var errors = new List<string>();
        var owned = policy.RulesFor(context.User, context.Namespace, errors);
        var missing = PolicyRule.Missing(owned, wanted);
        if (missing.Count == 0)
            return;
        var groups = string.Join(' ', context.User.Groups.Select(static g => GoText.Quote(g)));
        var unresolved = errors.Count == 0 ? "" : $"; resolution errors: [{string.Join(' ', errors)}]";
        var lines = missing.Select(static rule => rule.Describe()).Distinct().Order(StringComparer.Ordinal);
        throw context.Forbid(
            $"user {GoText.Quote(context.User.Name)} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{string.Join('\n', lines)}{unresolved}");
    }

    private async ValueTask<bool> MayDoAsync(AdmissionContext context, string verb, string resource, string name, CancellationToken cancel) =>
        (await authorizer.AuthorizeAsync(new AuthorizationAttributes
        {
            User = context.User,
            Verb = Encoding.UTF8.GetBytes(verb),
            IsResourceRequest = true,
            Group = "rbac.authorization.k8s.io"u8,
            Version = "*"u8,
            Resource = Encoding.UTF8.GetBytes(resource),
            Namespace = Encoding.UTF8.GetBytes(context.Namespace),
            Name = Encoding.UTF8.GetBytes(name),
        }, cancel).ConfigureAwait(false)).IsAllowed;

    private static bool Same(ApiNode a, ApiNode b) => a.Count == 0 && b.Count == 0 || a.DeepEquals(b);
}
