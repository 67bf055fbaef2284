using k8s.Models;

namespace K3sFast.Client;

/// <summary>The resources that our own components work with, by their plural names.</summary>
public static class Resources
{
    // core/v1
    public static Resource<V1Pod> Pods { get; } = new("", "v1", "pods", "Pod", true);
    public static Resource<V1Node> Nodes { get; } = new("", "v1", "nodes", "Node", false);
    public static Resource<V1Namespace> Namespaces { get; } = new("", "v1", "namespaces", "Namespace", false);
    public static Resource<V1Service> Services { get; } = new("", "v1", "services", "Service", true);
    public static Resource<V1Endpoints> Endpoints { get; } = new("", "v1", "endpoints", "Endpoints", true);
    public static Resource<V1ConfigMap> ConfigMaps { get; } = new("", "v1", "configmaps", "ConfigMap", true);
    public static Resource<V1Secret> Secrets { get; } = new("", "v1", "secrets", "Secret", true);
    public static Resource<V1ServiceAccount> ServiceAccounts { get; } = new("", "v1", "serviceaccounts", "ServiceAccount", true);
    public static Resource<Corev1Event> Events { get; } = new("", "v1", "events", "Event", true);
    public static Resource<V1ReplicationController> ReplicationControllers { get; } = new("", "v1", "replicationcontrollers", "ReplicationController", true);
    public static Resource<V1PersistentVolume> PersistentVolumes { get; } = new("", "v1", "persistentvolumes", "PersistentVolume", false);
    public static Resource<V1PersistentVolumeClaim> PersistentVolumeClaims { get; } = new("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true);
    public static Resource<V1LimitRange> LimitRanges { get; } = new("", "v1", "limitranges", "LimitRange", true);
    public static Resource<V1ResourceQuota> ResourceQuotas { get; } = new("", "v1", "resourcequotas", "ResourceQuota", true);

    // apps/v1
    public static Resource<V1Deployment> Deployments { get; } = new("apps", "v1", "deployments", "Deployment", true);
    public static Resource<V1ReplicaSet> ReplicaSets { get; } = new("apps", "v1", "replicasets", "ReplicaSet", true);
    public static Resource<V1StatefulSet> StatefulSets { get; } = new("apps", "v1", "statefulsets", "StatefulSet", true);
    public static Resource<V1DaemonSet> DaemonSets { get; } = new("apps", "v1", "daemonsets", "DaemonSet", true);
    public static Resource<V1ControllerRevision> ControllerRevisions { get; } = new("apps", "v1", "controllerrevisions", "ControllerRevision", true);

    // batch/v1
    public static Resource<V1Job> Jobs { get; } = new("batch", "v1", "jobs", "Job", true);
    public static Resource<V1CronJob> CronJobs { get; } = new("batch", "v1", "cronjobs", "CronJob", true);

    // certificates.k8s.io/v1
    public static Resource<V1CertificateSigningRequest> CertificateSigningRequests { get; } =
        new("certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false);

    // the rest, by group
    public static Resource<Eventsv1Event> SeriesEvents { get; } = new("events.k8s.io", "v1", "events", "Event", true);
    public static Resource<V1Lease> Leases { get; } = new("coordination.k8s.io", "v1", "leases", "Lease", true);
    public static Resource<V1EndpointSlice> EndpointSlices { get; } = new("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
    public static Resource<V1PodDisruptionBudget> PodDisruptionBudgets { get; } = new("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true);
    public static Resource<V1PriorityClass> PriorityClasses { get; } = new("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false);
    public static Resource<V1RuntimeClass> RuntimeClasses { get; } = new("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false);
    public static Resource<V1StorageClass> StorageClasses { get; } = new("storage.k8s.io", "v1", "storageclasses", "StorageClass", false);
    public static Resource<V1NetworkPolicy> NetworkPolicies { get; } = new("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true);
    public static Resource<V1ServiceCIDR> ServiceCidrs { get; } = new("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false);
    public static Resource<V1IPAddress> IPAddresses { get; } = new("networking.k8s.io", "v1", "ipaddresses", "IPAddress", false);
    public static Resource<V1Ingress> Ingresses { get; } = new("networking.k8s.io", "v1", "ingresses", "Ingress", true);
    public static Resource<V1ClusterRole> ClusterRoles { get; } = new("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false);
    public static Resource<V1ClusterRoleBinding> ClusterRoleBindings { get; } = new("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false);
    public static Resource<V1Role> Roles { get; } = new("rbac.authorization.k8s.io", "v1", "roles", "Role", true);
    public static Resource<V1RoleBinding> RoleBindings { get; } = new("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true);

    public static Resource<V1ValidatingAdmissionPolicy> ValidatingAdmissionPolicies { get; } =
        new("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", false);

    /// <summary>A resource known only by discovery; its objects are looked at as <see cref="PartialObject"/>.</summary>
    public static Resource<PartialObject> Partial(string group, string version, string plural, string kind, bool isNamespaced) =>
        new(group, version, plural, kind, isNamespaced);
}
