using K3sFast.Client;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>What controllers do with a finalizer of their own, by which they keep an object that is being deleted until they are done with it.</summary>
internal static class Finalizers
{
    /// <summary>It is not being deleted, and nobody would wait for us if it were.</summary>
    internal static bool IsMissing(V1ObjectMeta metadata, string finalizer) => metadata.DeletionTimestamp is null && metadata.Finalizers?.Contains(finalizer) != true;

    /// <summary>It is being deleted, and waits for us.</summary>
    internal static bool IsAwaited(V1ObjectMeta metadata, string finalizer) => metadata.DeletionTimestamp is not null && metadata.Finalizers?.Contains(finalizer) == true;

    internal static V1ObjectMeta With(V1ObjectMeta metadata, string finalizer) => metadata with { Finalizers = [.. metadata.Finalizers ?? [], finalizer] };

    internal static V1ObjectMeta Without(V1ObjectMeta metadata, string finalizer)
    {
        List<string> others = [.. (metadata.Finalizers ?? []).Where(other => other != finalizer)];
        return metadata with { Finalizers = others.Count == 0 ? null : others };
    }

    /// <summary>Writes an object with other finalizers. Null: somebody else took the last one away, and with it the object.</summary>
    internal static async Task<T?> WriteAsync<T>(ApiClient client, Resource<T> resource, T value, CancellationToken cancellationToken) where T : class, IKubernetesObject<V1ObjectMeta>
    {
        try
        {
            return await client.UpdateAsync(resource, value, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            return null;
        }
    }
}
