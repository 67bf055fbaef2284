using k8s.Models;

namespace K3sFast.Kubelet.Pods;

/// <summary>What the kubelet asks of a pod again and again.</summary>
internal static class PodExtensions
{
    /// <summary>name_namespace(uid): how messages and events name a pod.</summary>
    public static string Describe(this V1Pod pod) => $"{pod.Metadata.Name}_{pod.Metadata.NamespaceProperty}({pod.Metadata.Uid})";

    public static bool IsHostNetwork(this V1Pod pod) => pod.Spec.HostNetwork == true;

    /// <summary>True once no container of the pod will run again, as the API knows it.</summary>
    public static bool IsTerminal(this V1Pod pod) => pod.Status?.Phase is "Succeeded" or "Failed";

    /// <summary>True for the API's picture of a static pod.</summary>
    public static bool IsMirror(this V1Pod pod) => pod.Annotation(Cri.CriLabels.ConfigMirror) is not null;

    public static string? Annotation(this V1Pod pod, string name) =>
        pod.Metadata.Annotations is { } annotations && annotations.TryGetValue(name, out var value) ? value : null;

    public static string RestartPolicyOrDefault(this V1Pod pod) => string.IsNullOrEmpty(pod.Spec.RestartPolicy) ? "Always" : pod.Spec.RestartPolicy;

    public static decimal Amount(this IDictionary<string, ResourceQuantity>? resources, string name) =>
        resources is not null && resources.TryGetValue(name, out var quantity) ? quantity.ToDecimal() : 0;

    public static bool Has(this IDictionary<string, ResourceQuantity>? resources, string name) => resources is not null && resources.ContainsKey(name);

    /// <summary>A container's request; its limit where no request is given, as defaulting does.</summary>
    public static decimal RequestOf(this V1Container container, string name) =>
        container.Resources?.Requests.Has(name) == true ? container.Resources.Requests.Amount(name) : container.Resources?.Limits.Amount(name) ?? 0;

    public static decimal LimitOf(this V1Container container, string name) => container.Resources?.Limits.Amount(name) ?? 0;

    /// <summary>
    /// What the pod needs at its peak: the sum of its containers and sidecars, or an init container together with the sidecars started
    /// before it if that is more; plus overhead; a pod-level request wins.
    /// </summary>
    public static decimal TotalRequest(this V1Pod pod, string name)
    {
        if (pod.Spec.Resources?.Requests.Has(name) == true) return pod.Spec.Resources.Requests.Amount(name) + pod.Spec.Overhead.Amount(name);
        return Peak(pod, container => container.RequestOf(name)) + pod.Spec.Overhead.Amount(name);
    }

    /// <summary>The pod's limit, or 0 when some container has none (the pod is then unbounded).</summary>
    public static decimal TotalLimit(this V1Pod pod, string name)
    {
        if (pod.Spec.Resources?.Limits.Has(name) == true) return pod.Spec.Resources.Limits.Amount(name) + pod.Spec.Overhead.Amount(name);
        foreach (var container in PodContainer.Of(pod))
        {
            if (container.Role != ContainerRole.Ephemeral && container.Spec.LimitOf(name) == 0) return 0;
        }
        return Peak(pod, container => container.LimitOf(name)) + pod.Spec.Overhead.Amount(name);
    }

    /// <summary>Guaranteed, Burstable or BestEffort.</summary>
    public static string QosClass(this V1Pod pod)
    {
        var isGuaranteed = true;
        var isBestEffort = true;
        if (pod.Spec.Resources is { } podLevel && (podLevel.Requests?.Count > 0 || podLevel.Limits?.Count > 0))
        {
            return IsGuaranteed(podLevel) ? "Guaranteed" : "Burstable";
        }
        foreach (var container in PodContainer.Of(pod))
        {
            if (container.Role == ContainerRole.Ephemeral) continue;
            var resources = container.Spec.Resources;
            foreach (var name in (ReadOnlySpan<string>)["cpu", "memory"])
            {
                if (resources?.Requests.Amount(name) > 0 || resources?.Limits.Amount(name) > 0) isBestEffort = false;
            }
            isGuaranteed &= resources is not null && IsGuaranteed(resources);
        }
        return isBestEffort ? "BestEffort" : isGuaranteed ? "Guaranteed" : "Burstable";
    }

    private static bool IsGuaranteed(V1ResourceRequirements resources)
    {
        foreach (var name in (ReadOnlySpan<string>)["cpu", "memory"])
        {
            var limit = resources.Limits.Amount(name);
            if (limit == 0 || (resources.Requests.Has(name) && resources.Requests.Amount(name) != limit)) return false;
        }
        return true;
    }

    private static decimal Peak(V1Pod pod, Func<V1Container, decimal> amount)
    {
        decimal sidecars = 0, initPeak = 0, main = 0;
        foreach (var container in PodContainer.Of(pod))
        {
            var value = amount(container.Spec);
            switch (container.Role)
            {
                case ContainerRole.Sidecar:
                    sidecars += value;
                    initPeak = Math.Max(initPeak, sidecars);
                    break;
                case ContainerRole.Init:
                    initPeak = Math.Max(initPeak, sidecars + value);
                    break;
                case ContainerRole.Main:
                    main += value;
                    break;
                default:
                    break;
            }
        }
        return Math.Max(main + sidecars, initPeak);
    }
}
