using K3sFast.Client;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Creates, deletes and adopts pods for an owner, and tells of it by events. Any thread.</summary>
internal sealed class PodControl(ApiClient client, EventRecorder events)
{
    /// <summary>Creates a pod from a template with <paramref name="owner"/> as its controller.</summary>
    internal async Task<V1Pod> CreateAsync<T>(
        Resource<T> resource, T owner, V1PodTemplateSpec template, Action<V1Pod>? adjust, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var pod = FromTemplate(resource, owner, template);
        adjust?.Invoke(pod);
        try
        {
            pod = await client.CreateAsync(Resources.Pods, pod, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused)
        {
            // In a namespace that goes away everything is refused; an event would be, too.
            if (!refused.IsNamespaceTerminating) events.Warning(resource, owner, "FailedCreate", $"Error creating: {refused.Message}");
            throw;
        }
        events.Normal(resource, owner, "SuccessfulCreate", $"Created pod: {pod.Metadata.Name}");
        return pod;
    }

    /// <summary>Deletes a pod; one that is gone already is <see cref="ApiException.IsNotFound"/>.</summary>
    internal async Task DeleteAsync<T>(Resource<T> resource, T owner, V1Pod pod, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        try
        {
            await client.DeleteAsync(Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException refused)
        {
            if (!refused.IsNotFound) events.Warning(resource, owner, "FailedDelete", $"Error deleting: {refused.Message}");
            throw;
        }
        events.Normal(resource, owner, "SuccessfulDelete", $"Deleted pod: {pod.Metadata.Name}");
    }

    internal static V1Pod FromTemplate<T>(Resource<T> resource, T owner, V1PodTemplateSpec template)
        where T : class, IKubernetesObject<V1ObjectMeta> => new()
        {
            Metadata = new V1ObjectMeta
            {
                NamespaceProperty = owner.Metadata.NamespaceProperty,
                GenerateName = owner.Metadata.Name + "-",
                Labels = template.Metadata?.Labels is { } labels ? new Dictionary<string, string>(labels) : [],
                Annotations = template.Metadata?.Annotations is { } annotations ? new Dictionary<string, string>(annotations) : null,
                Finalizers = template.Metadata?.Finalizers is { } finalizers ? [.. finalizers] : null,
                OwnerReferences = [Owners.Reference(resource, owner)],
            },
            Spec = template.Spec with { },
        };
}
