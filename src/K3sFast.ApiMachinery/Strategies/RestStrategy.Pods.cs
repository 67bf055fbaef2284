namespace K3sFast.ApiMachinery;

public static partial class RestStrategy
{
    private static void PreparePodForCreate(ApiNode pod)
    {
        var spec = pod.GetOrAddObject("spec"u8);
        DefaultingRules.PodSpec(spec);
        if (spec["terminationGracePeriodSeconds"u8].AsInt64() < 0)
            spec.Set("terminationGracePeriodSeconds"u8, 1);
        var status = pod.GetOrAddObject("status"u8);
        status.Set("phase"u8, "Pending"u8);
        status.Set("qosClass"u8, PodQuality.ClassOf(spec));
        if (spec["schedulingGates"u8].Count > 0)
        {
            var condition = status.GetOrAddArray("conditions"u8).AppendObject();
            condition.Set("type"u8, "PodScheduled"u8);
            condition.Set("status"u8, "False"u8);
            condition.Set("reason"u8, "SchedulingGated"u8);
            condition.Set("message"u8, "Scheduling is blocked due to non-empty scheduling gates"u8);
        }
        var labels = pod["metadata"u8]["labels"u8];
        ApplyLabelKeys(spec["affinity"u8]["podAffinity"u8], labels);
        ApplyLabelKeys(spec["affinity"u8]["podAntiAffinity"u8], labels);
        foreach (var constraint in spec["topologySpreadConstraints"u8].Elements)
            ApplyLabelKeys(constraint["labelSelector"u8], constraint["matchLabelKeys"u8], "In"u8, labels);
    }

    private static void ApplyLabelKeys(ApiNode affinity, ApiNode labels)
    {
        foreach (var weighted in affinity["preferredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            ApplyTermLabelKeys(weighted["podAffinityTerm"u8], labels);
        foreach (var term in affinity["requiredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            ApplyTermLabelKeys(term, labels);
    }

    private static void ApplyTermLabelKeys(ApiNode term, ApiNode labels)
    {
        ApplyLabelKeys(term["labelSelector"u8], term["matchLabelKeys"u8], "In"u8, labels);
        ApplyLabelKeys(term["labelSelector"u8], term["mismatchLabelKeys"u8], "NotIn"u8, labels);
    }

    // A missing selector matches nothing, whatever the keys: it stays missing.
    private static void ApplyLabelKeys(ApiNode selector, ApiNode keys, ReadOnlySpan<byte> op, ApiNode labels)
    {
        if (selector.Kind != NodeKind.Object)
            return;
        foreach (var key in keys.Elements)
        {
            var value = labels[key.Utf8];
            if (!value.IsDefined)
                continue;
            var requirement = selector.GetOrAddArray("matchExpressions"u8).AppendObject();
            requirement.Set("key"u8, key);
            requirement.Set("operator"u8, op);
            requirement.GetOrAddArray("values"u8).Append(value);
        }
    }

    private static void PreparePodStatus(ApiNode pod, ApiNode old)
    {
        Keep(pod["metadata"u8], old["metadata"u8], "ownerReferences"u8);
        var status = pod.GetOrAddObject("status"u8);
        var oldStatus = old["status"u8];
        if (IsEmpty(status["qosClass"u8]))
            Keep(status, oldStatus, "qosClass"u8);
        if (status["observedGeneration"u8].AsInt64() == 0)
            Keep(status, oldStatus, "observedGeneration"u8);
        foreach (var condition in status["conditions"u8].Elements)
        {
            if (condition["observedGeneration"u8].AsInt64() != 0)
                continue;
            var stored = FindCondition(oldStatus, condition["type"u8].Utf8);
            if (stored["observedGeneration"u8].AsInt64() != 0)
                condition.Set("observedGeneration"u8, stored["observedGeneration"u8]);
        }
    }

    private static void KeepPodButEphemeralContainers(ApiNode pod, ApiNode old)
    {
        var containers = pod["spec"u8]["ephemeralContainers"u8];
        var kept = containers.IsNullOrUndefined ? pod.Document.NewArray() : CopyOf(pod, containers);
        Keep(pod, old, "spec"u8);
        Keep(pod, old, "status"u8);
        ResetMetadataForStatus(pod["metadata"u8], old["metadata"u8]);
        if (kept.Count == 0)
            pod["spec"u8].Remove("ephemeralContainers"u8);
        else
            pod["spec"u8].Set("ephemeralContainers"u8, kept);
    }

    // Added, removed or renamed containers are left for validation to refuse.
    private static void KeepPodButResources(ApiNode pod, ApiNode old)
    {
        var spec = pod["spec"u8];
        var oldSpec = old["spec"u8];
        if (!SameNames(spec["containers"u8], oldSpec["containers"u8]) || !SameNames(spec["initContainers"u8], oldSpec["initContainers"u8]))
            return;
        var containers = CopyOf(pod, spec["containers"u8]);
        var initContainers = CopyOf(pod, spec["initContainers"u8]);
        var resources = spec["resources"u8].IsNullOrUndefined ? default : CopyOf(pod, spec["resources"u8]);
        Keep(pod, old, "spec"u8);
        Keep(pod, old, "status"u8);
        ResetMetadataForStatus(pod["metadata"u8], old["metadata"u8]);
        spec = pod["spec"u8];
        TakeResources(spec["containers"u8], containers);
        TakeResources(spec["initContainers"u8], initContainers);
        if (resources.IsDefined)
            spec.Set("resources"u8, resources);
        else
            spec.Remove("resources"u8);
    }

    private static bool SameNames(ApiNode containers, ApiNode oldContainers)
    {
        if (containers.Count != oldContainers.Count)
            return false;
        var others = oldContainers.Elements.GetEnumerator();
        foreach (var container in containers.Elements)
            if (!others.MoveNext() || !container["name"u8].Equals(others.Current["name"u8].Utf8))
                return false;
        return true;
    }

    private static void TakeResources(ApiNode containers, ApiNode wanted)
    {
        var others = wanted.Elements.GetEnumerator();
        foreach (var container in containers.Elements)
        {
            if (!others.MoveNext())
                return;
            Keep(container, others.Current, "resources"u8);
            Keep(container, others.Current, "resizePolicy"u8);
        }
    }

    private static ApiNode CopyOf(ApiNode owner, ApiNode value)
    {
        var holder = owner.Document.NewObject();
        return value.IsDefined ? holder.Set("copy"u8, value) : default;
    }
}
