using k8s;
using k8s.Models;

namespace K3sFast.Client;

/// <summary>Namespace ("" for cluster-scoped objects) and name: what queues and stores are keyed by.</summary>
public readonly record struct ObjectKey(string Namespace, string Name)
{
    /// <summary>The key of an object.</summary>
    public static ObjectKey Of(IKubernetesObject<V1ObjectMeta> value) => new(value.Metadata.NamespaceProperty ?? "", value.Metadata.Name ?? "");

    /// <summary>As people and logs write it: namespace/name, or name.</summary>
    public override string ToString() => Namespace.Length == 0 ? Name : $"{Namespace}/{Name}";
}
