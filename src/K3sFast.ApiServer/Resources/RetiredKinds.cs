namespace K3sFast.ApiServer;

/// <summary>
/// Kinds of group versions that are no longer served but that upstream still knows by name: a body of one is told of its version, not that
/// nobody ever heard of it.
/// </summary>
internal static class RetiredKinds
{
    private static readonly HashSet<string> s_kinds = new(StringComparer.Ordinal);

    static RetiredKinds()
    {
        Add("apps/v1beta1", "Deployment", "DeploymentRollback", "Scale", "StatefulSet", "ControllerRevision");
        Add("apps/v1beta2", "Deployment", "Scale", "StatefulSet", "DaemonSet", "ReplicaSet", "ControllerRevision");
        Add("extensions/v1beta1", "Deployment", "DeploymentRollback", "Scale", "DaemonSet", "Ingress", "ReplicaSet", "NetworkPolicy");
        Add("batch/v1beta1", "CronJob");
        Add("policy/v1beta1", "PodDisruptionBudget", "Eviction");
        Add("networking.k8s.io/v1beta1", "Ingress", "IngressClass", "IPAddress", "ServiceCIDR");
        Add("rbac.authorization.k8s.io/v1alpha1", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding");
        Add("rbac.authorization.k8s.io/v1beta1", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding");
        Add("storage.k8s.io/v1alpha1", "VolumeAttachment", "CSIStorageCapacity", "VolumeAttributesClass");
        Add("storage.k8s.io/v1beta1", "StorageClass", "VolumeAttachment", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttributesClass");
        Add("scheduling.k8s.io/v1beta1", "PriorityClass");
        Add("coordination.k8s.io/v1beta1", "Lease", "LeaseCandidate");
        Add("node.k8s.io/v1alpha1", "RuntimeClass");
        Add("node.k8s.io/v1beta1", "RuntimeClass");
        Add("discovery.k8s.io/v1beta1", "EndpointSlice");
        Add("events.k8s.io/v1beta1", "Event");
        Add("certificates.k8s.io/v1beta1", "CertificateSigningRequest", "ClusterTrustBundle", "PodCertificateRequest");
        Add("admissionregistration.k8s.io/v1beta1", "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration");
        Add("authentication.k8s.io/v1beta1", "SelfSubjectReview", "TokenReview");
        Add("authorization.k8s.io/v1beta1", "SelfSubjectRulesReview", "SelfSubjectAccessReview", "SubjectAccessReview", "LocalSubjectAccessReview");
        foreach (var version in (ReadOnlySpan<string>)["v1beta1", "v1beta2", "v1beta3"])
            Add($"flowcontrol.apiserver.k8s.io/{version}", "FlowSchema", "PriorityLevelConfiguration");
    }

    internal static bool Contains(string apiVersion, string kind) => s_kinds.Contains($"{apiVersion}/{kind}");

    private static void Add(string apiVersion, params ReadOnlySpan<string> kinds)
    {
        foreach (var kind in kinds)
            s_kinds.Add($"{apiVersion}/{kind}");
    }
}
