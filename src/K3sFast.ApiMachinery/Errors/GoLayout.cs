using System.Collections.Concurrent;

namespace K3sFast.ApiMachinery;

/// <summary>
/// The fields of a type in the order and with the pointers of upstream's internal structs, which whole values in messages are printed from.
/// Most types are laid out as their versioned form is; the others stand in the table below.
/// </summary>
internal sealed class GoLayout
{
    private const string Prefix = "io.k8s.api.";

    // Go names in the order of the internal struct; "!" = no pointer there, "?" = a pointer there, "@" = a field of the pod spec that moved into the context,
    // "~" = a field that no version serves, always null. A type that lists only marked names keeps its own order.
    private static readonly Dictionary<string, string> s_internal = new(StringComparer.Ordinal)
    {
        ["core.v1.PodSpec"] = "Volumes InitContainers Containers EphemeralContainers RestartPolicy TerminationGracePeriodSeconds ActiveDeadlineSeconds DNSPolicy "
            + "NodeSelector ServiceAccountName AutomountServiceAccountToken NodeName SecurityContext ImagePullSecrets Hostname Subdomain SetHostnameAsFQDN Affinity "
            + "SchedulerName Tolerations HostAliases PriorityClassName Priority PreemptionPolicy DNSConfig ReadinessGates RuntimeClassName Overhead EnableServiceLinks "
            + "TopologySpreadConstraints OS SchedulingGates ResourceClaims Resources HostnameOverride SchedulingGroup",
        ["core.v1.PodSecurityContext"] = "@HostNetwork @HostPID @HostIPC @ShareProcessNamespace @HostUsers SELinuxOptions WindowsOptions RunAsUser RunAsGroup RunAsNonRoot "
            + "SupplementalGroups SupplementalGroupsPolicy FSGroup FSGroupChangePolicy Sysctls SeccompProfile AppArmorProfile SELinuxChangePolicy",
        ["core.v1.PodStatus"] = "ObservedGeneration Phase Conditions Message Reason NominatedNodeName HostIP HostIPs PodIPs StartTime QOSClass InitContainerStatuses "
            + "ContainerStatuses EphemeralContainerStatuses Resize ResourceClaimStatuses ExtendedResourceClaimStatus AllocatedResources Resources "
            + "NodeAllocatableResourceClaimStatuses",
        ["core.v1.Volume"] = "Name HostPath EmptyDir GCEPersistentDisk AWSElasticBlockStore GitRepo Secret NFS ISCSI Glusterfs PersistentVolumeClaim RBD Quobyte FlexVolume "
            + "Cinder CephFS Flocker DownwardAPI FC AzureFile ConfigMap VsphereVolume AzureDisk PhotonPersistentDisk Projected PortworxVolume ScaleIO StorageOS CSI "
            + "Ephemeral Image",
        ["core.v1.PersistentVolumeSource"] = "GCEPersistentDisk AWSElasticBlockStore HostPath Glusterfs NFS RBD Quobyte ISCSI FlexVolume Cinder CephFS FC Flocker AzureFile "
            + "VsphereVolume AzureDisk PhotonPersistentDisk PortworxVolume ScaleIO Local StorageOS CSI",
        ["core.v1.ServiceAccountTokenProjection"] = "ExpirationSeconds!",
        ["core.v1.ServiceSpec"] = "Type Ports Selector ClusterIP ClusterIPs IPFamilies IPFamilyPolicy ExternalName ExternalIPs LoadBalancerIP SessionAffinity "
            + "SessionAffinityConfig LoadBalancerSourceRanges ExternalTrafficPolicy HealthCheckNodePort PublishNotReadyAddresses AllocateLoadBalancerNodePorts "
            + "LoadBalancerClass InternalTrafficPolicy TrafficDistribution",
        ["core.v1.NodeSpec"] = "PodCIDRs ProviderID Unschedulable Taints ConfigSource DoNotUseExternalID",
        ["apps.v1.RollingUpdateStatefulSetStrategy"] = "Partition!",
        ["apps.v1.StatefulSetSpec"] = "Replicas!",
        ["apps.v1.StatefulSetStatus"] = "ObservedGeneration?",
        ["apps.v1.DeploymentSpec"] = "Replicas! Selector Template Strategy MinReadySeconds RevisionHistoryLimit Paused ~RollbackTo ProgressDeadlineSeconds",
        ["apps.v1.RollingUpdateDeployment"] = "MaxUnavailable! MaxSurge!",
        ["apps.v1.RollingUpdateDaemonSet"] = "MaxUnavailable! MaxSurge!",
        ["apps.v1.ReplicaSetSpec"] = "Replicas!",
        ["batch.v1.JobSpec"] = "Parallelism Completions PodFailurePolicy SuccessPolicy ActiveDeadlineSeconds BackoffLimit BackoffLimitPerIndex MaxFailedIndexes Selector "
            + "ManualSelector Template TTLSecondsAfterFinished CompletionMode Suspend PodReplacementPolicy ManagedBy",
        ["batch.v1.JobStatus"] = "Conditions StartTime CompletionTime Active Terminating Ready Succeeded Failed CompletedIndexes FailedIndexes UncountedTerminatedPods",
        ["storage.v1.CSIDriverSpec"] = "AttachRequired FSGroupPolicy PodInfoOnMount VolumeLifecycleModes StorageCapacity TokenRequests RequiresRepublish SELinuxMount "
            + "NodeAllocatableUpdatePeriodSeconds ServiceAccountTokenInSecrets PreventPodSchedulingIfMissing",
        ["autoscaling.v2.ContainerResourceMetricSource"] = "Name Container Target",
        ["autoscaling.v2.ContainerResourceMetricStatus"] = "Name Container Current",
        ["flowcontrol.v1.LimitedPriorityLevelConfiguration"] = "NominalConcurrencyShares!",
        ["admissionregistration.v1.ValidatingAdmissionPolicySpec"] = "ParamKind MatchConstraints Validations MatchConditions FailurePolicy AuditAnnotations Variables",
        ["admissionregistration.v1.ServiceReference"] = "Port!",
        ["io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"] = "ID Schema Ref Description Type Nullable Format Title Default Maximum ExclusiveMaximum Minimum "
            + "ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Enum MaxProperties MinProperties Required Items AllOf OneOf AnyOf Not Properties "
            + "AdditionalProperties PatternProperties Dependencies AdditionalItems Definitions ExternalDocs Example XPreserveUnknownFields XEmbeddedResource XIntOrString "
            + "XListMapKeys XListType XMapType XValidations",
    };

