using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>NodeRestriction: a kubelet changes its own Node, lease and the pods that are bound to it, and nothing that would give it more.</summary>
internal sealed class NodeRestriction(ResourceStorage pods) : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (NodeAuthorizer.NodeNameOf(context.User) is not { } node)
            return;
        if (node.Length == 0)
            throw context.Forbid($"could not determine node from user {GoText.Quote(context.User.Name)}");
        if (context.Is("", "pods"))
            CheckPod(context, node);
        else if (context.Is("", "nodes"))
            CheckNode(context, node);
        else if (context.Is("coordination.k8s.io", "leases"))
            CheckLease(context, node);
        else if (context.Is("", "serviceaccounts") && context.Subresource == "token")
            CheckToken(context, node);
    }

    private void CheckPod(AdmissionContext context, string node)
    {
        switch (context.Subresource)
        {
            case "":
                if (context.Operation == AdmissionOperation.Create)
                    CheckMirrorPod(context, node);
                else if (context.Operation == AdmissionOperation.Delete && context.OldObject["spec"u8]["nodeName"u8].AsString() != node)
                    throw context.Forbid($"node {GoText.Quote(node)} can only delete pods with spec.nodeName set to itself");
                break;
            case "status":
                if (context.OldObject["spec"u8]["nodeName"u8].AsString() != node)
                    throw context.Forbid($"node {GoText.Quote(node)} can only update pod status for pods with spec.nodeName set to itself");
                if (!context.Object["metadata"u8]["labels"u8].DeepEquals(context.OldObject["metadata"u8]["labels"u8]))
                    throw context.Forbid($"node {GoText.Quote(node)} cannot update labels through pod status");
                break;
            case "eviction":
                using (var stored = pods.Get(context.Namespace, context.Name))
                {
                    if (stored is null)
                        break;
                    using var pod = pods.Decode(stored);
                    if (pod.Root["spec"u8]["nodeName"u8].AsString() != node)
                        throw context.Forbid($"node {GoText.Quote(node)} can only evict pods with spec.nodeName set to itself");
                }
                break;
            default:
                throw context.Forbid($"unexpected pod subresource {GoText.Quote(context.Subresource)}, only 'status' and 'eviction' are allowed");
        }
    }

    private static void CheckMirrorPod(AdmissionContext context, string node)
    {
        var pod = context.Object;
        if (!pod["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
            throw context.Forbid($"pod does not have \"kubernetes.io/config.mirror\" annotation, node {GoText.Quote(node)} can only create mirror pods");
        var spec = pod["spec"u8];
        if (spec["nodeName"u8].AsString() != node)
            throw context.Forbid($"node {GoText.Quote(node)} can only create pods with spec.nodeName set to itself");
        var owners = pod["metadata"u8]["ownerReferences"u8];
        if (owners.Count != 1 || !owners[0]["kind"u8].Equals("Node"u8) || owners[0]["name"u8].AsString() != node)
            throw context.Forbid($"node {GoText.Quote(node)} can only create pods with an owner reference set to itself");
        if (!spec["serviceAccountName"u8].Utf8.IsEmpty)
            throw context.Forbid($"node {GoText.Quote(node)} can not create pods that reference a service account");
        foreach (var volume in spec["volumes"u8].Elements)
        {
            foreach (var kind in volume.Members)
            {
                if (kind.Name.SequenceEqual("secret"u8) || kind.Name.SequenceEqual("configMap"u8) || kind.Name.SequenceEqual("persistentVolumeClaim"u8)
                    || kind.Name.SequenceEqual("projected"u8))
                    throw context.Forbid($"node {GoText.Quote(node)} can not create pods that reference {System.Text.Encoding.UTF8.GetString(kind.Name)}s");
            }
        }
    }

    private static void CheckNode(AdmissionContext context, string node)
    {
        var name = context.Operation == AdmissionOperation.Create ? ObjectText.NameOf(context.Object) : context.Name;
        if (name != node)
            throw context.Forbid($"node {GoText.Quote(node)} is not allowed to modify node {GoText.Quote(name)}");
        if (context.Operation == AdmissionOperation.Delete)
            throw context.Forbid($"node {GoText.Quote(node)} cannot delete node {GoText.Quote(name)}");
        if (context.Operation == AdmissionOperation.Update)
        {
            if (!Same(context.Object["spec"u8]["taints"u8], context.OldObject["spec"u8]["taints"u8]))
                throw context.Forbid($"node {GoText.Quote(node)} is not allowed to modify taints");
            if (!Same(context.Object["metadata"u8]["ownerReferences"u8], context.OldObject["metadata"u8]["ownerReferences"u8]))
                throw context.Forbid($"node {GoText.Quote(node)} is not allowed to modify ownerReferences");
        }
        CheckLabels(context, node);
    }

    // Labels that isolate workloads, or that the cluster gives meaning to, are not a node's to choose.
    private static void CheckLabels(AdmissionContext context, string node)
    {
        var forbidden = new List<string>();
        foreach (var label in context.Object["metadata"u8]["labels"u8].Members)
        {
            var key = System.Text.Encoding.UTF8.GetString(label.Name);
            var old = context.OldObject["metadata"u8]["labels"u8][label.Name];
            if (old.IsDefined && old.DeepEquals(label.Value) || IsAllowedLabel(key))
                continue;
            forbidden.Add(key);
        }
        if (forbidden.Count == 0)
            return;
        forbidden.Sort(StringComparer.Ordinal);
        throw context.Forbid($"is not allowed to {(context.Operation == AdmissionOperation.Create ? "set" : "modify")} the following labels: {string.Join(", ", forbidden)}");
    }

    private static bool IsAllowedLabel(string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var domain = slash < 0 ? "" : key[..slash];
        if (domain == "node-restriction.kubernetes.io" || domain.EndsWith(".node-restriction.kubernetes.io", StringComparison.Ordinal))
            return false;
        var isKubernetes = domain is "kubernetes.io" or "k8s.io" || domain.EndsWith(".kubernetes.io", StringComparison.Ordinal)
            || domain.EndsWith(".k8s.io", StringComparison.Ordinal);
        if (!isKubernetes)
            return true;
        return domain is "kubelet.kubernetes.io" or "node.kubernetes.io"
            || domain.EndsWith(".kubelet.kubernetes.io", StringComparison.Ordinal) || domain.EndsWith(".node.kubernetes.io", StringComparison.Ordinal)
            || key is "kubernetes.io/hostname" or "kubernetes.io/arch" or "kubernetes.io/os" or "beta.kubernetes.io/arch" or "beta.kubernetes.io/os"
                or "beta.kubernetes.io/instance-type" or "topology.kubernetes.io/region" or "topology.kubernetes.io/zone"
                or "failure-domain.beta.kubernetes.io/region" or "failure-domain.beta.kubernetes.io/zone";
    }

    private static void CheckLease(AdmissionContext context, string node)
    {
        if (context.Namespace != "kube-node-lease")
            throw context.Forbid("can only access leases in the \"kube-node-lease\" system namespace");
        var name = context.Operation == AdmissionOperation.Create ? ObjectText.NameOf(context.Object) : context.Name;
        if (name != node)
            throw context.Forbid("can only access node lease with the same name as the requesting node");
    }

    private static void CheckToken(AdmissionContext context, string node)
    {
        if (!context.Object["spec"u8]["boundObjectRef"u8]["kind"u8].Equals("Pod"u8))
            throw context.Forbid($"node {GoText.Quote(node)}: node requested token not bound to a pod");
    }

    private static bool Same(ApiNode a, ApiNode b) => a.Count == 0 && b.Count == 0 || a.DeepEquals(b);
}
