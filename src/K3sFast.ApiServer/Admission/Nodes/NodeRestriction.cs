using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// NodeRestriction: a kubelet changes its own Node, lease, CSINode and slices, and the pods that are bound to it, and nothing that would give it more.
/// </summary>
internal sealed class NodeRestriction(ResourceCatalog catalog, Authorizer authorizer) : AdmissionPlugin
{
    private readonly NodePodRules _pods = new(catalog);
    private readonly NodeTokenRules _tokens = new(catalog, authorizer);
    private readonly NodeCertificateRules _certificates = new(catalog);

    internal override ValueTask MutateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.Operation == AdmissionOperation.Connect)
            return default;
        if (NodeAuthorizer.NodeNameOf(context.User) is not { } node)
            return default;
        if (node.Length == 0)
            throw context.Forbid($"could not determine node from user {GoText.Quote(context.User.Name)}");
        switch (context.Resource.Group, context.Resource.Resource)
        {
            case ("", "pods"): _pods.Check(context, node); break;
            case ("", "nodes"): CheckNode(context, node); break;
            case ("", "persistentvolumeclaims"): CheckClaim(context, node); break;
            case ("", "serviceaccounts") when context.Operation == AdmissionOperation.Create && context.Subresource == "token":
                return _tokens.CheckAsync(context, node, cancel);
            case ("coordination.k8s.io", "leases"): CheckLease(context, node); break;
            case ("storage.k8s.io", "csinodes"): CheckCsiNode(context, node); break;
            case ("resource.k8s.io", "resourceslices"): CheckSlice(context, node); break;
            case ("certificates.k8s.io", "certificatesigningrequests"): NodeCertificateRules.CheckSigningRequest(context, node); break;
            case ("certificates.k8s.io", "podcertificaterequests"): _certificates.CheckPodCertificate(context, node); break;
        }
        return default;
    }

    private static void CheckNode(AdmissionContext context, string node)
    {
        var name = context.Operation == AdmissionOperation.Create ? ObjectText.NameOf(context.Object) : context.Name;
        if (name != node)
            throw context.Forbid($"node {GoText.Quote(node)} is not allowed to modify node {GoText.Quote(name)}");
        var obj = context.Object;
        if (context.Operation == AdmissionOperation.Create)
        {
            if (!obj["spec"u8]["configSource"u8].IsNullOrUndefined)
                throw context.Forbid($"node {GoText.Quote(node)} is not allowed to create pods with a non-nil configSource");
            if (NodeLabelRules.Forbidden(obj, default) is { Count: > 0 } labels)
                throw context.Forbid($"node {GoText.Quote(node)} is not allowed to set the following labels: {string.Join(", ", labels)}");
        }
        if (context.Operation != AdmissionOperation.Update)
            return;
        var old = context.OldObject;
        if (!obj["spec"u8]["configSource"u8].IsNullOrUndefined && !Same(obj["spec"u8]["configSource"u8], old["spec"u8]["configSource"u8]))
            throw context.Forbid($"node {GoText.Quote(node)} is not allowed to update configSource to a new non-nil configSource");
        if (!Same(obj["spec"u8]["taints"u8], old["spec"u8]["taints"u8]))
            throw context.Forbid($"node {GoText.Quote(node)} is not allowed to modify taints");
        if (!Same(obj["metadata"u8]["ownerReferences"u8], old["metadata"u8]["ownerReferences"u8]))
            throw context.Forbid($"node {GoText.Quote(node)} is not allowed to modify ownerReferences");
        if (NodeLabelRules.Forbidden(obj, old) is { Count: > 0 } changed)
            throw context.Forbid($"is not allowed to modify labels: {string.Join(", ", changed)}");
    }

    // Capacity, conditions and what expansion notes there are a kubelet's to write; nothing else of a claim is.
    private static void CheckClaim(AdmissionContext context, string node)
    {
        if (context.Subresource != "status")
            throw context.Forbid("may only update PVC status");
        if (context.Operation != AdmissionOperation.Update)
            throw context.Forbid($"unexpected operation {GoText.Quote(context.Operation.ToString().ToUpperInvariant())}");
        using var wanted = context.Object.Document.Clone();
        using var stored = context.OldObject.Document.Clone();
        foreach (var root in (ReadOnlySpan<ApiNode>)[wanted.Root, stored.Root])
        {
            var metadata = root["metadata"u8];
            metadata.Remove("resourceVersion"u8);
            metadata.Remove("managedFields"u8);
            var status = root.GetOrAddObject("status"u8);
            status.Remove("capacity"u8);
            status.Remove("conditions"u8);
            status.Remove("allocatedResources"u8);
            status.Remove("allocatedResourceStatuses"u8);
        }
        if (!wanted.Root.DeepEquals(stored.Root))
            throw context.Forbid($"node {GoText.Quote(node)} is not allowed to update fields other than status.quantity and status.conditions");
    }

    private static void CheckLease(AdmissionContext context, string node)
    {
        if (context.Namespace != "kube-node-lease")
            throw context.Forbid("can only access leases in the \"kube-node-lease\" system namespace");
        var name = context.Operation == AdmissionOperation.Create ? ObjectText.NameOf(context.Object) : context.Name;
        if (name != node)
            throw context.Forbid("can only access node lease with the same name as the requesting node");
    }

    private static void CheckCsiNode(AdmissionContext context, string node)
    {
        var name = context.Operation == AdmissionOperation.Create ? ObjectText.NameOf(context.Object) : context.Name;
        if (name != node)
            throw context.Forbid("can only access CSINode with the same name as the requesting node");
    }

    private static void CheckSlice(AdmissionContext context, string node)
    {
        if (context.Operation == AdmissionOperation.Create && context.Object["spec"u8]["nodeName"u8].AsString() != node)
            throw context.Forbid("can only create ResourceSlice with the same NodeName as the requesting node");
        if (context.Operation == AdmissionOperation.Delete && context.OldObject["spec"u8]["nodeName"u8].AsString() != node)
            throw context.Forbid("can only delete ResourceSlice with the same NodeName as the requesting node");
    }

    private static bool Same(ApiNode a, ApiNode b) => a.Count == 0 && b.Count == 0 || a.DeepEquals(b);
}
