using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Nobody grants more than he has: roles may hold only rules that the writer holds (or he may escalate), bindings only such roles (or he may bind). Asked
/// before the fields are looked at, as upstream's storage of these kinds does.
/// </summary>
internal sealed class RbacEscalation(RbacPolicy policy, Authorizer authorizer) : AdmissionPlugin
{
    internal override ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
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
        // A role that is being made has no name yet for authorization.
        if (ChangesOwnersOnly(context) || await MayDoAsync(context, "escalate", context.Resource.Resource, context.IsCreate ? "" : context.Name, cancel).ConfigureAwait(false))
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
        if (ChangesOwnersOnly(context))
            return;
        var role = context.Object["roleRef"u8];
        if (!role["kind"u8].Equals("ClusterRole"u8) && !role["kind"u8].Equals("Role"u8))
            throw ApiStatus.Unknown($"unsupported role reference kind: {GoText.Quote(role["kind"u8].Utf8)}").ToException();
        var isClusterRole = role["kind"u8].Equals("ClusterRole"u8);
        var name = role["name"u8].AsString();
        if (await MayDoAsync(context, "bind", isClusterRole ? "clusterroles" : "roles", name, cancel).ConfigureAwait(false))
            return;
        var rules = policy.FindRole(new RoleRef(isClusterRole, name), context.Namespace)
            ?? throw ApiStatus.NotFound(context.Resource.Group, context.Resource.Resource, name).ToException();
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

    // What the garbage collector and other keepers of finalizers change grants nothing, whoever they are.
    private static bool ChangesOwnersOnly(AdmissionContext context)
    {
        if (!context.OldObject.IsDefined)
            return false;
        using ApiObject changed = Bare(context.Object), old = Bare(context.OldObject);
        return changed.Root.DeepEquals(old.Root);
    }

    private static ApiObject Bare(ApiNode obj)
    {
        var bare = ApiObject.Rent();
        foreach (var member in obj.Members)
            bare.Root.Set(member.Name, member.Value);
        var metadata = bare.Root["metadata"u8];
        metadata.Remove("ownerReferences"u8);
        metadata.Remove("finalizers"u8);
        metadata.Remove("selfLink"u8);
        metadata.Remove("managedFields"u8);
        RemoveEmpty(bare.Root);
        RemoveEmpty(metadata);
        return bare;
    }

    // Nothing and an empty list or map are the same.
    private static void RemoveEmpty(ApiNode node)
    {
        var empty = new List<byte[]>();
        foreach (var member in node.Members)
        {
            if (member.Value.IsNullOrUndefined || member.Value.Kind is NodeKind.Object or NodeKind.Array && member.Value.Count == 0)
                empty.Add(member.Name.ToArray());
        }
        foreach (var name in empty)
            node.Remove(name);
    }
}
