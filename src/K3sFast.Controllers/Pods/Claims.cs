using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Which children an owner has: those that name it as controller and match its selector; matching orphans are adopted, its own that no
/// longer match are released. Upstream's controller ref manager.
/// </summary>
internal static class Claims
{
    /// <summary>The children among <paramref name="candidates"/> after adoption and release.</summary>
    internal static async Task<List<TChild>> ClaimAsync<TOwner, TChild>(
        ApiClient client,
        Resource<TOwner> ownerResource,
        TOwner owner,
        Resource<TChild> childResource,
        IEnumerable<TChild> candidates,
        LabelMatcher selector,
        CancellationToken cancellationToken,
        Func<TChild, bool>? filter = null)
        where TOwner : class, IKubernetesObject<V1ObjectMeta>
        where TChild : class, IKubernetesObject<V1ObjectMeta>, new()
    {
        var claimed = new List<TChild>();
        bool? mayAdopt = null;
        foreach (var child in candidates)
        {
            var controller = Owners.ControllerOf(child);
            var matches = selector.Matches(child.Metadata.Labels) && (filter is null || filter(child));
            if (controller is not null)
            {
                if (controller.Uid != owner.Metadata.Uid) continue;
                if (matches) claimed.Add(child);
                else if (owner.Metadata.DeletionTimestamp is null) await ReleaseAsync(client, owner, childResource, child, cancellationToken).ConfigureAwait(false);
                continue;
            }
            if (!matches || owner.Metadata.DeletionTimestamp is not null || child.Metadata.DeletionTimestamp is not null) continue;
            // The cache may be behind a deletion of the owner: asked once, of the server, before anything is adopted.
            mayAdopt ??= await MayAdoptAsync(client, ownerResource, owner, cancellationToken).ConfigureAwait(false);
            if (mayAdopt == true && await AdoptAsync(client, ownerResource, owner, childResource, child, cancellationToken).ConfigureAwait(false))
            {
                claimed.Add(child);
            }
        }
        return claimed;
    }

    private static async Task<bool> MayAdoptAsync<TOwner>(ApiClient client, Resource<TOwner> resource, TOwner owner, CancellationToken cancellationToken)
        where TOwner : class, IKubernetesObject<V1ObjectMeta>
    {
        var fresh = await client.FindAsync(resource, owner.Metadata.NamespaceProperty, owner.Metadata.Name, cancellationToken).ConfigureAwait(false);
        return fresh is not null && fresh.Metadata.Uid == owner.Metadata.Uid && fresh.Metadata.DeletionTimestamp is null;
    }

    private static async Task<bool> AdoptAsync<TOwner, TChild>(
        ApiClient client, Resource<TOwner> ownerResource, TOwner owner, Resource<TChild> resource, TChild child, CancellationToken cancellationToken)
        where TOwner : class, IKubernetesObject<V1ObjectMeta>
        where TChild : class, IKubernetesObject<V1ObjectMeta>, new()
    {
        List<V1OwnerReference> owners = [.. child.Metadata.OwnerReferences ?? [], Owners.Reference(ownerResource, owner)];
        return await SetOwnersAsync(client, resource, child, owners, cancellationToken).ConfigureAwait(false);
    }

    private static async Task ReleaseAsync<TOwner, TChild>(
        ApiClient client, TOwner owner, Resource<TChild> resource, TChild child, CancellationToken cancellationToken)
        where TOwner : class, IKubernetesObject<V1ObjectMeta>
        where TChild : class, IKubernetesObject<V1ObjectMeta>, new()
    {
        var owners = child.Metadata.OwnerReferences.Where(reference => reference.Uid != owner.Metadata.Uid).ToList();
        await SetOwnersAsync(client, resource, child, owners, cancellationToken).ConfigureAwait(false);
    }

    // uid and resourceVersion make it the very object that was looked at: a namesake or a newer state is a conflict, tried again with fresh eyes.
    private static async Task<bool> SetOwnersAsync<TChild>(
        ApiClient client, Resource<TChild> resource, TChild child, List<V1OwnerReference> owners, CancellationToken cancellationToken)
        where TChild : class, IKubernetesObject<V1ObjectMeta>, new()
    {
        var patch = new PartialObject
        {
            ApiVersion = resource.ApiVersion,
            Kind = resource.Kind,
            Metadata = new V1ObjectMeta { Uid = child.Metadata.Uid, ResourceVersion = child.Metadata.ResourceVersion, OwnerReferences = owners },
        };
        try
        {
            var body = PatchBody.Merge(ModelJson.Serialize(patch));
            await client.PatchAsync(resource, child.Metadata.NamespaceProperty, child.Metadata.Name, body, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            return false;
        }
    }
}
