using System.Text.Json;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>What the server says of an owner.</summary>
internal enum OwnerState : byte
{
    Solid,
    Absent,
    DeletesDependents,
}

/// <summary>The garbage collector's calls. Any thread.</summary>
internal sealed class GarbageOperations(ApiClient client, DiscoveryCache discovery)
{
    /// <summary>The resource of a kind, in the version that the server prefers.</summary>
    /// <exception cref="InvalidOperationException">There is none now: tried again later, discovery may lag behind a new definition.</exception>
    internal async ValueTask<DiscoveredResource> ResolveAsync(string group, string kind, CancellationToken cancellationToken)
    {
        var discovered = await discovery.GetAsync(client, cancellationToken).ConfigureAwait(false);
        foreach (var resource in discovered.Resources)
        {
            if (resource.Kind == kind && resource.Group == group && resource.Verbs.Contains("get")) return resource;
        }
        throw new InvalidOperationException($"no resource of kind {kind} in group \"{group}\" is served");
    }

    /// <summary>The object as the server has it, or null.</summary>
    internal async ValueTask<GraphMetadata?> GetAsync(DiscoveredResource resource, string namespaceName, string name, CancellationToken cancellationToken)
    {
        // A cluster-scoped object cannot be told by a namespaced kind: there is none.
        if (resource.IsNamespaced && namespaceName.Length == 0) return null;
        var answer = await client.Transport.SendAsync(new ApiRequest("GET", resource.Path(namespaceName, name)), cancellationToken).ConfigureAwait(false);
        if (answer.StatusCode == 404) return null;
        if (!answer.IsSuccess) throw ApiException.From(answer);
        return JsonSerializer.Deserialize(answer.Body.Span, GraphJsonContext.Default.GraphObject)!.Metadata;
    }

    /// <summary>How an owner stands that an object in <paramref name="namespaceName"/> names.</summary>
    internal async ValueTask<OwnerState> LookAsync(
        V1OwnerReference owner, string namespaceName, bool isKnownAbsent, CancellationToken cancellationToken)
    {
        if (isKnownAbsent) return OwnerState.Absent;
        var group = owner.ApiVersion.Contains('/') ? owner.ApiVersion[..owner.ApiVersion.IndexOf('/')] : "";
        var resource = await ResolveAsync(group, owner.Kind, cancellationToken).ConfigureAwait(false);
        // Such a reference can never be right; deleting for it would be worse than leaving it.
        if (resource.IsNamespaced && namespaceName.Length == 0) return OwnerState.Solid;
        var live = await GetAsync(resource, namespaceName, owner.Name, cancellationToken).ConfigureAwait(false);
        if (live is null || live.Uid != owner.Uid) return OwnerState.Absent;
        return live.DeletesDependents ? OwnerState.DeletesDependents : OwnerState.Solid;
    }

    /// <summary>Deletes the very object that was looked at; one that is gone or another by now is no failure.</summary>
    internal async Task DeleteAsync(DiscoveredResource resource, GraphMetadata value, string policy, CancellationToken cancellationToken)
    {
        var options = new V1DeleteOptions
        {
            ApiVersion = "v1", Kind = "DeleteOptions", PropagationPolicy = policy, Preconditions = new V1Preconditions { Uid = value.Uid },
        };
        var request = new ApiRequest("DELETE", resource.Path(value.Namespace, value.Name), ModelJson.Serialize(options), "application/json");
        var answer = await client.Transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess && answer.StatusCode is not (404 or 409)) throw ApiException.From(answer);
    }

    internal Task RemoveOwnersAsync(DiscoveredResource resource, GraphMetadata value, IReadOnlyCollection<string> uids, CancellationToken cancellationToken) =>
        PatchAsync(resource, value, new V1ObjectMeta { OwnerReferences = [.. (value.OwnerReferences ?? []).Where(owner => !uids.Contains(owner.Uid))] }, cancellationToken);

    internal Task UnblockOwnersAsync(DiscoveredResource resource, GraphMetadata value, CancellationToken cancellationToken)
    {
        if (value.OwnerReferences?.Any(static owner => owner.BlockOwnerDeletion == true) != true) return Task.CompletedTask;
        List<V1OwnerReference> owners = [.. value.OwnerReferences.Select(static owner => owner with { BlockOwnerDeletion = false })];
        return PatchAsync(resource, value, new V1ObjectMeta { OwnerReferences = owners }, cancellationToken);
    }

    internal Task RemoveFinalizerAsync(DiscoveredResource resource, GraphMetadata value, string finalizer, CancellationToken cancellationToken) =>
        PatchAsync(resource, value, new V1ObjectMeta { Finalizers = [.. (value.Finalizers ?? []).Where(other => other != finalizer)] }, cancellationToken);

    // With the revision that was looked at: somebody else's change is a conflict, and looked at anew.
    private async Task PatchAsync(DiscoveredResource resource, GraphMetadata value, V1ObjectMeta change, CancellationToken cancellationToken)
    {
        change.Uid = value.Uid;
        change.ResourceVersion = value.ResourceVersion;
        var body = ModelJson.Serialize(new PartialObject { ApiVersion = resource.ApiVersion, Kind = resource.Kind, Metadata = change });
        var request = new ApiRequest("PATCH", resource.Path(value.Namespace, value.Name), body, "application/merge-patch+json");
        var answer = await client.Transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (!answer.IsSuccess && answer.StatusCode != 404) throw ApiException.From(answer);
    }
}
