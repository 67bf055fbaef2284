using System.Text.Json;
using k8s;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>
/// Typed calls over a transport: what controllers, scheduler, kubelet, network and add-ons use. Every refusal throws <see cref="ApiException"/>.
/// Any thread.
/// </summary>
public sealed class ApiClient(IApiTransport transport)
{
    /// <summary>The road underneath, for what has no typed form.</summary>
    public IApiTransport Transport { get; } = transport;

    /// <summary>One object.</summary>
    public async ValueTask<T> GetAsync<T>(Resource<T> resource, string? namespaceName, string name, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta> =>
        Read(resource, await Transport.SendAsync(new ApiRequest("GET", resource.Path(namespaceName, name)), cancellationToken).ConfigureAwait(false));

    /// <summary>One object, or null where there is none.</summary>
    public async ValueTask<T?> FindAsync<T>(Resource<T> resource, string? namespaceName, string name, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var response = await Transport.SendAsync(new ApiRequest("GET", resource.Path(namespaceName, name)), cancellationToken).ConfigureAwait(false);
        return response.StatusCode == 404 ? null : Read(resource, response);
    }

    /// <summary>A whole list (or a page, with <see cref="ListOptions.Limit"/>). Items may be shared: do not change them.</summary>
    public async ValueTask<ResourceList<T>> ListAsync<T>(Resource<T> resource, string? namespaceName, ListOptions options, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var list = await Transport.ListAsync(resource.Path(namespaceName) + options.ToQuery(), cancellationToken).ConfigureAwait(false);
        var items = new List<T>(list.Items.Count);
        foreach (var item in list.Items) items.Add(item.Decode(resource.Type));
        return new ResourceList<T>(list.ResourceVersion, items, list.Continue);
    }

    /// <summary>Creates <paramref name="value"/> in the namespace that its metadata names; answers what was stored.</summary>
    public ValueTask<T> CreateAsync<T>(Resource<T> resource, T value, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        value.ApiVersion = resource.ApiVersion;
        value.Kind = resource.Kind;
        return WriteAsync(resource, "POST", resource.Path(value.Metadata?.NamespaceProperty), value, cancellationToken);
    }

    /// <summary>Replaces the object; <c>metadata.resourceVersion</c>, when set, must still be the current one.</summary>
    public ValueTask<T> UpdateAsync<T>(Resource<T> resource, T value, CancellationToken cancellationToken, string? subresource = null)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        value.ApiVersion = resource.ApiVersion;
        value.Kind = resource.Kind;
        return WriteAsync(resource, "PUT", resource.Path(value.Metadata.NamespaceProperty, value.Metadata.Name, subresource), value, cancellationToken);
    }

    /// <summary>Replaces the object's status only.</summary>
    public ValueTask<T> UpdateStatusAsync<T>(Resource<T> resource, T value, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta> => UpdateAsync(resource, value, cancellationToken, "status");

    /// <summary>Patches the object or one of its subresources.</summary>
    public async ValueTask<T> PatchAsync<T>(
        Resource<T> resource, string? namespaceName, string name, PatchBody patch, CancellationToken cancellationToken, string? subresource = null)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var request = new ApiRequest("PATCH", resource.Path(namespaceName, name, subresource), patch.Body, patch.ContentType);
        return Read(resource, await Transport.SendAsync(request, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Applies a configuration by server-side apply, taking from others what it names.</summary>
    public async ValueTask<T> ForceApplyAsync<T>(Resource<T> resource, T configuration, string manager, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        configuration.ApiVersion = resource.ApiVersion;
        configuration.Kind = resource.Kind;
        var patch = PatchBody.Apply(ModelJson.Serialize(configuration));
        var path = resource.Path(configuration.Metadata.NamespaceProperty, configuration.Metadata.Name, null);
        var request = new ApiRequest("PATCH", $"{path}?fieldManager={Uri.EscapeDataString(manager)}&force=true", patch.Body, patch.ContentType);
        return Read(resource, await Transport.SendAsync(request, cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Asks for deletion; an object that is not there throws (<see cref="ApiException.IsNotFound"/>).</summary>
    public async ValueTask DeleteAsync<T>(
        Resource<T> resource, string? namespaceName, string name, CancellationToken cancellationToken, V1DeleteOptions? options = null)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var body = options is null ? default : new ReadOnlyMemory<byte>(ModelJson.Serialize(options));
        var request = new ApiRequest("DELETE", resource.Path(namespaceName, name), body, "application/json");
        var response = await Transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (!response.IsSuccess) throw ApiException.From(response);
    }

    /// <summary>Posts to a subresource that takes and answers other types than the object's own (binding, token, eviction).</summary>
    public async ValueTask<TAnswer> PostAsync<TBody, TAnswer>(string path, TBody body, CancellationToken cancellationToken)
    {
        var request = new ApiRequest("POST", path, ModelJson.Serialize(body), "application/json");
        var response = await Transport.SendAsync(request, cancellationToken).ConfigureAwait(false);
        if (!response.IsSuccess) throw ApiException.From(response);
        return JsonSerializer.Deserialize(response.Body.Span, ModelJson.TypeInfo<TAnswer>())!;
    }

    /// <summary>Binds a pod to a node (POST pods/binding), as a scheduler does.</summary>
    public async ValueTask BindAsync(V1Pod pod, string nodeName, CancellationToken cancellationToken)
    {
        var binding = new V1Binding
        {
            ApiVersion = "v1",
            Kind = "Binding",
            Metadata = new V1ObjectMeta { Name = pod.Metadata.Name, NamespaceProperty = pod.Metadata.NamespaceProperty, Uid = pod.Metadata.Uid },
            Target = new V1ObjectReference { ApiVersion = "v1", Kind = "Node", Name = nodeName },
        };
        await PostAsync<V1Binding, V1Status>(
            Resources.Pods.Path(pod.Metadata.NamespaceProperty, pod.Metadata.Name, "binding"), binding, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Watches from <see cref="ListOptions.ResourceVersion"/>; see <see cref="IApiTransport.WatchAsync"/> for how it ends.</summary>
    public IAsyncEnumerable<WatchFrame> WatchAsync<T>(
        Resource<T> resource, string? namespaceName, ListOptions options, CancellationToken cancellationToken, int timeoutSeconds = 0)
        where T : class, IKubernetesObject<V1ObjectMeta> =>
        Transport.WatchAsync(resource.Path(namespaceName) + options.ToQuery(isWatch: true, timeoutSeconds), cancellationToken);

    private async ValueTask<T> WriteAsync<T>(Resource<T> resource, string method, string path, T value, CancellationToken cancellationToken)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(value, resource.Type);
        return Read(resource, await Transport.SendAsync(new ApiRequest(method, path, body, "application/json"), cancellationToken).ConfigureAwait(false));
    }

    private static T Read<T>(Resource<T> resource, ApiResponse response)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        if (!response.IsSuccess) throw ApiException.From(response);
        return JsonSerializer.Deserialize(response.Body.Span, resource.Type)!;
    }
}

/// <summary>A list's revision, items in key order, and the next page's token (null = whole).</summary>
public sealed record ResourceList<T>(string ResourceVersion, IReadOnlyList<T> Items, string? Continue);
