using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// What nodes may do: their own Node, lease, CSINode and pods, and of secrets, config maps, claims, volumes and service accounts only those that a pod
/// bound to them uses.
/// </summary>
/// <remarks>Any thread.</remarks>
internal sealed class NodeAuthorizer(NodeGraph graph) : IAuthorizer
{
    private const string UserPrefix = "system:node:";
    private static PolicyRule[]? s_rules;

    private PolicyRule[] Rules => s_rules ??= BootstrapPolicy.NodeRules();

    /// <summary>The node's name if the user is one.</summary>
    internal static string? NodeNameOf(UserInfo user)
    {
        if (!user.Name.StartsWith(UserPrefix, StringComparison.Ordinal))
            return null;
        for (var i = 0; i < user.Groups.Count; i++)
        {
            if (user.Groups[i] == "system:nodes")
                return user.Name[UserPrefix.Length..];
        }
        return null;
    }

    public AuthorizationDecision Authorize(in AuthorizationAttributes attributes)
    {
        if (NodeNameOf(attributes.User) is not { } node)
            return AuthorizationDecision.NoOpinion();
        if (node.Length == 0)
            return AuthorizationDecision.NoOpinion($"unknown node for user {GoText.Quote(attributes.User.Name)}");
        var reason = "";
        return Allows(attributes, node, ref reason) ? AuthorizationDecision.Allow() : AuthorizationDecision.NoOpinion(reason);
    }

    public void List(UserInfo user, string ns, RuleListing listing)
    {
        if (NodeNameOf(user) is null)
            return;
        listing.IsIncomplete = true;
        listing.Errors.Add("node authorizer does not support user rule resolution");
    }

    private bool Allows(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (attributes.IsResourceRequest)
        {
            var resource = attributes.Resource;
            if (attributes.Group.IsEmpty)
            {
                if (resource.SequenceEqual("secrets"u8)) return ReadsRelated(attributes, node, NodeGraph.Kind.Secret, ref reason);
                if (resource.SequenceEqual("configmaps"u8)) return ReadsRelated(attributes, node, NodeGraph.Kind.ConfigMap, ref reason);
                if (resource.SequenceEqual("persistentvolumeclaims"u8)) return AllowsClaim(attributes, node, ref reason);
                if (resource.SequenceEqual("persistentvolumes"u8)) return GetsRelated(attributes, node, NodeGraph.Kind.Volume, ref reason);
                if (resource.SequenceEqual("serviceaccounts"u8)) return AllowsServiceAccount(attributes, node, ref reason);
                if (resource.SequenceEqual("nodes"u8)) return AllowsNode(attributes, node, ref reason);
                if (resource.SequenceEqual("pods"u8)) return AllowsPod(attributes, node, ref reason);
            }
            else if (attributes.Group.SequenceEqual("coordination.k8s.io"u8))
            {
                if (resource.SequenceEqual("leases"u8)) return AllowsLease(attributes, node, ref reason);
            }
            else if (attributes.Group.SequenceEqual("storage.k8s.io"u8))
            {
                if (resource.SequenceEqual("csinodes"u8)) return AllowsCsiNode(attributes, node, ref reason);
                if (resource.SequenceEqual("volumeattachments"u8)) return GetsRelated(attributes, node, NodeGraph.Kind.Attachment, ref reason);
            }
            else if (attributes.Group.SequenceEqual("resource.k8s.io"u8))
            {
                if (resource.SequenceEqual("resourceclaims"u8)) return GetsRelated(attributes, node, NodeGraph.Kind.ResourceClaim, ref reason);
                if (resource.SequenceEqual("resourceslices"u8)) return AllowsSlice(attributes, node, ref reason);
            }
            else if (attributes.Group.SequenceEqual("certificates.k8s.io"u8) && resource.SequenceEqual("podcertificaterequests"u8))
            {
                return AllowsPodCertificate(attributes, node, ref reason);
            }
        }
        foreach (var rule in Rules)
        {
            if (rule.Allows(attributes))
                return true;
        }
        return false;
    }

