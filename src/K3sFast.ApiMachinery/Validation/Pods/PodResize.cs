using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>What the resize subresource may change: processor time and memory of containers and of the whole pod, within its quality of service.</summary>
internal static class PodResize
{
    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodSpec")!;
    private static readonly TypeSchema s_containerType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Container")!;
    private static readonly TypeSchema s_requirementsType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.ResourceRequirements")!;

    internal static void Check(At at, ApiNode pod, ApiNode old)
    {
        var spec = pod["spec"u8];
        var oldSpec = old["spec"u8];
        if (Never(old) is { } reason)
        {
            at.Check.Errors.Clear();
            at.Forbidden(reason);
            return;
        }
        var place = at["spec"];
        int errorsBefore = at.Check.Errors.Count;
        // Upstream shows the class that was stored, not the new one.
        if (!PodQuality.ClassOf(spec).SequenceEqual(PodQuality.ClassOf(oldSpec)))
            place.Invalid(old["status"u8]["qosClass"u8], "Pod QOS Class may not change as a result of resizing");
        if (!IsSupported(old))
            place.Forbidden("Pod running on node without support for resize");
        var wanted = spec.Document.NewObject().Set("spec"u8, spec);
        if (HasAmounts(oldSpec["resources"u8]) || HasAmounts(spec["resources"u8]))
        {
            if (!FeatureGates.Current.IsOn("InPlacePodLevelResourcesVerticalScaling"))
            {
                at.Forbidden("resize of pods with pod-level resources is forbidden when InPlacePodLevelResourcesVerticalScalingEnabled feature gate is disabled");
                return;
            }
            OfPod(place, wanted, oldSpec);
        }
        if (old["status"u8]["nodeAllocatableResourceClaimStatuses"u8].Count > 0)
            place.Forbidden("pods with node allocatable resource claims cannot be resized");
        bool isSameOrder = SameOrder(place, "containers", spec["containers"u8], oldSpec["containers"u8]);
        if (!SameOrder(place, "initContainers", spec["initContainers"u8], oldSpec["initContainers"u8]) || !isSameOrder)
            return;
        Removals(place["initContainers"], spec["initContainers"u8], oldSpec["initContainers"u8], onlySidecars: !FeatureGates.Current.IsOn("InPlacePodVerticalScalingInitContainers"));
        Removals(place["containers"], spec["containers"u8], oldSpec["containers"u8], onlySidecars: false);
        Containers(place, wanted["containers"u8], oldSpec["containers"u8]);
        InitContainers(place, wanted["initContainers"u8], oldSpec["initContainers"u8]);
        if (at.Check.Errors.Count == errorsBefore && errorsBefore == 0 && !SemanticEquality.Equal(wanted, oldSpec, s_specType))
            place.Forbidden("only cpu and memory resources are mutable");
    }

