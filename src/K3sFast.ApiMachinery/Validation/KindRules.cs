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
        ("", "services") => new(Format.Dns1123Label, ServiceValidation.Service, ServiceValidation.ServiceUpdate),
        ("", "configmaps") => new(Format.Dns1123Subdomain, ConfigValidation.ConfigMap, ConfigValidation.ConfigMapUpdate),
        ("", "secrets") => new(Format.Dns1123Subdomain, ConfigValidation.Secret, ConfigValidation.SecretUpdate),
        ("", "namespaces") => new(Format.Dns1123Label, CoreValidation.Namespace, null, CoreValidation.NamespaceStatus, CoreValidation.NamespaceFinalize),
        ("", "nodes") => new(Format.Dns1123Subdomain, CoreValidation.Node, CoreValidation.NodeUpdate, CoreValidation.NodeUpdate),
        ("", "endpoints") => new(Format.Dns1123Subdomain, CoreValidation.Endpoints, CoreValidation.EndpointsUpdate),
        ("", "limitranges") => new(Format.Dns1123Subdomain, CoreValidation.LimitRange, CoreValidation.LimitRangeUpdate),
        ("", "resourcequotas") => new(Format.Dns1123Subdomain, CoreValidation.ResourceQuota, CoreValidation.ResourceQuotaUpdate, CoreValidation.ResourceQuotaStatus),
        ("", "podtemplates") => new(Format.Dns1123Subdomain, CoreValidation.PodTemplate, CoreValidation.PodTemplateUpdate),
        ("", "replicationcontrollers") => new(Format.Dns1123Subdomain, WorkloadValidation.ReplicationController, WorkloadValidation.ReplicationControllerUpdate, WorkloadValidation.ReplicaSetStatus),
        ("apps", "deployments") => new(Format.Dns1123Subdomain, WorkloadValidation.Deployment, WorkloadValidation.DeploymentUpdate, WorkloadValidation.DeploymentStatus),
        ("apps", "replicasets") => new(Format.Dns1123Subdomain, WorkloadValidation.ReplicaSet, WorkloadValidation.ReplicaSetUpdate, WorkloadValidation.ReplicaSetStatus),
        ("apps", "statefulsets") => new(Format.Dns1123Subdomain, WorkloadValidation.StatefulSet, WorkloadValidation.StatefulSetUpdate, WorkloadValidation.StatefulSetStatus),
        ("apps", "daemonsets") => new(Format.Dns1123Subdomain, WorkloadValidation.DaemonSet, WorkloadValidation.DaemonSetUpdate, WorkloadValidation.DaemonSetStatus),
        ("batch", "jobs") => new(Format.Dns1123Subdomain, JobValidation.Job, JobValidation.JobUpdate),
        ("batch", "cronjobs") => new(Format.Dns1123Subdomain, JobValidation.CronJob, JobValidation.CronJobUpdate),
        ("rbac.authorization.k8s.io", "roles") => new(Format.PathSegment, RbacValidation.Role, RbacValidation.RoleUpdate),
        ("rbac.authorization.k8s.io", "clusterroles") => new(Format.PathSegment, RbacValidation.ClusterRole, RbacValidation.ClusterRoleUpdate),
        ("rbac.authorization.k8s.io", "rolebindings") => new(Format.PathSegment, RbacValidation.RoleBinding, RbacValidation.RoleBindingUpdate),
        ("rbac.authorization.k8s.io", "clusterrolebindings") => new(Format.PathSegment, RbacValidation.ClusterRoleBinding, RbacValidation.ClusterRoleBindingUpdate),
        // Upstream checks names of custom and cluster configuration kinds as DNS names too.
        _ => new(Format.Dns1123Subdomain, null, null),
    };
}