    private bool ReadsRelated(in AuthorizationAttributes attributes, string node, NodeGraph.Kind kind, ref string reason)
    {
        if (!Is(attributes.Verb, "get"u8, "list"u8, "watch"u8))
            reason = "can only read resources of this type";
        else if (!attributes.Subresource.IsEmpty)
            reason = "cannot read subresource";
        else if (attributes.Namespace.IsEmpty)
            reason = "can only read namespaced object of this type";
        else
            return IsRelated(attributes, node, kind, ref reason);
        return false;
    }

    private bool GetsRelated(in AuthorizationAttributes attributes, string node, NodeGraph.Kind kind, ref string reason)
    {
        if (!attributes.Verb.SequenceEqual("get"u8))
            reason = "can only get individual resources of this type";
        else if (!attributes.Subresource.IsEmpty)
            reason = "cannot get subresource";
        else
            return IsRelated(attributes, node, kind, ref reason);
        return false;
    }

    private bool AllowsClaim(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (!attributes.Subresource.SequenceEqual("status"u8))
            return GetsRelated(attributes, node, NodeGraph.Kind.Claim, ref reason);
        if (!Is(attributes.Verb, "update"u8, "patch"u8, default))
        {
            reason = "can only get/update/patch this type";
            return false;
        }
        return IsRelated(attributes, node, NodeGraph.Kind.Claim, ref reason);
    }

    private bool AllowsServiceAccount(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (attributes.Verb.SequenceEqual("get"u8) && attributes.Subresource.IsEmpty)
            return ReadsRelated(attributes, node, NodeGraph.Kind.ServiceAccount, ref reason);
        if (!attributes.Verb.SequenceEqual("create"u8) || attributes.Name.IsEmpty)
        {
            reason = "can only create tokens for individual service accounts";
            return false;
        }
        if (!attributes.Subresource.SequenceEqual("token"u8))
        {
            reason = "can only create token subresource of serviceaccount";
            return false;
        }
        return IsRelated(attributes, node, NodeGraph.Kind.ServiceAccount, ref reason);
    }

    private static bool AllowsNode(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (attributes.Subresource.IsEmpty)
        {
            // Whose Node it is, is checked at admission, which sees the object.
            if (Is(attributes.Verb, "create"u8, "update"u8, "patch"u8))
                return true;
            if (Is(attributes.Verb, "get"u8, "list"u8, "watch"u8))
            {
                if (EqualsText(attributes.Name, node))
                    return true;
                reason = attributes.Name.IsEmpty
                    ? $"node '{node}' cannot read all nodes, only its own Node object"
                    : $"node '{node}' cannot read '{Encoding.UTF8.GetString(attributes.Name)}', only its own Node object";
            }
            return false;
        }
        return attributes.Subresource.SequenceEqual("status"u8) && Is(attributes.Verb, "update"u8, "patch"u8, default);
    }

    private bool AllowsPod(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (attributes.Subresource.IsEmpty)
        {
            if (attributes.Verb.SequenceEqual("get"u8))
                return GetsRelated(attributes, node, NodeGraph.Kind.Pod, ref reason);
            if (Is(attributes.Verb, "list"u8, "watch"u8, default))
            {
                if (Selects(attributes.FieldSelector, "spec.nodeName", node))
                    return true;
                if (!attributes.Name.IsEmpty)
                    return IsRelated(attributes, node, NodeGraph.Kind.Pod, ref reason);
                reason = "can only list/watch pods with spec.nodeName field selector";
                return false;
            }
            return Is(attributes.Verb, "create"u8, "delete"u8, default);
        }
        if (attributes.Subresource.SequenceEqual("status"u8))
            return Is(attributes.Verb, "update"u8, "patch"u8, default);
        return attributes.Subresource.SequenceEqual("eviction"u8) && attributes.Verb.SequenceEqual("create"u8);
    }