    private static string? Never(ApiNode old)
    {
        if (old["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
            return "static pods cannot be resized";
        return old["spec"u8]["os"u8]["name"u8].Equals("windows"u8) ? "windows pods cannot be resized" : null;
    }

    // A kubelet that can resize says what a running container has.
    private static bool IsSupported(ApiNode pod)
    {
        foreach (var status in pod["status"u8]["containerStatuses"u8].Elements)
            if (status["state"u8]["running"u8].Kind == NodeKind.Object)
                return status["resources"u8].Kind == NodeKind.Object;
        return true;
    }

    private static bool HasAmounts(ApiNode resources) => resources["requests"u8].Count + resources["limits"u8].Count > 0;

    private static void OfPod(At at, ApiNode wanted, ApiNode oldSpec)
    {
        var resources = wanted["resources"u8];
        var old = oldSpec["resources"u8];
        if (old.Kind == NodeKind.Object && resources.Kind != NodeKind.Object)
        {
            at["resources"].Forbidden("pod-level resources cannot be removed");
            return;
        }
        if (AreRemoved(resources["requests"u8], old["requests"u8]))
            at["resources"]["requests"].Forbidden("pod-level resource requests cannot be removed");
        if (AreRemoved(resources["limits"u8], old["limits"u8]))
            at["resources"]["limits"].Forbidden("pod-level resource limits cannot be removed");
        TakeCpuAndMemory(resources, old);
        if (!SemanticEquality.Equal(resources, old, s_requirementsType))
            at.Forbidden("only cpu and memory resources are mutable at pod-level");
        if (old.IsNullOrUndefined)
            wanted.Remove("resources"u8);
        else
            wanted.Set("resources"u8, old);
    }

    private static bool SameOrder(At at, string list, ApiNode containers, ApiNode old)
    {
        if (containers.Count != old.Count)
        {
            at[list].Forbidden($"{list} may not be added or removed on resize");
            return false;
        }
        bool isSame = true;
        for (int i = 0; i < old.Count; i++)
        {
            if (containers[i]["name"u8].Equals(old[i]["name"u8].Utf8))
                continue;
            at[list][i]["name"].Forbidden($"{list} may not be renamed or reordered on resize");
            isSame = false;
        }
        return isSame;
    }

    private static void Removals(At at, ApiNode containers, ApiNode old, bool onlySidecars)
    {
        for (int i = 0; i < old.Count; i++)
        {
            if (onlySidecars && !old[i]["restartPolicy"u8].Equals("Always"u8))
                continue;
            if (AreRemoved(containers[i]["resources"u8]["requests"u8], old[i]["resources"u8]["requests"u8]))
                at[i]["resources"]["requests"].Forbidden("resource requests cannot be removed");
            if (AreRemoved(containers[i]["resources"u8]["limits"u8], old[i]["resources"u8]["limits"u8]))
                at[i]["resources"]["limits"].Forbidden("resource limits cannot be removed");
        }
    }

    private static bool AreRemoved(ApiNode list, ApiNode old)
    {
        foreach (var amount in old.Members)
            if (!list[amount.Name].IsDefined)
                return true;
        return false;
    }

    private static void Containers(At at, ApiNode containers, ApiNode old)
    {
        for (int i = 0; i < old.Count; i++)
        {
            TakeCpuAndMemory(containers[i].GetOrAddObject("resources"u8), old[i]["resources"u8]);
            if (!SemanticEquality.Equal(containers[i], old[i], s_containerType))
                at.Forbidden("only cpu and memory resources are mutable");
        }
    }

    private static void InitContainers(At at, ApiNode containers, ApiNode old)
    {
        for (int i = 0; i < old.Count; i++)
        {
            bool isSidecar = containers[i]["restartPolicy"u8].Equals("Always"u8);
            bool isModified = !SemanticEquality.Equal(containers[i], old[i], s_containerType);
            if (!isSidecar && !FeatureGates.Current.IsOn("InPlacePodVerticalScalingInitContainers"))
            {
                if (isModified)
                    at.Forbidden("resources for non-sidecar init containers are immutable");
                continue;
            }
            TakeCpuAndMemory(containers[i].GetOrAddObject("resources"u8), old[i]["resources"u8]);
            if (!SemanticEquality.Equal(containers[i], old[i], s_containerType))
                at["initContainers"][i].Forbidden("only cpu and memory resources for init or sidecar containers are mutable");
            if (!isModified || isSidecar)
                continue;
            foreach (var policy in containers[i]["resizePolicy"u8].Elements)
                if (policy["restartPolicy"u8].Equals("RestartContainer"u8))
                    at["initContainers"][i].Forbidden("non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
        }
    }

    private static void TakeCpuAndMemory(ApiNode resources, ApiNode old)
    {
        foreach (string list in (ReadOnlySpan<string>)["limits", "requests"])
        {
            var key = Encoding.ASCII.GetBytes(list);
            if (resources[key].IsNullOrUndefined && old[key].IsNullOrUndefined)
                continue;
            var amounts = resources.GetOrAddObject(key);
            foreach (string resource in (ReadOnlySpan<string>)["cpu", "memory"])
            {
                var name = Encoding.ASCII.GetBytes(resource);
                if (old[key][name].IsNullOrUndefined)
                    amounts.Remove(name);
                else
                    amounts.Set(name, old[key][name]);
            }
        }
    }
}
