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
        var limits = resources["limits"u8];
        if (limits.Count == 0)
            return;
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
}
