using K3sFast.Client;
using k8s;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Owner references as controllers read and write them. Stateless.</summary>
internal static class Owners
{
    /// <summary>The reference marked controller=true, or null.</summary>
    internal static V1OwnerReference? ControllerOf(IKubernetesObject<V1ObjectMeta> value)
    {
        if (value.Metadata.OwnerReferences is not { } owners) return null;
        for (var i = 0; i < owners.Count; i++)
        {
            if (owners[i].Controller == true) return owners[i];
        }
        return null;
    }

    /// <summary>Keys of the index <see cref="PodIndex.ByController"/>.</summary>
    internal static IEnumerable<string> ControllerKeys(IKubernetesObject<V1ObjectMeta> value) =>
        [ControllerOf(value)?.Uid ?? PodIndex.OrphansOf(value.Metadata.NamespaceProperty)];

    internal static bool IsControlledBy(IKubernetesObject<V1ObjectMeta> value, IKubernetesObject<V1ObjectMeta> owner) =>
        ControllerOf(value)?.Uid == owner.Metadata.Uid;

    /// <summary>The reference that makes <paramref name="owner"/> the controller of what carries it.</summary>
    internal static V1OwnerReference Reference<T>(Resource<T> resource, T owner)
        where T : class, IKubernetesObject<V1ObjectMeta> => new()
        {
            ApiVersion = resource.ApiVersion,
            Kind = resource.Kind,
            Name = owner.Metadata.Name,
            Uid = owner.Metadata.Uid,
            Controller = true,
            BlockOwnerDeletion = true,
        };

    /// <summary>The object that a controller reference of <paramref name="child"/> names, if it is still the same one (by uid).</summary>
    internal static T? Resolve<T>(Informer<T> informer, string namespaceName, V1OwnerReference? reference)
        where T : class, IKubernetesObject<V1ObjectMeta>
    {
        if (reference is null || reference.Kind != informer.Resource.Kind) return null;
        if (!reference.ApiVersion.StartsWith(informer.Resource.Group, StringComparison.Ordinal)) return null;
        var owner = informer.Get(namespaceName, reference.Name);
        return owner?.Metadata.Uid == reference.Uid ? owner : null;
    }

    /// <summary>Same labels, in whatever order.</summary>
    internal static bool SameLabels(IDictionary<string, string>? a, IDictionary<string, string>? b)
    {
        if ((a?.Count ?? 0) != (b?.Count ?? 0)) return false;
        foreach (var (key, value) in a ?? s_none)
        {
            if (!b!.TryGetValue(key, out var other) || other != value) return false;
        }
        return true;
    }

    private static readonly Dictionary<string, string> s_none = [];
}
