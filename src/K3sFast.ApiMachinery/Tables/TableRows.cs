using System.Runtime.CompilerServices;

namespace K3sFast.ApiMachinery;

/// <summary>Writes the cells of one object's row.</summary>
internal delegate void TableRowWriter(ref TableCells cells, ApiNode obj);

/// <summary>How each kind fills its columns; one method per kind, in the order of its columns.</summary>
internal static partial class TableRows
{
    /// <summary>The row writer of a resource; name and creation time for kinds that have no columns of their own.</summary>
    internal static TableRowWriter For(ResourceInfo resource) => Find(resource.Group, resource.Kind) ?? (IsCustom(resource) ? Custom : Default);

    internal static bool IsCustom(ResourceInfo resource) =>
        !ReferenceEquals(Schema.BuiltIn.FindResource(resource.GroupUtf8, resource.VersionUtf8, resource.ResourceUtf8), resource);

    private static TableRowWriter? Find(string group, string kind) => (group, kind) switch
    {
        ("", "Pod") => Pod,
        ("", "PodTemplate") => PodTemplate,
        ("", "ReplicationController") => ReplicationController,
        ("", "Service") => Service,
        ("", "Endpoints") => Endpoints,
        ("", "Node") => Node,
        ("", "Namespace") => Namespace,
        ("", "ConfigMap") => ConfigMap,
        ("", "Secret") => Secret,
        ("", "ServiceAccount") => NameAndAge,
        ("", "Event") or ("events.k8s.io", "Event") => Event,
        ("", "PersistentVolume") => PersistentVolume,
        ("", "PersistentVolumeClaim") => PersistentVolumeClaim,
        ("", "ResourceQuota") => ResourceQuota,
        ("", "ComponentStatus") => ComponentStatus,
        ("apps", "Deployment") => Deployment,
        ("apps", "ReplicaSet") => ReplicaSet,
        ("apps", "StatefulSet") => StatefulSet,
        ("apps", "DaemonSet") => DaemonSet,
        ("apps", "ControllerRevision") => ControllerRevision,
        ("batch", "Job") => Job,
        ("batch", "CronJob") => CronJob,
        ("autoscaling", "HorizontalPodAutoscaler") => HorizontalPodAutoscaler,
        ("autoscaling", "Scale") => Scale,
        ("networking.k8s.io", "Ingress") => Ingress,
        ("networking.k8s.io", "IngressClass") => IngressClass,
        ("networking.k8s.io", "NetworkPolicy") => NetworkPolicy,
        ("networking.k8s.io", "ServiceCIDR") => ServiceCidr,
        ("networking.k8s.io", "IPAddress") => IPAddress,
        ("discovery.k8s.io", "EndpointSlice") => EndpointSlice,
        ("coordination.k8s.io", "Lease") => Lease,
        ("coordination.k8s.io", "LeaseCandidate") => LeaseCandidate,
        ("policy", "PodDisruptionBudget") => PodDisruptionBudget,
        ("scheduling.k8s.io", "PriorityClass") => PriorityClass,
        ("node.k8s.io", "RuntimeClass") => RuntimeClass,
        ("rbac.authorization.k8s.io", "RoleBinding" or "ClusterRoleBinding") => RoleBinding,
        ("certificates.k8s.io", "CertificateSigningRequest") => CertificateSigningRequest,
        ("certificates.k8s.io", "ClusterTrustBundle") => ClusterTrustBundle,
        ("storage.k8s.io", "StorageClass") => StorageClass,
        ("storage.k8s.io", "VolumeAttachment") => VolumeAttachment,
        ("storage.k8s.io", "CSIDriver") => CsiDriver,
        ("storage.k8s.io", "CSINode") => CsiNode,
        ("storage.k8s.io", "VolumeAttributesClass") => VolumeAttributesClass,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => FlowSchema,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => PriorityLevelConfiguration,
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" or "ValidatingWebhookConfiguration") => WebhookConfiguration,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => MutatingAdmissionPolicy,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => ValidatingAdmissionPolicy,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding" or "ValidatingAdmissionPolicyBinding") => AdmissionPolicyBinding,
        ("apiregistration.k8s.io", "APIService") => ApiService,
        ("resource.k8s.io", "DeviceClass" or "ResourceClaimTemplate") => NameAndAge,
        ("resource.k8s.io", "ResourceClaim") => ResourceClaim,
        ("resource.k8s.io", "ResourceSlice") => ResourceSlice,
        _ => null,
    };

    private static void Default(ref TableCells cells, ApiNode obj)
    {
        cells.Name(obj);
        cells.Text(obj["metadata"u8]["creationTimestamp"u8]);
    }

    private static void Custom(ref TableCells cells, ApiNode obj)
    {
        cells.Name(obj);
        cells.Age(obj);
    }

    private static void NameAndAge(ref TableCells cells, ApiNode obj)
    {
        cells.Name(obj);
        cells.Age(obj);
    }

    /// <summary>Labels as "k=v,k2=v2" sorted by key, or &lt;none&gt;.</summary>
    private static string FormatLabels(ApiNode labels)
    {
        if (labels.Count == 0)
            return "<none>";
        var pairs = new List<string>(labels.Count);
        foreach (var label in labels.Members)
            pairs.Add($"{System.Text.Encoding.UTF8.GetString(label.Name)}={label.Value.AsString()}");
        pairs.Sort(static (a, b) => string.CompareOrdinal(a, b));
        return string.Join(',', pairs);
    }

    /// <summary>A label selector as `kubectl` shows it: requirements sorted by key, "k=v", "k in (a,b)", "k notin (a)", "k", "!k".</summary>
    private static string FormatSelector(ApiNode selector, string whenEmpty)
    {
        if (selector.Kind != NodeKind.Object)
            return "<none>";
        var terms = new List<(string Key, string Text)>();
        foreach (var label in selector["matchLabels"u8].Members)
        {
            string key = System.Text.Encoding.UTF8.GetString(label.Name);
            terms.Add((key, $"{key}={label.Value.AsString()}"));
        }
        foreach (var expression in selector["matchExpressions"u8].Elements)
        {
            string key = expression["key"u8].AsString();
            var values = new List<string>();
            foreach (var value in expression["values"u8].Elements)
                values.Add(value.AsString());
            values.Sort(StringComparer.Ordinal);
            string joined = string.Join(',', values);
            string? text = expression["operator"u8].AsString() switch
            {
                "In" => $"{key} in ({joined})",
                "NotIn" => $"{key} notin ({joined})",
                "Exists" => key,
                "DoesNotExist" => "!" + key,
                _ => null,
            };
            if (text is null)
                return "<error>";
            terms.Add((key, text));
        }
        if (terms.Count == 0)
            return whenEmpty;
        return string.Join(',', terms.OrderBy(static term => term.Key, StringComparer.Ordinal).Select(static term => term.Text));
    }

    private static void Containers(ref TableCells cells, ApiNode containers)
    {
        cells.Text(Join(containers, "name"));
        cells.Text(Join(containers, "image"));
    }

    private static string Join(ApiNode array, string member)
    {
        Span<byte> name = stackalloc byte[16];
        name = name[..System.Text.Encoding.ASCII.GetBytes(member, name)];
        var builder = new DefaultInterpolatedStringHandler(0, 0);
        bool isFirst = true;
        foreach (var element in array.Elements)
        {
            if (!isFirst)
                builder.AppendLiteral(",");
            isFirst = false;
            builder.AppendLiteral(element[name].AsString());
        }
        return builder.ToStringAndClear();
    }

    private static string Join(ApiNode strings)
    {
        var texts = new List<string>(strings.Count);
        foreach (var element in strings.Elements)
            texts.Add(element.AsString());
        return string.Join(',', texts);
    }

    private static ApiNode Condition(ApiNode obj, ReadOnlySpan<byte> type)
    {
        foreach (var condition in obj["status"u8]["conditions"u8].Elements)
            if (condition["type"u8].Equals(type))
                return condition;
        return default;
    }

    private static bool HasCondition(ApiNode obj, ReadOnlySpan<byte> type) => Condition(obj, type)["status"u8].Equals("True"u8);
}
