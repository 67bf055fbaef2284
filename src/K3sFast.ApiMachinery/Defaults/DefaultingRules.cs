namespace K3sFast.ApiMachinery;

/// <summary>
/// Defaulting rules that depend on other fields, one method per type, named as the type. Each runs before the type's literal
/// rules (so it sees which fields were left out) and before the types below it.
/// </summary>
internal static partial class DefaultingRules
{
    /// <summary>The code rule of a type, or null. Called once per type, while plans are made.</summary>
    internal static Action<ApiNode>? For(string typeFullName) => typeFullName switch
    {
        "io.k8s.api.core.v1.Pod" => Pod,
        "io.k8s.api.core.v1.PodSpec" => PodSpec,
        "io.k8s.api.core.v1.Container" or "io.k8s.api.core.v1.EphemeralContainer" => Container,
        "io.k8s.api.core.v1.Volume" => Volume,
        "io.k8s.api.core.v1.Service" => Service,
        "io.k8s.api.core.v1.ReplicationController" => ReplicationController,
        "io.k8s.api.core.v1.Secret" => Secret,
        "io.k8s.api.core.v1.Namespace" => Namespace,
        "io.k8s.api.core.v1.NodeStatus" => NodeStatus,
        "io.k8s.api.core.v1.LimitRangeItem" => LimitRangeItem,
        "io.k8s.api.apps.v1.Deployment" => Deployment,
        "io.k8s.api.apps.v1.DaemonSet" => DaemonSet,
        "io.k8s.api.apps.v1.StatefulSet" => StatefulSet,
        "io.k8s.api.batch.v1.Job" => Job,
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler" => HorizontalPodAutoscaler,
        "io.k8s.api.networking.v1.IngressClass" => IngressClass,
        "io.k8s.api.networking.v1.NetworkPolicy" => NetworkPolicy,
        "io.k8s.api.rbac.v1.Subject" => RbacSubject,
        "io.k8s.api.storage.v1.CSIDriver" => CsiDriver,
        "io.k8s.api.resource.v1.Device" or "io.k8s.api.resource.v1beta2.Device" or "io.k8s.api.resource.v1beta1.BasicDevice" => Device,
        "io.k8s.api.resource.v1.DeviceSubRequest" or "io.k8s.api.resource.v1beta1.DeviceSubRequest" or "io.k8s.api.resource.v1beta2.DeviceSubRequest"
            or "io.k8s.api.resource.v1.ExactDeviceRequest" or "io.k8s.api.resource.v1beta2.ExactDeviceRequest" => ExactDeviceRequest,
        "io.k8s.api.resource.v1beta1.DeviceRequest" => DeviceRequestV1Beta1,
        "io.k8s.api.resource.v1.DeviceTaint" or "io.k8s.api.resource.v1alpha3.DeviceTaint" or "io.k8s.api.resource.v1beta1.DeviceTaint"
            or "io.k8s.api.resource.v1beta2.DeviceTaint" => DeviceTaint,
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition" => CustomResourceDefinition,
        _ => null,
    };

    private static bool IsEmpty(ApiNode node) =>
        node.IsNullOrUndefined || node.Kind == NodeKind.String && node.Utf8.IsEmpty || node.Kind is NodeKind.Object or NodeKind.Array && node.Count == 0;

    private static void Service(ApiNode service)
    {
        var spec = service.GetOrAddObject("spec"u8);
        var type = spec["type"u8];
        bool isClusterIP = IsEmpty(type) || type.Equals("ClusterIP"u8);
        bool isNodePort = type.Equals("NodePort"u8);
        bool isLoadBalancer = type.Equals("LoadBalancer"u8);

        if (spec["sessionAffinity"u8].Equals("ClientIP"u8))
        {
            var config = spec["sessionAffinityConfig"u8];
            if (config["clientIP"u8]["timeoutSeconds"u8].IsNullOrUndefined)
                spec.GetOrAddObject("sessionAffinityConfig"u8).GetOrAddObject("clientIP"u8).Set("timeoutSeconds"u8, 10800);
        }
        else if (IsEmpty(spec["sessionAffinity"u8]) || spec["sessionAffinity"u8].Equals("None"u8))
        {
            spec.Remove("sessionAffinityConfig"u8);
        }

        foreach (var port in spec["ports"u8].Elements)
        {
            var target = port["targetPort"u8];
            if (IsEmpty(target) || target.TryGetInt64(out long number) && number == 0)
                if (port["port"u8].IsDefined)
                    port.Set("targetPort"u8, port["port"u8]);
        }

        bool hasExternalIPs = spec["externalIPs"u8].Count > 0;
        if (IsEmpty(spec["externalTrafficPolicy"u8]) && (isNodePort || isLoadBalancer || isClusterIP && hasExternalIPs))
            spec.Set("externalTrafficPolicy"u8, "Cluster"u8);
        if (spec["internalTrafficPolicy"u8].IsNullOrUndefined && (isClusterIP || isNodePort || isLoadBalancer))
            spec.Set("internalTrafficPolicy"u8, "Cluster"u8);
        if (!isLoadBalancer)
            return;
        if (spec["allocateLoadBalancerNodePorts"u8].IsNullOrUndefined)
            spec.Set("allocateLoadBalancerNodePorts"u8, true);
        foreach (var ingress in service["status"u8]["loadBalancer"u8]["ingress"u8].Elements)
            if (!IsEmpty(ingress["ip"u8]) && ingress["ipMode"u8].IsNullOrUndefined)
                ingress.Set("ipMode"u8, "VIP"u8);
    }

