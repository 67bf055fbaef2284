using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// OwnerReferencesPermissionEnforcement: who changes an object's owners must be allowed to delete the object, and who blocks an owner's deletion to set
/// the owner's finalizers.
/// </summary>
internal sealed class OwnerReferencesPermissionEnforcement(ResourceCatalog catalog, Authorizer authorizer) : AdmissionPlugin
{
    internal override async ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update) || context.Is("", "pods") && context.Subresource == "status")
            return;
        ApiNode owners = context.Object["metadata"u8]["ownerReferences"u8], old = context.OldObject["metadata"u8]["ownerReferences"u8];
        if (owners.Count == 0 && old.Count == 0 || owners.DeepEquals(old))
            return;
        if (!context.IsCreate && await MayDeleteAsync(context, cancel).ConfigureAwait(false) is { IsAllowed: false } refusal)
            throw context.Forbid($"cannot set an ownerRef on a resource you can't delete: {refusal.Reason}, {refusal.Error ?? "<nil>"}");
        var blocking = new List<ApiNode>();
        foreach (var owner in owners.Elements)
        {
            if (owner["blockOwnerDeletion"u8].AsBool() && !WasBlocking(old, owner))
                blocking.Add(owner);
        }
        if (blocking.Count == 0 || (await MayFinalizeAsync(context, "*", "*", "", "*", cancel).ConfigureAwait(false)).IsAllowed)
            return;
        foreach (var owner in blocking)
            await CheckOwnerAsync(context, owner, cancel).ConfigureAwait(false);
    }

    private async ValueTask CheckOwnerAsync(AdmissionContext context, ApiNode owner, CancellationToken cancel)
    {
        var apiVersion = owner["apiVersion"u8].AsString();
        var slash = apiVersion.IndexOf('/', StringComparison.Ordinal);
        var (group, version) = slash < 0 ? ("", apiVersion) : (apiVersion[..slash], apiVersion[(slash + 1)..]);
        var kind = owner["kind"u8].AsString();
        var resource = catalog.Schema.Resources.FirstOrDefault(candidate => candidate.Group == group && candidate.Version == version && candidate.Kind == kind)
            ?? throw context.Forbid(
                $"cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {apiVersion} Kind {kind}: no matches for kind {GoText.Quote(kind)} in version {GoText.Quote(apiVersion)}");
        var decision = await MayFinalizeAsync(
            context, group, resource.Resource, resource.Namespaced ? context.Namespace : "", owner["name"u8].AsString(), cancel).ConfigureAwait(false);
        if (!decision.IsAllowed)
            throw context.Forbid(
                $"cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {decision.Reason}, {decision.Error ?? "<nil>"}");
    }

    private static bool WasBlocking(ApiNode old, ApiNode owner)
    {
        foreach (var known in old.Elements)
        {
            if (known["uid"u8].DeepEquals(owner["uid"u8]))
                return known["blockOwnerDeletion"u8].AsBool();
        }
        return false;
    }

    private ValueTask<AuthorizationDecision> MayDeleteAsync(AdmissionContext context, CancellationToken cancel) => authorizer.AuthorizeAsync(new AuthorizationAttributes
    {
        User = context.User,
        Verb = "delete"u8,
        IsResourceRequest = true,
        Group = context.Resource.GroupUtf8,
        Resource = context.Resource.ResourceUtf8,
        Subresource = Encoding.UTF8.GetBytes(context.Subresource),
        Namespace = Encoding.UTF8.GetBytes(context.Namespace),
        Name = Encoding.UTF8.GetBytes(context.Name),
    }, cancel);

    private ValueTask<AuthorizationDecision> MayFinalizeAsync(
        AdmissionContext context, string group, string resource, string ns, string name, CancellationToken cancel) =>
        authorizer.AuthorizeAsync(new AuthorizationAttributes
        {
            User = context.User,
            Verb = "update"u8,
            IsResourceRequest = true,
            Group = Encoding.UTF8.GetBytes(group),
            Resource = Encoding.UTF8.GetBytes(resource),
            Subresource = "finalizers"u8,
            Namespace = Encoding.UTF8.GetBytes(ns),
            Name = Encoding.UTF8.GetBytes(name),
        }, cancel);
}
