using System.Text;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Volumes;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>
/// The environment of a container: services, then envFrom in order, then env in order, each later one over the earlier ones. Values may use
/// everything that is defined before them.
/// </summary>
internal sealed class EnvironmentBuilder(IObjectSource objects, Func<V1Pod, CancellationToken, ValueTask<IReadOnlyList<V1Service>>> services)
{
    /// <summary>Name and value of every variable, in definition order.</summary>
    /// <exception cref="ContainerException">A reference that is not optional leads nowhere.</exception>
    public async Task<List<KeyValuePair<string, string>>> BuildAsync(V1Pod pod, PodContainer container, PodContext context, CancellationToken cancellationToken)
    {
        var serviceVariables = ServiceEnvironment.Build(await services(pod, cancellationToken).ConfigureAwait(false), pod.Metadata.NamespaceProperty, pod.Spec.EnableServiceLinks ?? true);
        var order = new List<string>();
        var values = new Dictionary<string, string>(StringComparer.Ordinal);

        foreach (var source in container.Spec.EnvFrom ?? []) await AddSourceAsync(pod, source, Set, cancellationToken).ConfigureAwait(false);
        foreach (var variable in container.Spec.Env ?? [])
        {
            var value = variable.ValueFrom is { } from
                ? await ResolveAsync(pod, container, from, context, cancellationToken).ConfigureAwait(false)
                : VariableExpansion.Expand(variable.Value ?? "", Lookup);
            // Only an optional reference to nothing gives no value: the variable is then not defined at all.
            if (value is not null) Set(variable.Name, value);
        }
        var result = new List<KeyValuePair<string, string>>(order.Count + serviceVariables.Count);
        foreach (var name in order) result.Add(new(name, values[name]));
        foreach (var (name, value) in serviceVariables)
        {
            if (!values.ContainsKey(name)) result.Add(new(name, value));
        }
        return result;

        void Set(string name, string value)
        {
            if (!values.ContainsKey(name)) order.Add(name);
            values[name] = value;
        }

        string? Lookup(string name) => values.GetValueOrDefault(name) ?? serviceVariables.GetValueOrDefault(name);
    }

    private async Task AddSourceAsync(V1Pod pod, V1EnvFromSource source, Action<string, string> set, CancellationToken cancellationToken)
    {
        var namespaceName = pod.Metadata.NamespaceProperty;
        if (source.ConfigMapRef is { } configMapRef)
        {
            var configMap = await objects.FindConfigMapAsync(namespaceName, configMapRef.Name, cancellationToken).ConfigureAwait(false);
            if (configMap is null)
            {
                if (configMapRef.Optional == true) return;
                throw ContainerException.Config($"configmap \"{configMapRef.Name}\" not found");
            }
            foreach (var (key, value) in Sorted(configMap.Data)) Add(key, value);
        }
        else if (source.SecretRef is { } secretRef)
        {
            var secret = await objects.FindSecretAsync(namespaceName, secretRef.Name, cancellationToken).ConfigureAwait(false);
            if (secret is null)
            {
                if (secretRef.Optional == true) return;
                throw ContainerException.Config($"secret \"{secretRef.Name}\" not found");
            }
            foreach (var (key, value) in Sorted(secret.Data)) Add(key, Encoding.UTF8.GetString(value));
        }

        void Add(string key, string value)
        {
            var name = source.Prefix + key;
            if (name.Length > 0 && !name.Contains('=')) set(name, value);
        }
    }

    private static IEnumerable<KeyValuePair<string, T>> Sorted<T>(IDictionary<string, T>? map) =>
        map is null ? [] : map.OrderBy(entry => entry.Key, StringComparer.Ordinal);

    private async Task<string?> ResolveAsync(V1Pod pod, PodContainer container, V1EnvVarSource from, PodContext context, CancellationToken cancellationToken)
    {
        var namespaceName = pod.Metadata.NamespaceProperty;
        if (from.FieldRef is { } field) return FieldReference.OfPod(pod, field.FieldPath, context.PodIPs, context.HostIPs);
        if (from.ResourceFieldRef is { } resource) return FieldReference.OfResource(pod, resource, container.Name, context.NodeAllocatable);
        if (from.ConfigMapKeyRef is { } configMapKey)
        {
            var configMap = await objects.FindConfigMapAsync(namespaceName, configMapKey.Name, cancellationToken).ConfigureAwait(false);
            if (configMap?.Data is { } data && data.TryGetValue(configMapKey.Key, out var value)) return value;
            if (configMapKey.Optional == true) return null;
            throw ContainerException.Config(configMap is null
                ? $"configmap \"{configMapKey.Name}\" not found"
                : $"couldn't find key {configMapKey.Key} in ConfigMap {namespaceName}/{configMapKey.Name}");
        }
        if (from.SecretKeyRef is { } secretKey)
        {
            var secret = await objects.FindSecretAsync(namespaceName, secretKey.Name, cancellationToken).ConfigureAwait(false);
            if (secret?.Data is { } data && data.TryGetValue(secretKey.Key, out var value)) return Encoding.UTF8.GetString(value);
            if (secretKey.Optional == true) return null;
            throw ContainerException.Config(secret is null
                ? $"secret \"{secretKey.Name}\" not found"
                : $"couldn't find key {secretKey.Key} in Secret {namespaceName}/{secretKey.Name}");
        }
        throw ContainerException.Config("this source of an environment variable is not supported by this node");
    }
}

/// <summary>What a pod's containers are told about where they run.</summary>
internal sealed record PodContext(
    IReadOnlyList<string> PodIPs, IReadOnlyList<string> HostIPs, string Hostname, string HostDomain, IReadOnlyDictionary<string, decimal> NodeAllocatable);