    internal static void Namespace(ApiNode ns)
    {
        var name = ns["metadata"u8]["name"u8];
        if (!IsEmpty(name))
            ns["metadata"u8].GetOrAddObject("labels"u8).Set("kubernetes.io/metadata.name"u8, name);
    }

    // stringData is a way to write data without encoding it: it is never stored.
    private static void Secret(ApiNode secret)
    {
        var strings = secret["stringData"u8];
        if (strings.Kind != NodeKind.Object)
            return;
        foreach (var entry in strings.Members)
            secret.GetOrAddObject("data"u8).Set(entry.Name, Convert.ToBase64String(entry.Value.Utf8));
        secret.Remove("stringData"u8);
    }

    private static void NodeStatus(ApiNode status)
    {
        if (status["allocatable"u8].IsNullOrUndefined && status["capacity"u8].Kind == NodeKind.Object)
            status.Set("allocatable"u8, status["capacity"u8]);
    }

    private static void LimitRangeItem(ApiNode item)
    {
        if (!item["type"u8].Equals("Container"u8))
            return;
        CopyMissing(item, "default"u8, item["max"u8]);
        CopyMissing(item, "defaultRequest"u8, item["default"u8]);
        CopyMissing(item, "defaultRequest"u8, item["min"u8]);
    }

    private static void IngressClass(ApiNode ingressClass)
    {
        var parameters = ingressClass["spec"u8]["parameters"u8];
        if (parameters.Kind == NodeKind.Object && parameters["scope"u8].IsNullOrUndefined)
            parameters.Set("scope"u8, "Cluster"u8);
    }

    private static void NetworkPolicy(ApiNode policy)
    {
        var spec = policy["spec"u8];
        if (spec.Kind != NodeKind.Object || spec["policyTypes"u8].Count > 0)
            return;
        spec.Remove("policyTypes"u8);
        var types = spec.GetOrAddArray("policyTypes"u8);
        types.AppendString("Ingress"u8);
        if (spec["egress"u8].Count > 0)
            types.AppendString("Egress"u8);
    }

    private static void RbacSubject(ApiNode subject)
    {
        if (IsEmpty(subject["apiGroup"u8]) && (subject["kind"u8].Equals("User"u8) || subject["kind"u8].Equals("Group"u8)))
            subject.Set("apiGroup"u8, "rbac.authorization.k8s.io"u8);
    }

    private static void CsiDriver(ApiNode driver)
    {
        var spec = driver.GetOrAddObject("spec"u8);
        if (spec["seLinuxMount"u8].IsNullOrUndefined)
            spec.Set("seLinuxMount"u8, false);
    }

    private static void CustomResourceDefinition(ApiNode definition)
    {
        var spec = definition.GetOrAddObject("spec"u8);
        var names = spec.GetOrAddObject("names"u8);
        string kind = names["kind"u8].IsNullOrUndefined ? "" : names["kind"u8].AsString();
        if (IsEmpty(names["singular"u8]))
            names.Set("singular"u8, kind.ToLowerInvariant());
        if (IsEmpty(names["listKind"u8]) && kind.Length > 0)
            names.Set("listKind"u8, kind + "List");
        if (spec["conversion"u8].IsNullOrUndefined)
        {
            spec.Remove("conversion"u8);
            spec.GetOrAddObject("conversion"u8).Set("strategy"u8, "None"u8);
        }
        var status = definition.GetOrAddObject("status"u8);
        if (status["storedVersions"u8].Count > 0)
            return;
        foreach (var version in spec["versions"u8].Elements)
        {
            if (!version["storage"u8].AsBool())
                continue;
            status.Remove("storedVersions"u8);
            status.GetOrAddArray("storedVersions"u8).AppendString(version["name"u8].Utf8);
            break;
        }
    }

