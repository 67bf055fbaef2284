using K3sFast.Client;
using K3sFast.Kubelet.Pods;
using k8s;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Volumes;

/// <summary>
/// Watches exactly the ConfigMaps and Secrets that pods on this node refer to, one watch per object as the node's permissions allow, for as long
/// as some pod refers to it. Pods hear of a change at once.
/// </summary>
internal sealed class ObjectWatches(ApiClient client, Action<string> podChanged, ILoggerFactory loggers, CancellationToken stopping) : IObjectSource
{
    // How long a container waits for the first answer about an object before its start is tried again later.
    private static readonly TimeSpan s_firstAnswer = TimeSpan.FromSeconds(10);

    private readonly WatchSet<V1ConfigMap> _configMaps = new(client, Resources.ConfigMaps, podChanged, loggers, stopping);
    private readonly WatchSet<V1Secret> _secrets = new(client, Resources.Secrets, podChanged, loggers, stopping);

    public ValueTask<V1ConfigMap?> FindConfigMapAsync(string namespaceName, string name, CancellationToken cancellationToken) =>
        _configMaps.FindAsync(new ObjectKey(namespaceName, name), s_firstAnswer, cancellationToken);

    public ValueTask<V1Secret?> FindSecretAsync(string namespaceName, string name, CancellationToken cancellationToken) =>
        _secrets.FindAsync(new ObjectKey(namespaceName, name), s_firstAnswer, cancellationToken);

    /// <summary>The pod's references are from now on those of this spec.</summary>
    public void Register(V1Pod pod)
    {
        var (configMaps, secrets) = References(pod);
        _configMaps.Set(pod.Metadata.Uid, configMaps);
        _secrets.Set(pod.Metadata.Uid, secrets);
    }

    /// <summary>The pod refers to nothing any more.</summary>
    public void Unregister(string podUid)
    {
        _configMaps.Set(podUid, []);
        _secrets.Set(podUid, []);
    }

    internal static (HashSet<ObjectKey> ConfigMaps, HashSet<ObjectKey> Secrets) References(V1Pod pod)
    {
        var namespaceName = pod.Metadata.NamespaceProperty;
        HashSet<ObjectKey> configMaps = [], secrets = [];
        foreach (var container in PodContainer.Of(pod))
        {
            foreach (var source in container.Spec.EnvFrom ?? [])
            {
                Add(configMaps, source.ConfigMapRef?.Name);
                Add(secrets, source.SecretRef?.Name);
            }
            foreach (var variable in container.Spec.Env ?? [])
            {
                Add(configMaps, variable.ValueFrom?.ConfigMapKeyRef?.Name);
                Add(secrets, variable.ValueFrom?.SecretKeyRef?.Name);
            }
        }
        foreach (var volume in pod.Spec.Volumes ?? [])
        {
            Add(configMaps, volume.ConfigMap?.Name);
            Add(secrets, volume.Secret?.SecretName);
            foreach (var source in volume.Projected?.Sources ?? [])
            {
                Add(configMaps, source.ConfigMap?.Name);
                Add(secrets, source.Secret?.Name);
            }
        }
        foreach (var reference in pod.Spec.ImagePullSecrets ?? []) Add(secrets, reference.Name);
        return (configMaps, secrets);

        void Add(HashSet<ObjectKey> set, string? name)
        {
            if (!string.IsNullOrEmpty(name)) set.Add(new ObjectKey(namespaceName, name));
        }
    }
}

/// <summary>Watches of single objects of one kind, counted by the pods that use them.</summary>
internal sealed class WatchSet<T>(ApiClient client, Resource<T> resource, Action<string> podChanged, ILoggerFactory loggers, CancellationToken stopping)
    where T : class, IKubernetesObject<V1ObjectMeta>
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ObjectKey, Entry> _entries = [];

    public async ValueTask<T?> FindAsync(ObjectKey key, TimeSpan timeout, CancellationToken cancellationToken)
    {
        Entry? entry;
        lock (_gate) _entries.TryGetValue(key, out entry);
        // Asked for something that no registered pod refers to: answered by the API itself.
        if (entry is null) return await client.FindAsync(resource, key.Namespace, key.Name, cancellationToken).ConfigureAwait(false);
        if (!entry.Informer.HasSynced)
        {
            try
            {
                await entry.Informer.WaitForSyncAsync(cancellationToken).WaitAsync(timeout, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                throw new IOException($"failed to sync {resource.Kind.ToLowerInvariant()} cache: timed out waiting for {key}");
            }
        }
        return entry.Informer.Get(key);
    }

    public void Set(string podUid, HashSet<ObjectKey> keys)
    {
        lock (_gate)
        {
            foreach (var key in keys)
            {
                if (!_entries.TryGetValue(key, out var entry)) _entries[key] = entry = StartLocked(key);
                entry.Pods.Add(podUid);
            }
            foreach (var (key, entry) in _entries)
            {
                if (keys.Contains(key) || !entry.Pods.Remove(podUid) || entry.Pods.Count > 0) continue;
                entry.Stop.Cancel();
                _entries.Remove(key);
            }
        }
    }

    private Entry StartLocked(ObjectKey key)
    {
        var informer = new Informer<T>(
            client, resource, key.Namespace, new ListOptions(FieldSelector: $"metadata.name={key.Name}"), loggers.CreateLogger("K3sFast.Kubelet.ObjectWatch"));
        var entry = new Entry(informer, CancellationTokenSource.CreateLinkedTokenSource(stopping), []);
        informer.AddHandler(_ =>
        {
            string[] pods;
            lock (_gate) pods = [.. entry.Pods];
            foreach (var pod in pods) podChanged(pod);
        });
        _ = RunAsync(entry);
        return entry;
    }

    private static async Task RunAsync(Entry entry)
    {
        // Not on the caller's stack: it holds the lock.
        await Task.Yield();
        using (entry.Stop) await entry.Informer.RunAsync(entry.Stop.Token).ConfigureAwait(false);
    }

    private sealed record Entry(Informer<T> Informer, CancellationTokenSource Stop, HashSet<string> Pods);
}
