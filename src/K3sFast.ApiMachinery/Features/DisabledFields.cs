using System.Runtime.CompilerServices;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Fields of features that are switched off: they are taken out of what clients write, unless the stored object uses them already.
/// </summary>
/// <remarks>Any thread. An object without such fields costs a few look-ups and nothing else.</remarks>
internal static class DisabledFields
{
    // A pod's fields also stand in every pod template.
    private static readonly (string Gate, string Path)[] s_pod =
    [
        ("ContainerStopSignals", "containers[].lifecycle.stopSignal"),
        ("ContainerStopSignals", "initContainers[].lifecycle.stopSignal"),
        ("GenericWorkload", "schedulingGroup"),
        ("ClusterTrustBundleProjection", "volumes[].projected.sources[].clusterTrustBundle"),
        ("PodCertificateRequest", "volumes[].projected.sources[].podCertificate"),
        ("CrossNamespaceVolumeDataSource", "volumes[].ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace"),
    ];

    private static readonly (string Gate, string Group, string Resource, string Path)[] s_others =
    [
        ("MaxUnavailableStatefulSet", "apps", "statefulsets", "spec.updateStrategy.rollingUpdate.maxUnavailable"),
        ("CrossNamespaceVolumeDataSource", "", "persistentvolumeclaims", "spec.dataSourceRef.namespace"),
        ("CoordinatedLeaderElection", "coordination.k8s.io", "leases", "spec.strategy"),
        ("CoordinatedLeaderElection", "coordination.k8s.io", "leases", "spec.preferredHolder"),
        ("VolumeLimitScaling", "storage.k8s.io", "csidrivers", "spec.preventPodSchedulingIfMissing"),
        ("DRANodeAllocatableResources", "resource.k8s.io", "resourceslices", "spec.devices[].nodeAllocatableResourceMappings"),
        ("DRAPartitionableDevices", "resource.k8s.io", "resourceslices", "spec.sharedCounters"),
        ("DRAPartitionableDevices", "resource.k8s.io", "resourceslices", "spec.perDeviceNodeSelection"),
        ("DRAPartitionableDevices", "resource.k8s.io", "resourceslices", "spec.devices[].consumesCounters"),
        ("DRADeviceTaints", "resource.k8s.io", "resourceslices", "spec.devices[].taints"),
        ("DRADeviceTaints", "resource.k8s.io", "resourceclaims", "spec.devices.requests[].exactly.tolerations"),
        ("DRADeviceTaints", "resource.k8s.io", "resourceclaimtemplates", "spec.spec.devices.requests[].exactly.tolerations"),
        ("DRAConsumableCapacity", "resource.k8s.io", "resourceclaims", "spec.devices.requests[].exactly.capacity"),
        ("DRAExtendedResource", "resource.k8s.io", "deviceclasses", "spec.extendedResourceName"),
        ("HPAConfigurableTolerance", "autoscaling", "horizontalpodautoscalers", "spec.behavior.scaleUp.tolerance"),
        ("HPAConfigurableTolerance", "autoscaling", "horizontalpodautoscalers", "spec.behavior.scaleDown.tolerance"),
    ];

    private static ConditionalWeakTable<ResourceInfo, Field[]> s_byResource = [];

    /// <summary>Takes the fields out that are switched off and not in use.</summary>
    internal static void Drop(ApiNode obj, ApiNode old, ResourceInfo resource)
    {
        var fields = s_byResource.TryGetValue(resource, out var known) ? known : s_byResource.GetValue(resource, static r => Make(r));
        foreach (var field in fields)
            if (Walk(obj, field.Steps, false) && !(old.IsDefined && Walk(old, field.Steps, false)))
                Walk(obj, field.Steps, true);
    }

    /// <summary>Forgets what was worked out for other gates.</summary>
    internal static void Reset() => s_byResource = [];

    private static Field[] Make(ResourceInfo resource)
    {
        var fields = new List<Field>();
        var gates = FeatureGates.Current;
        string? pod = (resource.Group, resource.Resource) switch
        {
            ("", "pods") => "spec.",
            ("", "podtemplates") => "template.spec.",
            ("batch", "cronjobs") => "spec.jobTemplate.spec.template.spec.",
            ("apps", "deployments" or "replicasets" or "statefulsets" or "daemonsets") or ("batch", "jobs") or ("", "replicationcontrollers") => "spec.template.spec.",
            _ => null,
        };
        if (pod is not null)
            fields.AddRange(s_pod.Where(field => !gates.IsOn(field.Gate)).Select(field => Field.Of(pod + field.Path)));
        fields.AddRange(s_others.Where(field => field.Group == resource.Group && field.Resource == resource.Resource && !gates.IsOn(field.Gate)).Select(field => Field.Of(field.Path)));
        return [.. fields];
    }

    // Whether the field is there anywhere; with remove, it no longer is.
    private static bool Walk(ApiNode node, ReadOnlySpan<Step> steps, bool remove)
    {
        var value = node[steps[0].Name];
        if (value.IsNullOrUndefined)
            return false;
        if (steps.Length == 1)
        {
            if (remove)
                node.Remove(steps[0].Name);
            return true;
        }
        if (!steps[0].IsList)
            return value.Kind == NodeKind.Object && Walk(value, steps[1..], remove);
        bool found = false;
        foreach (var element in value.Elements)
            found |= element.Kind == NodeKind.Object && Walk(element, steps[1..], remove);
        return found;
    }

    private readonly record struct Step(byte[] Name, bool IsList);

    private sealed record Field(Step[] Steps)
    {
        internal static Field Of(string path) => new(Array.ConvertAll(path.Split('.'), static step =>
            step.EndsWith("[]", StringComparison.Ordinal) ? new Step(Encoding.ASCII.GetBytes(step[..^2]), true) : new Step(Encoding.ASCII.GetBytes(step), false)));
    }
}