    private static bool AllowsLease(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (!Is(attributes.Verb, "get"u8, "create"u8, "update"u8) && !Is(attributes.Verb, "patch"u8, "delete"u8, default))
            reason = "can only get, create, update, patch, or delete a node lease";
        else if (!attributes.Namespace.SequenceEqual("kube-node-lease"u8))
            reason = "can only access leases in the \"kube-node-lease\" system namespace";
        else if (!attributes.Verb.SequenceEqual("create"u8) && !EqualsText(attributes.Name, node))
            reason = "can only access node lease with the same name as the requesting node";
        else
            return true;
        return false;
    }

    private static bool AllowsCsiNode(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (!Is(attributes.Verb, "get"u8, "create"u8, "update"u8) && !Is(attributes.Verb, "patch"u8, "delete"u8, default))
            reason = "can only get, create, update, patch, or delete a CSINode";
        else if (!attributes.Subresource.IsEmpty)
            reason = "cannot authorize CSINode subresources";
        else if (!attributes.Verb.SequenceEqual("create"u8) && !EqualsText(attributes.Name, node))
            reason = "can only access CSINode with the same name as the requesting node";
        else
            return true;
        return false;
    }

    private bool AllowsSlice(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (!attributes.Subresource.IsEmpty)
        {
            reason = "cannot authorize ResourceSlice subresources";
            return false;
        }
        // Whose slice a new one is, is checked at admission, which sees the object.
        if (attributes.Verb.SequenceEqual("create"u8))
            return true;
        if (Is(attributes.Verb, "get"u8, "update"u8, "patch"u8) || attributes.Verb.SequenceEqual("delete"u8))
            return IsRelated(attributes, node, NodeGraph.Kind.Slice, ref reason);
        if (!Is(attributes.Verb, "watch"u8, "list"u8, "deletecollection"u8))
            reason = "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection";
        else if (Selects(attributes.FieldSelector, "spec.nodeName", node))
            return true;
        else
            reason = "can only list/watch/deletecollection resourceslices with nodeName field selector";
        return false;
    }

    private bool AllowsPodCertificate(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (!attributes.Subresource.IsEmpty)
        {
            reason = "nodes may not access the status subresource of PodCertificateRequests";
            return false;
        }
        if (attributes.Verb.SequenceEqual("create"u8))
            return true;
        if (attributes.Verb.SequenceEqual("get"u8))
            return IsRelated(attributes, node, NodeGraph.Kind.PodCertificate, ref reason);
        if (!Is(attributes.Verb, "list"u8, "watch"u8, default))
            reason = $"nodes may not {Encoding.UTF8.GetString(attributes.Verb)} podcertificaterequests";
        else if (Selects(attributes.FieldSelector, "spec.nodeName", node))
            return true;
        else
            reason = "can only list/watch podcertificaterequests with nodeName field selector";
        return false;
    }

    private bool IsRelated(in AuthorizationAttributes attributes, string node, NodeGraph.Kind kind, ref string reason)
    {
        if (attributes.Name.IsEmpty)
        {
            reason = "No Object name found";
            return false;
        }
        if (graph.IsRelated(node, kind, attributes.Namespace, attributes.Name))
            return true;
        reason = $"no relationship found between node '{node}' and this object";
        return false;
    }

    private static bool Selects(ReadOnlySpan<byte> rawSelector, string field, string node)
    {
        if (rawSelector.IsEmpty)
            return false;
        foreach (var term in PercentEncoding.DecodeQuery(rawSelector).Split(','))
        {
            if (term == $"{field}={node}" || term == $"{field}=={node}")
                return true;
        }
        return false;
    }

    private static bool Is(ReadOnlySpan<byte> verb, ReadOnlySpan<byte> a, ReadOnlySpan<byte> b, ReadOnlySpan<byte> c) =>
        verb.SequenceEqual(a) || verb.SequenceEqual(b) || verb.SequenceEqual(c);

    private static bool EqualsText(ReadOnlySpan<byte> utf8, string text)
    {
        Span<byte> bytes = stackalloc byte[256];
        return Encoding.UTF8.TryGetBytes(text, bytes, out var length) && utf8.SequenceEqual(bytes[..length]);
    }
}