    private static readonly ConcurrentDictionary<TypeSchema, GoField[]> s_layouts = new();

    /// <summary>One field as it is printed.</summary>
    /// <param name="GoName">The name in the internal struct.</param>
    /// <param name="Field">Its versioned form; null = no version has it.</param>
    /// <param name="IsPointer">Whether absence is printed as null.</param>
    /// <param name="IsOfPodSpec">Whether the value stands in the pod spec around this security context.</param>
    internal readonly record struct GoField(string GoName, FieldSchema? Field, bool IsPointer, bool IsOfPodSpec);

    /// <summary>The fields of a type that is no machinery type.</summary>
    internal static GoField[] Of(TypeSchema type) => s_layouts.GetOrAdd(type, static t => Make(t));

    private static GoField[] Make(TypeSchema type)
    {
        var own = new List<GoField>();
        foreach (var field in type.Fields)
            if (!(field.JsonName is "kind" or "apiVersion" && field.InlinePrefix.Length > 0))
                own.Add(new GoField(field.GoName, field, field.Pointer, false));
        string key = type.FullName.StartsWith(Prefix, StringComparison.Ordinal) ? type.FullName[Prefix.Length..] : type.FullName;
        if (!s_internal.TryGetValue(key, out var text))
            return [.. own];
        string[] names = text.Split(' ');
        if (names.All(static n => n[^1] is '!' or '?'))
        {
            return [.. own.Select(field => names.Contains(field.GoName + "!") ? field with { IsPointer = false } : names.Contains(field.GoName + "?") ? field with { IsPointer = true } : field)];
        }
        var podSpec = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodSpec")!;
        var layout = new List<GoField>();
        foreach (var entry in names)
        {
            string name = entry.Trim('!', '?', '@', '~');
            if (entry[0] == '~')
            {
                layout.Add(new GoField(name, null, true, false));
                continue;
            }
            var field = own.Find(f => f.GoName == name);
            if (entry[0] == '@')
                field = FindByGoName(podSpec, name);
            if (field.Field is not null)
                layout.Add(field with { IsPointer = entry[^1] != '!' && (entry[^1] == '?' || field.IsPointer), IsOfPodSpec = entry[0] == '@' });
        }
        return [.. layout];
    }

    private static GoField FindByGoName(TypeSchema type, string name)
    {
        foreach (var field in type.Fields)
            if (field.GoName == name)
                return new GoField(name, field, field.Pointer, true);
        return default;
    }
}
