namespace K3sFast.ApiMachinery;

internal static partial class TableRows
{
    private static readonly ReadMask s_nameAndTime = ReadMask.Of("metadata.name", "metadata.creationTimestamp", "metadata.resourceVersion");

    // Half of a small object are the owners of its fields, which no cell shows.
    private static readonly ReadMask s_withoutOwners = ReadMask.AllBut("metadata.managedFields");

    private static readonly ReadMask s_pod = ReadMask.Of(
        "metadata.name", "metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.resourceVersion", "spec.nodeName", "spec.readinessGates",
        "spec.containers.name", "spec.initContainers.name", "spec.initContainers.restartPolicy", "status.phase", "status.reason", "status.podIPs",
        "status.nominatedNodeName", "status.conditions.type", "status.conditions.status", "status.conditions.reason",
        "status.initContainerStatuses.name", "status.initContainerStatuses.ready", "status.initContainerStatuses.started", "status.initContainerStatuses.restartCount",
        "status.initContainerStatuses.state", "status.initContainerStatuses.lastState", "status.containerStatuses.ready", "status.containerStatuses.restartCount",
        "status.containerStatuses.state", "status.containerStatuses.lastState");

    private static readonly ReadMask s_podTemplate = ReadMask.AllBut(
        "metadata.managedFields", "metadata.annotations", "status.conditions.message",
        "spec.template.spec.volumes", "spec.template.spec.initContainers", "spec.template.spec.affinity", "spec.template.spec.tolerations",
        "spec.template.spec.containers.args", "spec.template.spec.containers.command", "spec.template.spec.containers.env", "spec.template.spec.containers.ports",
        "spec.template.spec.containers.resources", "spec.template.spec.containers.volumeMounts", "spec.template.spec.containers.livenessProbe",
        "spec.template.spec.containers.readinessProbe", "spec.template.spec.containers.startupProbe", "spec.template.spec.containers.securityContext");

    private static readonly ReadMask s_node = ReadMask.AllBut(
        "metadata.managedFields", "metadata.annotations", "status.images", "status.capacity", "status.allocatable", "status.volumesInUse");

    /// <summary>What a resource's rows read of its objects, and the version that a table of one object tells.</summary>
    internal static ReadMask MaskFor(ResourceInfo resource)
    {
        var row = Find(resource.Group, resource.Kind);
        if (row is null)
            return s_nameAndTime;
        return (resource.Group, resource.Kind) switch
        {
            ("", "Pod") => s_pod,
            ("", "Node") => s_node,
            ("", "ReplicationController") or ("apps", "Deployment" or "ReplicaSet" or "StatefulSet" or "DaemonSet") or ("batch", "Job") => s_podTemplate,
            _ => s_withoutOwners,
        };
    }
}
