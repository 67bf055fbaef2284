using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>What a node may do to pods: make mirror pods of its own that use nothing of the API, and delete, evict and report on those bound to it.</summary>
internal sealed class NodePodRules(ResourceCatalog catalog)
{
    private readonly ResourceStorage _pods = catalog.Storage("", "pods");
    private readonly ResourceStorage _nodes = catalog.Storage("", "nodes");

    internal void Check(AdmissionContext context, string node)
    {
        switch (context.Subresource)
        {
            case "":
                CheckWhole(context, node);
                break;
            case "status":
                CheckStatus(context, node);
                break;
            case "eviction":
                if (context.Operation != AdmissionOperation.Create)
                    throw context.Forbid($"unexpected operation {OperationOf(context)}");
                if (NodeOf(context) != node)
                    throw context.Forbid($"node {node} can only evict pods with spec.nodeName set to itself");
                break;
            default:
                throw context.Forbid($"unexpected pod subresource {GoText.Quote(context.Subresource)}, only 'status' and 'eviction' are allowed");
        }
    }

    private void CheckWhole(AdmissionContext context, string node)
    {
        switch (context.Operation)
        {
            case AdmissionOperation.Create:
                CheckMirrorPod(context, node);
                break;
            case AdmissionOperation.Delete:
                if (NodeOf(context) != node)
                    throw context.Forbid($"node {GoText.Quote(node)} can only delete pods with spec.nodeName set to itself");
                break;
            default:
                throw context.Forbid($"unexpected operation {GoText.Quote(OperationOf(context))}, node {GoText.Quote(node)} can only create and delete mirror pods");
        }
    }

    private static void CheckStatus(AdmissionContext context, string node)
    {
        if (context.Operation != AdmissionOperation.Update)
            throw context.Forbid($"unexpected operation {GoText.Quote(OperationOf(context))}");
        ApiNode pod = context.Object, old = context.OldObject;
        if (old["spec"u8]["nodeName"u8].AsString() != node)
            throw context.Forbid($"node {GoText.Quote(node)} can only update pod status for pods with spec.nodeName set to itself");
        if (!Same(pod["metadata"u8]["labels"u8], old["metadata"u8]["labels"u8]))
            throw context.Forbid($"node {GoText.Quote(node)} cannot update labels through pod status");
        if (!Same(pod["status"u8]["resourceClaimStatuses"u8], old["status"u8]["resourceClaimStatuses"u8]))
            throw context.Forbid($"node {GoText.Quote(node)} cannot update resource claim statues");
        if (!Same(pod["status"u8]["extendedResourceClaimStatus"u8], old["status"u8]["extendedResourceClaimStatus"u8]))
            throw context.Forbid($"node {GoText.Quote(node)} cannot update extended resource claim status");
    }

    private void CheckMirrorPod(AdmissionContext context, string node)
    {
        var pod = context.Object;
        var quoted = GoText.Quote(node);
        if (!pod["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
            throw context.Forbid($"pod does not have \"kubernetes.io/config.mirror\" annotation, node {quoted} can only create mirror pods");
        if (pod["spec"u8]["nodeName"u8].AsString() != node)
            throw context.Forbid($"node {quoted} can only create pods with spec.nodeName set to itself");
        var owners = pod["metadata"u8]["ownerReferences"u8];
        if (owners.Count > 1)
            throw context.Forbid($"node {quoted} can only create pods with a single owner reference set to itself");
        if (owners.Count == 0)
            throw context.Forbid($"node {quoted} can only create pods with an owner reference set to itself");
        var owner = owners[0];
        if (!owner["apiVersion"u8].Equals("v1"u8) || !owner["kind"u8].Equals("Node"u8) || owner["name"u8].AsString() != node)
            throw context.Forbid($"node {quoted} can only create pods with an owner reference set to itself");
        if (!owner["controller"u8].AsBool())
            throw context.Forbid($"node {quoted} can only create pods with a controller owner reference set to itself");
        if (owner["blockOwnerDeletion"u8].AsBool())
            throw context.Forbid($"node {quoted} must not set blockOwnerDeletion on an owner reference");
        using (var stored = _nodes.Get("", node) ?? throw ApiStatus.NotFound("", "nodes", node).ToException())
        {
            if (owner["uid"u8].AsString() != stored.Uid())
                throw context.Forbid($"node {node} UID mismatch: expected {owner["uid"u8].AsString()} got {stored.Uid()}");
        }
        if (Referenced(pod["spec"u8]) is { } resource)
            throw context.Forbid($"node {quoted} can not create pods that reference {resource}");
    }

    // The first kind of API object that the pod uses; null when it uses none.
    private static string? Referenced(ApiNode spec)
    {
        if (!spec["serviceAccountName"u8].Utf8.IsEmpty)
            return "serviceaccounts";
        var isNamed = false;
        PodReferences.VisitSecrets(spec, name => isNamed |= !name.Utf8.IsEmpty);
        if (isNamed)
            return "secrets";
        PodReferences.VisitConfigMaps(spec, name => isNamed |= !name.Utf8.IsEmpty);
        if (isNamed)
            return "configmaps";
        if (spec["resourceClaims"u8].Count > 0)
            return "resourceclaims";
        foreach (var volume in spec["volumes"u8].Elements)
        {
            foreach (var source in volume.Members)
            {
                var resource = System.Text.Encoding.UTF8.GetString(source.Name) switch
                {
                    "configMap" => "configmaps (via configmap volumes)",
                    "secret" => "secrets (via secret volumes)",
                    "csi" => "csidrivers (via CSI volumes)",
                    "glusterfs" => "endpoints (via glusterFS volumes)",
                    "persistentVolumeClaim" => "persistentvolumeclaims",
                    "ephemeral" => "persistentvolumeclaims (via ephemeral volumes)",
                    "azureFile" => "secrets (via azureFile volumes)",
                    "projected" => Projected(source.Value),
                    _ => null,
                };
                if (resource is not null)
                    return resource;
            }
        }
        return null;
    }

    private static string? Projected(ApiNode projected)
    {
        foreach (var source in projected["sources"u8].Elements)
        {
            foreach (var member in source.Members)
            {
                var resource = System.Text.Encoding.UTF8.GetString(member.Name) switch
                {
                    "configMap" => "configmaps (via projected volumes)",
                    "secret" => "secrets (via projected volumes)",
                    "serviceAccountToken" => "serviceaccounts (via projected volumes)",
                    "clusterTrustBundle" => "clustertrustbundles",
                    "podCertificate" => "podcertificates",
                    _ => null,
                };
                if (resource is not null)
                    return resource;
            }
        }
        return null;
    }

    private string NodeOf(AdmissionContext context)
    {
        using var stored = _pods.Get(context.Namespace, context.Name) ?? throw ApiStatus.NotFound("", "pods", context.Name).ToException();
        using var pod = _pods.Decode(stored);
        return pod.Root["spec"u8]["nodeName"u8].AsString();
    }

    private static string OperationOf(AdmissionContext context) => context.Operation.ToString().ToUpperInvariant();

    private static bool Same(ApiNode a, ApiNode b) => a.Count == 0 && b.Count == 0 || a.DeepEquals(b);
}
