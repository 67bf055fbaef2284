using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// What nodes may do: their own Node, lease and pods, and of secrets, config maps, claims and service accounts only those that a pod bound to them
/// uses. The relation is read off the pods' cache at each question, so it is never behind.
/// </summary>
/// <remarks>Any thread. Costs a walk over the namespace's pods.</remarks>
internal sealed class NodeAuthorizer(ResourceStorage pods, ResourceStorage claims)
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

    /// <summary>True = allowed; false = no opinion, with the reason for the refusal's words.</summary>
    internal bool Allows(in AuthorizationAttributes attributes, string node, out string reason)
    {
        reason = "";
        if (node.Length == 0)
        {
            reason = $"unknown node for user {GoText.Quote(attributes.User.Name)}";
            return false;
        }
        if (attributes.IsResourceRequest)
        {
            if (attributes.Group.IsEmpty)
            {
                if (attributes.Resource.SequenceEqual("secrets"u8)) return ReadsRelated(attributes, node, "secrets", ref reason);
                if (attributes.Resource.SequenceEqual("configmaps"u8)) return ReadsRelated(attributes, node, "configmaps", ref reason);
                if (attributes.Resource.SequenceEqual("persistentvolumeclaims"u8)) return AllowsClaim(attributes, node, ref reason);
                if (attributes.Resource.SequenceEqual("persistentvolumes"u8)) return GetsRelated(attributes, node, "persistentvolumes", ref reason);
                if (attributes.Resource.SequenceEqual("serviceaccounts"u8)) return AllowsServiceAccount(attributes, node, ref reason);
                if (attributes.Resource.SequenceEqual("nodes"u8)) return AllowsNode(attributes, node, ref reason);
                if (attributes.Resource.SequenceEqual("pods"u8)) return AllowsPod(attributes, node, ref reason);
            }
            else if (attributes.Group.SequenceEqual("coordination.k8s.io"u8) && attributes.Resource.SequenceEqual("leases"u8))
            {
                return AllowsLease(attributes, node, ref reason);
            }
            else if (attributes.Group.SequenceEqual("storage.k8s.io"u8) && attributes.Resource.SequenceEqual("csinodes"u8))
            {
                return AllowsCsiNode(attributes, node, ref reason);
            }
            else if (attributes.Group.SequenceEqual("storage.k8s.io"u8) && attributes.Resource.SequenceEqual("volumeattachments"u8))
            {
                reason = $"no relationship found between node '{node}' and this object";
                return false;
            }
        }
        foreach (var rule in Rules)
        {
            if (rule.Allows(attributes))
                return true;
        }
        return false;
    }

    private bool ReadsRelated(in AuthorizationAttributes attributes, string node, string resource, ref string reason)
    {
        if (!Is(attributes.Verb, "get"u8, "list"u8, "watch"u8))
            reason = "can only read resources of this type";
        else if (!attributes.Subresource.IsEmpty)
            reason = "cannot read subresource";
        else if (attributes.Namespace.IsEmpty)
            reason = "can only read namespaced object of this type";
        else
            return IsRelated(attributes, node, resource, ref reason);
        return false;
    }

    private bool GetsRelated(in AuthorizationAttributes attributes, string node, string resource, ref string reason)
    {
        if (!attributes.Verb.SequenceEqual("get"u8))
            reason = "can only get individual resources of this type";
        else if (!attributes.Subresource.IsEmpty)
            reason = "cannot get subresource";
        else
            return IsRelated(attributes, node, resource, ref reason);
        return false;
    }

    private bool AllowsClaim(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (!attributes.Subresource.SequenceEqual("status"u8))
            return GetsRelated(attributes, node, "persistentvolumeclaims", ref reason);
        if (!Is(attributes.Verb, "update"u8, "patch"u8, default))
        {
            reason = "can only get/update/patch this type";
            return false;
        }
        return IsRelated(attributes, node, "persistentvolumeclaims", ref reason);
    }

    private bool AllowsServiceAccount(in AuthorizationAttributes attributes, string node, ref string reason)
    {
        if (attributes.Verb.SequenceEqual("get"u8) && attributes.Subresource.IsEmpty)
            return ReadsRelated(attributes, node, "serviceaccounts", ref reason);
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
        return IsRelated(attributes, node, "serviceaccounts", ref reason);
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
                return GetsRelated(attributes, node, "pods", ref reason);
            if (Is(attributes.Verb, "list"u8, "watch"u8, default))
            {
                if (SelectsNode(attributes.FieldSelector, node))
                    return true;
                if (!attributes.Name.IsEmpty)
                    return IsRelated(attributes, node, "pods", ref reason);
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

    private bool IsRelated(in AuthorizationAttributes attributes, string node, string resource, ref string reason)
    {
        if (attributes.Name.IsEmpty)
        {
            reason = "No Object name found";
            return false;
        }
        var name = Encoding.UTF8.GetString(attributes.Name);
        var ns = Encoding.UTF8.GetString(attributes.Namespace);
        foreach (var stored in pods.All(ns.Length == 0 ? null : ns))
        {
            using var pod = pods.Decode(stored);
            if (pod.Root["spec"u8]["nodeName"u8].AsString() == node && Uses(pod.Root, stored.Name(), resource, ns, name))
                return true;
        }
        reason = $"no relationship found between node '{node}' and this object";
        return false;
    }

    private bool Uses(ApiNode pod, string podName, string resource, string ns, string name)
    {
        var spec = pod["spec"u8];
        switch (resource)
        {
            case "pods":
                return podName == name;
            case "serviceaccounts":
                return spec["serviceAccountName"u8].AsString() == name;
            case "persistentvolumes":
                foreach (var volume in spec["volumes"u8].Elements)
                {
                    var claim = volume["persistentVolumeClaim"u8]["claimName"u8].AsString();
                    using var stored = claim.Length == 0 ? null : claims.Get(ObjectText.NamespaceOf(pod), claim);
                    if (stored is null)
                        continue;
                    using var document = claims.Decode(stored);
                    if (document.Root["spec"u8]["volumeName"u8].AsString() == name)
                        return true;
                }
                return false;
            case "persistentvolumeclaims":
                foreach (var volume in spec["volumes"u8].Elements)
                {
                    if (volume["persistentVolumeClaim"u8]["claimName"u8].AsString() == name
                        || volume["ephemeral"u8].IsDefined && $"{podName}-{volume["name"u8].AsString()}" == name)
                        return true;
                }
                return false;
            case "secrets":
                return PodReferences.NamesSecret(spec, name);
            default:
                return PodReferences.NamesConfigMap(spec, name);
        }
    }

    private static bool SelectsNode(ReadOnlySpan<byte> rawSelector, string node)
    {
        if (rawSelector.IsEmpty)
            return false;
        foreach (var term in PercentEncoding.DecodeQuery(rawSelector).Split(','))
        {
            if (term == $"spec.nodeName={node}" || term == $"spec.nodeName=={node}")
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

/// <summary>Which secrets and config maps a pod's spec names.</summary>
internal static class PodReferences
{
    internal static bool NamesSecret(ApiNode spec, string name)
    {
        foreach (var secret in spec["imagePullSecrets"u8].Elements)
        {
            if (secret["name"u8].AsString() == name)
                return true;
        }
        foreach (var volume in spec["volumes"u8].Elements)
        {
            if (volume["secret"u8]["secretName"u8].AsString() == name)
                return true;
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
            {
                if (source["secret"u8]["name"u8].AsString() == name)
                    return true;
            }
            // The other volume sources with credentials name them secretRef or nodePublishSecretRef.
            foreach (var member in volume.Members)
            {
                if (member.Value["secretRef"u8]["name"u8].AsString() == name || member.Value["nodePublishSecretRef"u8]["name"u8].AsString() == name)
                    return true;
            }
        }
        return NamedByContainers(spec, name, "secretRef"u8, "secretKeyRef"u8);
    }

    internal static bool NamesConfigMap(ApiNode spec, string name)
    {
        foreach (var volume in spec["volumes"u8].Elements)
        {
            if (volume["configMap"u8]["name"u8].AsString() == name)
                return true;
            foreach (var source in volume["projected"u8]["sources"u8].Elements)
            {
                if (source["configMap"u8]["name"u8].AsString() == name)
                    return true;
            }
        }
        return NamedByContainers(spec, name, "configMapRef"u8, "configMapKeyRef"u8);
    }

    private static bool NamedByContainers(ApiNode spec, string name, ReadOnlySpan<byte> fromName, ReadOnlySpan<byte> keyName) =>
        NamedBy(spec["containers"u8], name, fromName, keyName) || NamedBy(spec["initContainers"u8], name, fromName, keyName)
        || NamedBy(spec["ephemeralContainers"u8], name, fromName, keyName);

    private static bool NamedBy(ApiNode containers, string name, ReadOnlySpan<byte> fromName, ReadOnlySpan<byte> keyName)
    {
        foreach (var container in containers.Elements)
        {
            foreach (var source in container["envFrom"u8].Elements)
            {
                if (source[fromName]["name"u8].AsString() == name)
                    return true;
            }
            foreach (var variable in container["env"u8].Elements)
            {
                if (variable["valueFrom"u8][keyName]["name"u8].AsString() == name)
                    return true;
            }
        }
        return false;
    }
}
