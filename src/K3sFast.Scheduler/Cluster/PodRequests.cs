using k8s.Models;

namespace K3sFast.Scheduler;

/// <summary>
/// What a pod asks of a node: the larger of all containers with their sidecars and the hungriest moment of initialisation, plus overhead;
/// what the pod itself asks for (pod level) stands above the sum of its containers. Pure.
/// </summary>
internal static class PodRequests
{
    // Scoring counts a container that asks for nothing as if it asked for this (upstream's defaults), so that such pods spread.
    private const long DefaultMilliCpu = 100;
    private const long DefaultMemory = 200 * 1024 * 1024;

    internal static ResourceAmounts Sum(V1Pod pod) => Sum(pod, withDefaults: false);

    /// <summary>The sum that scoring by load uses: containers without a request count with a small one.</summary>
    internal static ResourceAmounts SumForScore(V1Pod pod) => Sum(pod, withDefaults: true);

    private static ResourceAmounts Sum(V1Pod pod, bool withDefaults)
    {
        var total = new ResourceAmounts();
        foreach (var container in pod.Spec.Containers ?? []) total.Add(Of(container, pod.Status?.ContainerStatuses, withDefaults));

        // Init containers run one after the other; those that restart always (sidecars) stay and add up.
        var sidecars = new ResourceAmounts();
        var peak = new ResourceAmounts();
        foreach (var container in pod.Spec.InitContainers ?? [])
        {
            var asked = Of(container, pod.Status?.InitContainerStatuses, withDefaults);
            if (container.RestartPolicy == "Always")
            {
                sidecars.Add(asked);
                peak.Raise(sidecars);
                continue;
            }
            asked.Add(sidecars);
            peak.Raise(asked);
        }
        total.Add(sidecars);
        total.Raise(peak);
        if (pod.Spec.Resources?.Requests is { } podLevel)
        {
            foreach (var (name, quantity) in podLevel) total.Set(name, ResourceAmounts.Amount(name, quantity));
        }
        if (pod.Spec.Overhead is { } overhead) total.Add(ResourceAmounts.Of(overhead));
        return total;
    }

    private static ResourceAmounts Of(V1Container container, IList<V1ContainerStatus>? statuses, bool withDefaults)
    {
        var amounts = ResourceAmounts.Of(container.Resources?.Requests);
        // While a resize is under way the node may still hold the larger amount.
        foreach (var status in statuses ?? [])
        {
            if (status.Name == container.Name && status.AllocatedResources is { } allocated) amounts.Raise(ResourceAmounts.Of(allocated));
        }
        if (!withDefaults) return amounts;
        if (container.Resources?.Requests?.ContainsKey("cpu") != true) amounts.MilliCpu = DefaultMilliCpu;
        if (container.Resources?.Requests?.ContainsKey("memory") != true) amounts.Memory = DefaultMemory;
        return amounts;
    }
}
