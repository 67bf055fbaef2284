using System.Text;
using K3sFast.Kubelet.Containers;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Volumes;

/// <summary>Files of configMap, secret, downwardAPI and projected volumes, as they are now.</summary>
internal sealed class PayloadBuilder(IObjectSource objects, TokenManager tokens)
{
    // 0644: what defaulting gives where no mode is said.
    private const int DefaultMode = 0x1A4;

    // A token that a non-root user or a group shall read belongs to that user and to nobody else.
    private const int PrivateMode = 0x180;

    private const long DefaultTokenSeconds = 3600;

    /// <summary>Files of the volume by relative path, or null when its kind is none of the four.</summary>
    /// <exception cref="VolumeException">Something that is not optional is missing.</exception>
    public async Task<Dictionary<string, PayloadFile>?> BuildAsync(V1Pod pod, V1Volume volume, PodContext context, CancellationToken cancellationToken)
    {
        var files = new Dictionary<string, PayloadFile>(StringComparer.Ordinal);
        if (volume.ConfigMap is { } configMap)
        {
            await AddConfigMapAsync(files, pod, configMap.Name, configMap.Items, configMap.Optional, configMap.DefaultMode, cancellationToken).ConfigureAwait(false);
        }
        else if (volume.Secret is { } secret)
        {
            await AddSecretAsync(files, pod, secret.SecretName, secret.Items, secret.Optional, secret.DefaultMode, cancellationToken).ConfigureAwait(false);
        }
        else if (volume.DownwardAPI is { } downward)
        {
            AddDownward(files, pod, downward.Items, downward.DefaultMode, context);
        }
        else if (volume.Projected is { } projected)
        {
            foreach (var source in projected.Sources ?? []) await AddProjectionAsync(files, pod, source, projected.DefaultMode, context, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            return null;
        }
        return files;
    }

    private async Task AddProjectionAsync(
        Dictionary<string, PayloadFile> files, V1Pod pod, V1VolumeProjection source, int? defaultMode, PodContext context, CancellationToken cancellationToken)
    {
        if (source.ConfigMap is { } configMap)
        {
            await AddConfigMapAsync(files, pod, configMap.Name, configMap.Items, configMap.Optional, defaultMode, cancellationToken).ConfigureAwait(false);
        }
        else if (source.Secret is { } secret)
        {
            await AddSecretAsync(files, pod, secret.Name, secret.Items, secret.Optional, defaultMode, cancellationToken).ConfigureAwait(false);
        }
        else if (source.DownwardAPI is { } downward)
        {
            AddDownward(files, pod, downward.Items, defaultMode, context);
        }
        else if (source.ServiceAccountToken is { } token)
        {
            var owner = CommonUser(pod);
            var isPrivate = owner is not null || pod.Spec.SecurityContext?.FsGroup is not null;
            var value = await tokens.GetAsync(pod, token.Audience ?? "", token.ExpirationSeconds ?? DefaultTokenSeconds, cancellationToken).ConfigureAwait(false);
            files[token.Path] = new PayloadFile(Encoding.UTF8.GetBytes(value), isPrivate ? PrivateMode : defaultMode ?? DefaultMode, owner);
        }
        else
        {
            throw new VolumeException("this projected source is not supported by this node");
        }
    }

    private async Task AddConfigMapAsync(
        Dictionary<string, PayloadFile> files, V1Pod pod, string name, IList<V1KeyToPath>? items, bool? optional, int? defaultMode, CancellationToken cancellationToken)
    {
        var found = await objects.FindConfigMapAsync(pod.Metadata.NamespaceProperty, name, cancellationToken).ConfigureAwait(false);
        if (found is null)
        {
            if (optional == true) return;
            throw new VolumeException($"configmap \"{name}\" not found");
        }
        var data = new Dictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var (key, value) in found.Data ?? new Dictionary<string, string>()) data[key] = Encoding.UTF8.GetBytes(value);
        foreach (var (key, value) in found.BinaryData ?? new Dictionary<string, byte[]>()) data[key] = value;
        AddItems(files, data, items, optional, defaultMode);
    }

    private async Task AddSecretAsync(
        Dictionary<string, PayloadFile> files, V1Pod pod, string name, IList<V1KeyToPath>? items, bool? optional, int? defaultMode, CancellationToken cancellationToken)
    {
        var found = await objects.FindSecretAsync(pod.Metadata.NamespaceProperty, name, cancellationToken).ConfigureAwait(false);
        if (found is null)
        {
            if (optional == true) return;
            throw new VolumeException($"secret \"{name}\" not found");
        }
        AddItems(files, found.Data ?? new Dictionary<string, byte[]>(), items, optional, defaultMode);
    }

    private static void AddItems(
        Dictionary<string, PayloadFile> files, IDictionary<string, byte[]> data, IList<V1KeyToPath>? items, bool? optional, int? defaultMode)
    {
        if (items is not { Count: > 0 })
        {
            foreach (var (key, value) in data) files[key] = new PayloadFile(value, defaultMode ?? DefaultMode);
            return;
        }
        foreach (var item in items)
        {
            if (data.TryGetValue(item.Key, out var value)) files[item.Path] = new PayloadFile(value, item.Mode ?? defaultMode ?? DefaultMode);
            else if (optional != true) throw new VolumeException($"references non-existent config key: {item.Key}");
        }
    }

    private static void AddDownward(Dictionary<string, PayloadFile> files, V1Pod pod, IList<V1DownwardAPIVolumeFile>? items, int? defaultMode, PodContext context)
    {
        foreach (var item in items ?? [])
        {
            var text = item.FieldRef is { } field
                ? FieldReference.OfPod(pod, field.FieldPath, context.PodIPs, context.HostIPs)
                : item.ResourceFieldRef is { } resource ? FieldReference.OfResource(pod, resource, null, context.NodeAllocatable) : "";
            files[item.Path] = new PayloadFile(Encoding.UTF8.GetBytes(text), item.Mode ?? defaultMode ?? DefaultMode);
        }
    }

    // The one user that all containers run as, if they do.
    private static int? CommonUser(V1Pod pod)
    {
        long? common = null;
        foreach (var container in PodContainer.Of(pod))
        {
            var user = container.Spec.SecurityContext?.RunAsUser ?? pod.Spec.SecurityContext?.RunAsUser;
            if (user is null || (common is not null && common != user)) return null;
            common = user;
        }
        return (int?)common;
    }
}

/// <summary>A volume cannot be made ready (yet); the message is the one that the FailedMount event shows.</summary>
internal sealed class VolumeException(string message) : Exception(message);
