namespace K3sFast.ApiMachinery;

/// <summary>Defaults of spec.resources of a pod, which stand for all its containers together.</summary>
internal static class PodLevelResources
{
    /// <summary>
    /// Requests that are left out become what the containers ask for together, or the pod's limit where no container asks. Huge pages
    /// cannot be overcommitted: their limit becomes the containers' limit where the pod says nothing.
    /// </summary>
    internal static void ApplyDefaults(ApiNode spec)
    {
        var resources = spec["resources"u8];
        if (resources["limits"u8].Count == 0 && resources["requests"u8].Count == 0)
            return;
        foreach (var container in spec["containers"u8].Elements)
            foreach (var limit in container["resources"u8]["limits"u8].Members)
                if (limit.Name.StartsWith("hugepages-"u8) && !resources["requests"u8][limit.Name].IsDefined && !resources["limits"u8][limit.Name].IsDefined)
                    SetQuantity(resources, "limits"u8, limit.Name, ContainerSum.Of(spec, "limits"u8, limit.Name));
        var limits = resources["limits"u8];
        if (limits.Count == 0)
            return;
        foreach (var name in (ReadOnlySpan<string>)["cpu", "memory"])
        {
            var key = System.Text.Encoding.ASCII.GetBytes(name);
            if (resources["requests"u8][key].IsDefined)
                continue;
            string? sum = ContainerSum.Of(spec, "requests"u8, key);
            if (sum is not null)
                SetQuantity(resources, "requests"u8, key, sum);
        }
        foreach (var limit in limits.Members)
        {
            bool isSupported = limit.Name.SequenceEqual("cpu"u8) || limit.Name.SequenceEqual("memory"u8) || limit.Name.StartsWith("hugepages-"u8);
            if (!isSupported || resources["requests"u8][limit.Name].IsDefined)
                continue;
            if (resources["requests"u8].Kind != NodeKind.Object)
                resources.GetOrAddObject("requests"u8);
            resources["requests"u8].Set(limit.Name, limit.Value);
        }
    }

    private static void SetQuantity(ApiNode resources, ReadOnlySpan<byte> list, ReadOnlySpan<byte> name, string? value)
    {
        if (value is not null)
            resources.GetOrAddObject(list).Set(name, value);
    }
}
