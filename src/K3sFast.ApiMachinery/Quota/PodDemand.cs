namespace K3sFast.ApiMachinery;

/// <summary>
/// What a pod as a whole requests and is limited to: containers together, init containers one after the other, pod-level values instead of the sum,
/// the overhead of its runtime class on top. While a resize is under way the greater of what is wanted and what is held counts.
/// </summary>
public static class PodDemand
{
    /// <summary>Requests of the whole pod.</summary>
    public static ResourceAmounts Requests(ApiNode pod)
    {
        var spec = pod["spec"u8];
        var sum = Sum(pod, static list => list["requests"u8], withAllocated: true);
        OverrideByPod(sum, spec["resources"u8], "requests"u8);
        sum.Add(ResourceAmounts.Read(spec["overhead"u8]));
        return sum;
    }

    /// <summary>Limits of the whole pod; what no container limits is not in it.</summary>
    public static ResourceAmounts Limits(ApiNode pod)
    {
        var spec = pod["spec"u8];
        var sum = Sum(pod, static list => list["limits"u8], withAllocated: false);
        OverrideByPod(sum, spec["resources"u8], "limits"u8);
        foreach (var (name, overhead) in ResourceAmounts.Read(spec["overhead"u8]))
        {
            if (sum.TryGetValue(name, out var limit) && limit.Sign != 0)
                sum[name] = limit + overhead;
        }
        return sum;
    }

    /// <summary>The containers' sum of <paramref name="list"/> ("requests" or "limits") as the spec has it, with pod-level cpu and memory, without overhead.</summary>
    public static ResourceAmounts OfSpec(ApiNode spec, string list)
    {
        var name = System.Text.Encoding.UTF8.GetBytes(list);
        var sum = Sum(spec, container => ResourceAmounts.Read(container["resources"u8][name]));
        foreach (var (resource, quantity) in ResourceAmounts.Read(spec["resources"u8][name]))
        {
            if (resource is "cpu" or "memory")
                sum[resource] = quantity;
        }
        return sum;
    }

    /// <summary>Whether pod-level resources say something.</summary>
    internal static bool HasPodLevel(ApiNode resources)
    {
        foreach (var member in resources["requests"u8].Members)
        {
            if (IsPodLevel(System.Text.Encoding.UTF8.GetString(member.Name)))
                return true;
        }
        foreach (var member in resources["limits"u8].Members)
        {
            if (IsPodLevel(System.Text.Encoding.UTF8.GetString(member.Name)))
                return true;
        }
        return false;
    }

    private static void OverrideByPod(ResourceAmounts sum, ApiNode resources, ReadOnlySpan<byte> list)
    {
        foreach (var (name, quantity) in ResourceAmounts.Read(resources[list]))
        {
            if (IsPodLevel(name))
                sum[name] = quantity;
        }
    }

    private static bool IsPodLevel(string name) => name is "cpu" or "memory" || name.StartsWith("hugepages-", StringComparison.Ordinal);

    private static ResourceAmounts Sum(ApiNode pod, Func<ApiNode, ApiNode> list, bool withAllocated)
    {
        var status = pod["status"u8];
        var isInfeasible = IsResizeInfeasible(status);
        return Sum(pod["spec"u8], container =>
        {
            var wanted = ResourceAmounts.Read(list(container["resources"u8]));
            var held = StatusOf(status, container["name"u8]);
            if (held["resources"u8].IsNullOrUndefined || IsInit(pod, container) && !IsSidecar(container))
                return wanted;
            var amounts = isInfeasible ? new ResourceAmounts() : wanted;
            amounts.Raise(ResourceAmounts.Read(list(held["resources"u8])));
            if (withAllocated)
                amounts.Raise(ResourceAmounts.Read(held["allocatedResources"u8]));
            return amounts;
        });
    }

    private static ResourceAmounts Sum(ApiNode spec, Func<ApiNode, ResourceAmounts> amountsOf)
    {
        var running = new ResourceAmounts();
        foreach (var container in spec["containers"u8].Elements)
            running.Add(amountsOf(container));
        var sidecars = new ResourceAmounts();
        var starting = new ResourceAmounts();
        foreach (var container in spec["initContainers"u8].Elements)
        {
            var amounts = amountsOf(container);
            var together = amounts.Copy();
            together.Add(sidecars);
            if (IsSidecar(container))
            {
                running.Add(amounts);
                sidecars = together;
            }
            starting.Raise(together);
        }
        running.Raise(starting);
        return running;
    }

    private static bool IsSidecar(ApiNode container) => container["restartPolicy"u8].Equals("Always"u8);

    private static bool IsInit(ApiNode pod, ApiNode container)
    {
        foreach (var init in pod["spec"u8]["initContainers"u8].Elements)
        {
            if (init == container)
                return true;
        }
        return false;
    }

    private static ApiNode StatusOf(ApiNode status, ApiNode name)
    {
        foreach (var candidate in status["containerStatuses"u8].Elements)
        {
            if (candidate["name"u8].DeepEquals(name))
                return candidate;
        }
        foreach (var candidate in status["initContainerStatuses"u8].Elements)
        {
            if (candidate["name"u8].DeepEquals(name))
                return candidate;
        }
        return default;
    }

    private static bool IsResizeInfeasible(ApiNode status)
    {
        foreach (var condition in status["conditions"u8].Elements)
        {
            if (condition["type"u8].Equals("PodResizePending"u8))
                return condition["reason"u8].Equals("Infeasible"u8);
        }
        return false;
    }
}
