using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Nobody grants more than he has: roles may hold only rules that the writer holds (or he may escalate), bindings only such roles (or he may bind).</summary>
internal sealed class RbacEscalation(RbacPolicy policy, Authorizer authorizer) : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation is AdmissionOperation.Delete or AdmissionOperation.Connect || context.Resource.Group != "rbac.authorization.k8s.io" || context.User.IsMaster)
            return;
        switch (context.Resource.Resource)
        {
            case "roles" or "clusterroles":
                CheckRole(context);
                break;
            case "rolebindings" or "clusterrolebindings":
                CheckBinding(context);
                break;
        }
    }

    private void CheckRole(AdmissionContext context)
    {
        var isUnchanged = context.OldObject.IsDefined && Same(context.Object["rules"u8], context.OldObject["rules"u8])
            && Same(context.Object["aggregationRule"u8], context.OldObject["aggregationRule"u8]);
        if (isUnchanged || MayDo(context, "escalate", context.Resource.Resource, context.Name))
            return;
        if (context.Object["aggregationRule"u8]["clusterRoleSelectors"u8].Count > 0)
        {
            // An aggregated role may come to hold anything.
            var owned = policy.RulesFor(context.User, "");
            byte[][] all = ["*"u8.ToArray()];
            if (!PolicyRule.Covers(owned, new PolicyRule { Verbs = all, ApiGroups = all, Resources = all, ResourceNames = [], NonResourceUrls = [] }))
                throw context.Forbid("must have cluster-admin privileges to use the aggregationRule");
        }
        Demand(context, RbacPolicy.Rules(context.Object));
    }

    private void CheckBinding(AdmissionContext context)
    {
        if (context.OldObject.IsDefined && Same(context.Object["subjects"u8], context.OldObject["subjects"u8])
            && Same(context.Object["roleRef"u8], context.OldObject["roleRef"u8]))
            return;
        var role = context.Object["roleRef"u8];
        var isClusterRole = role["kind"u8].Equals("ClusterRole"u8);
        var name = role["name"u8].AsString();
        if (MayDo(context, "bind", isClusterRole ? "clusterroles" : "roles", name))
            return;
        var rules = policy.FindRole(new RoleRef(isClusterRole, name), context.Namespace)
            ?? throw ApiStatus.NotFound("rbac.authorization.k8s.io", isClusterRole ? "clusterroles" : "roles", name).ToException();
        Demand(context, rules);
    }

    private void Demand(AdmissionContext context, PolicyRule[] wanted)
    {
        var errors = new List<string>();
        var owned = policy.RulesFor(context.User, context.Namespace, errors);
        var missing = new List<string>();
        foreach (var rule in wanted)
        {
            if (!PolicyRule.Covers(owned, rule))
                missing.Add(rule.Describe());
        }
        if (missing.Count == 0)
            return;
        var groups = string.Join(' ', context.User.Groups.Select(static g => GoText.Quote(g)));
        throw context.Forbid(
            $"user {GoText.Quote(context.User.Name)} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{string.Join('\n', missing)}");
    }

    private bool MayDo(AdmissionContext context, string verb, string resource, string name) => authorizer.Allows(new AuthorizationAttributes
    {
        User = context.User,
        Verb = Encoding.UTF8.GetBytes(verb),
        IsResourceRequest = true,
        Group = "rbac.authorization.k8s.io"u8,
        Resource = Encoding.UTF8.GetBytes(resource),
        Namespace = Encoding.UTF8.GetBytes(context.Namespace),
        Name = Encoding.UTF8.GetBytes(name),
    }, out _);

    private static bool Same(ApiNode a, ApiNode b) => a.Count == 0 && b.Count == 0 || a.DeepEquals(b);
}