    private static void HorizontalPodAutoscaler(ApiNode autoscaler)
    {
        var spec = autoscaler.GetOrAddObject("spec"u8);
        if (spec["metrics"u8].Count == 0)
        {
            spec.Remove("metrics"u8);
            var metric = spec.GetOrAddArray("metrics"u8).AppendObject();
            metric.Set("type"u8, "Resource"u8);
            var resource = metric.GetOrAddObject("resource"u8);
            resource.Set("name"u8, "cpu"u8);
            var target = resource.GetOrAddObject("target"u8);
            target.Set("type"u8, "Utilization"u8);
            target.Set("averageUtilization"u8, 80);
        }
        var behavior = spec["behavior"u8];
        if (behavior.Kind != NodeKind.Object)
            return;
        var up = behavior["scaleUp"u8].IsNullOrUndefined ? AddFresh(behavior, "scaleUp"u8) : behavior["scaleUp"u8];
        if (up["stabilizationWindowSeconds"u8].IsNullOrUndefined)
            up.Set("stabilizationWindowSeconds"u8, 0);
        if (up["selectPolicy"u8].IsNullOrUndefined)
            up.Set("selectPolicy"u8, "Max"u8);
        if (up["policies"u8].IsNullOrUndefined)
        {
            AddScalingPolicy(up, "Pods"u8, 4);
            AddScalingPolicy(up, "Percent"u8, 100);
        }
        var down = behavior["scaleDown"u8].IsNullOrUndefined ? AddFresh(behavior, "scaleDown"u8) : behavior["scaleDown"u8];
        if (down["selectPolicy"u8].IsNullOrUndefined)
            down.Set("selectPolicy"u8, "Max"u8);
        if (down["policies"u8].IsNullOrUndefined)
            AddScalingPolicy(down, "Percent"u8, 100);
    }

    private static ApiNode AddFresh(ApiNode parent, ReadOnlySpan<byte> name)
    {
        parent.Remove(name);
        return parent.GetOrAddObject(name);
    }

    private static void AddScalingPolicy(ApiNode rules, ReadOnlySpan<byte> type, long value)
    {
        if (rules["policies"u8].Kind == NodeKind.Null)
            rules.Remove("policies"u8);
        var policy = rules.GetOrAddArray("policies"u8).AppendObject();
        policy.Set("type"u8, type);
        policy.Set("value"u8, value);
        policy.Set("periodSeconds"u8, 15);
    }

    private static void Device(ApiNode device)
    {
        foreach (var mapping in device["nodeAllocatableResourceMappings"u8].Members)
            if (mapping.Value.Kind == NodeKind.Object && mapping.Value["allocationMultiplier"u8].IsNullOrUndefined)
                mapping.Value.Set("allocationMultiplier"u8, "1"u8);
    }

    private static void ExactDeviceRequest(ApiNode request)
    {
        var mode = request["allocationMode"u8];
        if ((IsEmpty(mode) || mode.Equals("ExactCount"u8)) && !(request["count"u8].TryGetInt64(out long count) && count != 0))
            request.Set("count"u8, 1);
    }

    private static void DeviceRequestV1Beta1(ApiNode request)
    {
        if (IsEmpty(request["deviceClassName"u8]))
            return;
        if (IsEmpty(request["allocationMode"u8]))
            request.Set("allocationMode"u8, "ExactCount"u8);
        ExactDeviceRequest(request);
    }

    private static void DeviceTaint(ApiNode taint)
    {
        if (taint["timeAdded"u8].IsNullOrUndefined)
            taint.Set("timeAdded"u8, RestStrategy.Clock.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'"));
    }

    /// <summary>Copies every member of source into the named object where that has none; makes the object only when there is something to copy.</summary>
    private static void CopyMissing(ApiNode owner, ReadOnlySpan<byte> name, ApiNode source)
    {
        if (source.Kind != NodeKind.Object || source.Count == 0)
            return;
        if (owner[name].Kind == NodeKind.Null)
            owner.Remove(name);
        var target = owner.GetOrAddObject(name);
        foreach (var member in source.Members)
            if (!target[member.Name].IsDefined)
                target.Set(member.Name, member.Value);
    }
}
