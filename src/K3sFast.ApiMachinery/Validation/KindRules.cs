using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>The validation of one kind: the format of its names and the rules of each operation. Null = metadata only.</summary>
internal sealed record KindRules(
    Format NameFormat, Action<At, ApiNode>? Create, Action<At, ApiNode, ApiNode>? Update,
    Action<At, ApiNode, ApiNode>? UpdateStatus = null, Action<At, ApiNode, ApiNode, string>? UpdateSubresource = null)
{
    private static readonly ConditionalWeakTable<ResourceInfo, KindRules> s_byResource = [];

    internal static KindRules For(ResourceInfo resource) =>
        s_byResource.TryGetValue(resource, out var known) ? known : s_byResource.GetValue(resource, static r => Make(r.Group, r.Resource));

    private static KindRules Make(string group, string resource) => (group, resource) switch
    {
        ("", "pods") => new(Format.Dns1123Subdomain, PodValidation.Create, PodValidation.Update, PodValidation.UpdateStatus, PodValidation.UpdateSubresource),
        ("", "services") => new(Format.Dns1123Label, ServiceValidation.Service, ServiceValidation.ServiceUpdate, ServiceValidation.ServiceStatus),
        ("", "configmaps") => new(Format.Dns1123Subdomain, ConfigValidation.ConfigMap, ConfigValidation.ConfigMapUpdate),
        ("", "secrets") => new(Format.Dns1123Subdomain, ConfigValidation.Secret, ConfigValidation.SecretUpdate),
        ("", "namespaces") => new(Format.Dns1123Label, CoreValidation.Namespace, null, CoreValidation.NamespaceStatus, CoreValidation.NamespaceFinalize),
        ("", "nodes") => new(Format.Dns1123Subdomain, CoreValidation.Node, CoreValidation.NodeUpdate, CoreValidation.NodeUpdate),
        ("", "endpoints") => new(Format.Dns1123Subdomain, CoreValidation.Endpoints, CoreValidation.EndpointsUpdate),
        ("", "limitranges") => new(Format.Dns1123Subdomain, QuotaValidation.LimitRange, QuotaValidation.LimitRangeUpdate),
        ("", "resourcequotas") => new(Format.Dns1123Subdomain, QuotaValidation.ResourceQuota, QuotaValidation.ResourceQuotaUpdate, QuotaValidation.ResourceQuotaStatus),
        ("", "podtemplates") => new(Format.Dns1123Subdomain, CoreValidation.PodTemplate, CoreValidation.PodTemplateUpdate),
        ("", "replicationcontrollers") => new(Format.Dns1123Subdomain, WorkloadValidation.ReplicationController, WorkloadValidation.ReplicationControllerUpdate, WorkloadValidation.ReplicaSetStatus),
        ("", "persistentvolumes") => new(Format.Dns1123Subdomain, PersistentVolumeValidation.Create, PersistentVolumeValidation.Update),
        ("", "persistentvolumeclaims") => new(Format.Dns1123Subdomain, StorageValidation.Claim, StorageValidation.ClaimUpdate, StorageValidation.ClaimStatus),
        ("storage.k8s.io", "csidrivers") => new(Format.Dns1123Subdomain, CsiValidation.Driver, CsiValidation.DriverUpdate),
        ("storage.k8s.io", "csinodes") => new(Format.Dns1123Subdomain, CsiValidation.Node, CsiValidation.NodeUpdate),
        ("storage.k8s.io", "csistoragecapacities") => new(Format.Dns1123Subdomain, CsiValidation.Capacity, CsiValidation.CapacityUpdate),
        ("storage.k8s.io", "volumeattachments") => new(Format.Dns1123Subdomain, CsiValidation.Attachment, CsiValidation.AttachmentUpdate, CsiValidation.AttachmentStatus),
        ("storage.k8s.io", "volumeattributesclasses") => new(Format.Dns1123Subdomain, CsiValidation.AttributesClass, CsiValidation.AttributesClassUpdate),
        ("storage.k8s.io", "storageclasses") => new(Format.Dns1123Subdomain, StorageValidation.StorageClass, StorageValidation.StorageClassUpdate),
        ("networking.k8s.io", "ingresses") => new(Format.Dns1123Subdomain, NetworkingValidation.Ingress, NetworkingValidation.IngressUpdate, NetworkingValidation.IngressStatus),
        ("networking.k8s.io", "ingressclasses") => new(Format.Dns1123Subdomain, NetworkingValidation.IngressClass, NetworkingValidation.IngressClassUpdate),
        ("networking.k8s.io", "networkpolicies") => new(Format.Dns1123Subdomain, NetworkingValidation.NetworkPolicy, NetworkingValidation.NetworkPolicyUpdate),
        ("discovery.k8s.io", "endpointslices") => new(Format.Dns1123Subdomain, NetworkingValidation.EndpointSlice, NetworkingValidation.EndpointSliceUpdate),
        ("policy", "poddisruptionbudgets") => new(Format.PathSegment, PolicyValidation.PodDisruptionBudget, PolicyValidation.PodDisruptionBudgetUpdate, PolicyValidation.PodDisruptionBudgetStatus),
        ("autoscaling", "horizontalpodautoscalers") => new(Format.Dns1123Subdomain, PolicyValidation.HorizontalPodAutoscaler, PolicyValidation.HorizontalPodAutoscalerUpdate, PolicyValidation.HorizontalPodAutoscalerStatus),
        ("coordination.k8s.io", "leases") => new(Format.Dns1123Subdomain, PolicyValidation.Lease, PolicyValidation.LeaseUpdate),
        ("scheduling.k8s.io", "priorityclasses") => new(Format.Dns1123Subdomain, PolicyValidation.PriorityClass, PolicyValidation.PriorityClassUpdate),
        ("node.k8s.io", "runtimeclasses") => new(Format.Dns1123Subdomain, PolicyValidation.RuntimeClass, PolicyValidation.RuntimeClassUpdate),
        ("certificates.k8s.io", "certificatesigningrequests") =>
            new(Format.PathSegment, CertificateValidation.Create, CertificateValidation.Update, CertificateValidation.UpdateStatus, CertificateValidation.UpdateSubresource),
        ("apiregistration.k8s.io", "apiservices") => new(Format.PathSegment, ApiServiceValidation.Service, ApiServiceValidation.ServiceUpdate, ApiServiceValidation.ServiceStatus),
        ("resource.k8s.io", "resourceclaims") => new(Format.Dns1123Subdomain, DeviceClaimValidation.Claim, DeviceClaimValidation.ClaimUpdate, DeviceClaimValidation.ClaimStatus),
        ("resource.k8s.io", "resourceclaimtemplates") => new(Format.Dns1123Subdomain, DeviceClaimValidation.Template, DeviceClaimValidation.TemplateUpdate),
        ("resource.k8s.io", "deviceclasses") => new(Format.Dns1123Subdomain, DeviceClaimValidation.Class, DeviceClaimValidation.ClassUpdate),
        ("resource.k8s.io", "resourceslices") => new(Format.Dns1123Subdomain, ResourceSliceValidation.Create, ResourceSliceValidation.Update),
        ("resource.k8s.io", "devicetaintrules") => new(Format.Dns1123Subdomain, DeviceTaintRuleValidation.Create, DeviceTaintRuleValidation.Update, DeviceTaintRuleValidation.UpdateStatus),
        ("apiextensions.k8s.io", "customresourcedefinitions") => new(Format.Dns1123Subdomain, CrdValidation.Create, CrdValidation.Update, CrdValidation.UpdateStatus),
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => new(Format.Dns1123Subdomain, FlowControlValidation.FlowSchema, FlowControlValidation.FlowSchemaUpdate, FlowControlValidation.StatusUpdate),
        ("flowcontrol.apiserver.k8s.io", _) => new(Format.Dns1123Subdomain, FlowControlValidation.PriorityLevel, FlowControlValidation.PriorityLevelUpdate, FlowControlValidation.StatusUpdate),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") =>
            new(Format.Dns1123Subdomain, AdmissionPolicyValidation.ValidatingPolicy, AdmissionPolicyValidation.ValidatingPolicyUpdate, AdmissionPolicyValidation.ValidatingPolicyStatus),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => new(Format.Dns1123Subdomain, AdmissionPolicyValidation.MutatingPolicy, AdmissionPolicyValidation.MutatingPolicyUpdate),
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") =>
            new(Format.Dns1123Subdomain, AdmissionPolicyValidation.ValidatingBinding, AdmissionPolicyValidation.ValidatingBindingUpdate),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings") =>
            new(Format.Dns1123Subdomain, AdmissionPolicyValidation.MutatingBinding, AdmissionPolicyValidation.MutatingBindingUpdate),
        ("admissionregistration.k8s.io", _) => new(Format.Dns1123Subdomain, WebhookValidation.Configuration, WebhookValidation.ConfigurationUpdate),
        ("networking.k8s.io", "ipaddresses") => new(Format.Address, AddressValidation.Address, AddressValidation.AddressUpdate),
        ("networking.k8s.io", "servicecidrs") => new(Format.Dns1123Subdomain, AddressValidation.ServiceCidr, AddressValidation.ServiceCidrUpdate),
        // The name of an API service is version.group.
        ("apiregistration.k8s.io", _) => new(Format.PathSegment, null, null),
        ("apps", "deployments") => new(Format.Dns1123Subdomain, WorkloadValidation.Deployment, WorkloadValidation.DeploymentUpdate, WorkloadValidation.DeploymentStatus),
        ("apps", "replicasets") => new(Format.Dns1123Subdomain, WorkloadValidation.ReplicaSet, WorkloadValidation.ReplicaSetUpdate, WorkloadValidation.ReplicaSetStatus),
        ("apps", "statefulsets") => new(Format.Dns1123Label, WorkloadValidation.StatefulSet, WorkloadValidation.StatefulSetUpdate, WorkloadValidation.StatefulSetStatus),
        ("apps", "daemonsets") => new(Format.Dns1123Subdomain, WorkloadValidation.DaemonSet, WorkloadValidation.DaemonSetUpdate, WorkloadValidation.DaemonSetStatus),
        ("apps", "controllerrevisions") => new(Format.Dns1123Subdomain, WorkloadValidation.Revision, WorkloadValidation.RevisionUpdate),
        ("batch", "jobs") => new(Format.Dns1123Subdomain, JobValidation.Job, JobValidation.JobUpdate, JobStatusValidation.Update),
        ("batch", "cronjobs") => new(Format.Dns1123Subdomain, JobValidation.CronJob, JobValidation.CronJobUpdate),
        ("rbac.authorization.k8s.io", "roles") => new(Format.PathSegment, RbacValidation.Role, RbacValidation.RoleUpdate),
        ("rbac.authorization.k8s.io", "clusterroles") => new(Format.PathSegment, RbacValidation.ClusterRole, RbacValidation.ClusterRoleUpdate),
        ("rbac.authorization.k8s.io", "rolebindings") => new(Format.PathSegment, RbacValidation.RoleBinding, RbacValidation.RoleBindingUpdate),
        ("rbac.authorization.k8s.io", "clusterrolebindings") => new(Format.PathSegment, RbacValidation.ClusterRoleBinding, RbacValidation.ClusterRoleBindingUpdate),
        // Upstream checks names of custom and cluster configuration kinds as DNS names too.
        _ => new(Format.Dns1123Subdomain, null, null),
    };
}
