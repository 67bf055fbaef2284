using k8s.Models;

namespace K3sFast.Kubelet.Volumes;

/// <summary>ConfigMaps and Secrets that pods on this node refer to, always current.</summary>
internal interface IObjectSource
{
    /// <summary>The ConfigMap, or null where there is none. Shared: do not change it.</summary>
    ValueTask<V1ConfigMap?> FindConfigMapAsync(string namespaceName, string name, CancellationToken cancellationToken);

    /// <summary>The Secret, or null where there is none. Shared: do not change it.</summary>
    ValueTask<V1Secret?> FindSecretAsync(string namespaceName, string name, CancellationToken cancellationToken);
}
