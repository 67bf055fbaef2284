namespace K3sFast.ApiMachinery;

/// <summary>Validation of disruption budgets, autoscalers, leases, classes and certificate requests.</summary>
internal static class PolicyValidation
{
    private const long HighestUserPriority = 1_000_000_000;

    private static readonly TypeSchema s_budgetSpecType = Schema.BuiltIn.FindType("io.k8s.api.policy.v1.PodDisruptionBudgetSpec")!;
    private static readonly TypeSchema s_tolerationType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Toleration")!;
    private static readonly TypeSchema s_runtimeClassType = Schema.BuiltIn.FindType("io.k8s.api.node.v1.RuntimeClass")!;

    private static readonly string[] s_metricTypes = ["ContainerResource", "External", "Object", "Pods", "Resource"];

    internal static void PodDisruptionBudget(At at, ApiNode budget)
    {
        var spec = budget["spec"u8];
        at = at["spec"];
        var min = spec["minAvailable"u8];
        var max = spec["maxUnavailable"u8];
        if (!min.IsNullOrUndefined && !max.IsNullOrUndefined)
            at.InvalidValue(spec, s_budgetSpecType, "minAvailable and maxUnavailable cannot be both set");
        if (!min.IsNullOrUndefined)
        {
            WorkloadValidation.CountOrPercent(at["minAvailable"], min);
            WorkloadValidation.AtMostAll(at["minAvailable"], min);
        }
        if (!max.IsNullOrUndefined)
        {
            WorkloadValidation.CountOrPercent(at["maxUnavailable"], max);
            WorkloadValidation.AtMostAll(at["maxUnavailable"], max);
        }
        SelectorValidation.LabelSelector(at["selector"], spec["selector"u8]);
        at["unhealthyPodEvictionPolicy"].OptionalOneOf(spec["unhealthyPodEvictionPolicy"u8], ["AlwaysAllow", "IfHealthyBudget"]);
    }

    internal static void PodDisruptionBudgetUpdate(At at, ApiNode budget, ApiNode old) => PodDisruptionBudget(at, budget);

    internal static void PodDisruptionBudgetStatus(At at, ApiNode budget, ApiNode old)
    {
        ConditionValidation.Check(at["status"]["conditions"], budget["status"u8]["conditions"u8]);
        foreach (string field in (ReadOnlySpan<string>)["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"])
            at["status"][field].NonNegative(budget["status"u8][System.Text.Encoding.ASCII.GetBytes(field)]);
    }

    internal static void HorizontalPodAutoscalerStatus(At at, ApiNode autoscaler, ApiNode old)
    {
        at["status"]["currentReplicas"].NonNegative(autoscaler["status"u8]["currentReplicas"u8]);
        at["status"]["desiredReplicas"].NonNegative(autoscaler["status"u8]["desiredReplicas"u8]);
    }

    internal static void HorizontalPodAutoscaler(At at, ApiNode autoscaler)
    {
        var spec = autoscaler["spec"u8];
        at = at["spec"];
        bool hasMin = spec["minReplicas"u8].TryGetInt64(out long min);
        long max = spec["maxReplicas"u8].AsInt64();
        if (hasMin && min < 1)
            at["minReplicas"].Invalid(min, "must be greater than or equal to 1");
        if (max == 0)
            at["maxReplicas"].Required("must be set and greater than 0");
        else if (max < 0)
            at["maxReplicas"].Invalid(max, "must be greater than or equal to 1");
        if (hasMin && max < min)
            at["maxReplicas"].Invalid(max, "must be greater than or equal to `minReplicas`");
        NetworkingValidation.RequiredSegment(at["scaleTargetRef"]["kind"], spec["scaleTargetRef"u8]["kind"u8]);
        NetworkingValidation.RequiredSegment(at["scaleTargetRef"]["name"], spec["scaleTargetRef"u8]["name"u8]);
        TargetGroup(at["scaleTargetRef"]["apiVersion"], spec["scaleTargetRef"u8]);
        int i = 0;
        foreach (var metric in spec["metrics"u8].Elements)
            Metric(at["metrics"][i++], metric);
        if (hasMin && min == 0 && !HasOutsideMetric(spec["metrics"u8]))
            at["metrics"].Forbidden("must specify at least one Object or External metric to support scaling to zero replicas");
        ScalingRules(at["behavior"]["scaleUp"], spec["behavior"u8]["scaleUp"u8]);
        ScalingRules(at["behavior"]["scaleDown"], spec["behavior"u8]["scaleDown"u8]);
    }

    internal static void HorizontalPodAutoscalerUpdate(At at, ApiNode autoscaler, ApiNode old) => HorizontalPodAutoscaler(at, autoscaler);

    internal static void Lease(At at, ApiNode lease)
    {
        var spec = lease["spec"u8];
        if (spec["leaseDurationSeconds"u8].TryGetInt64(out long seconds) && seconds <= 0)
            at["spec"]["leaseDurationSeconds"].Invalid(seconds, "must be greater than 0");
        at["spec"]["leaseTransitions"].NonNegative(spec["leaseTransitions"u8]);
        if (!spec["preferredHolder"u8].Utf8.IsEmpty && spec["strategy"u8].Utf8.IsEmpty)
            at["spec"]["preferredHolder"].Forbidden("may only be specified if `strategy` is defined");
    }

    internal static void LeaseUpdate(At at, ApiNode lease, ApiNode old) => Lease(at, lease);

    internal static void PriorityClass(At at, ApiNode priorityClass)
    {
        var name = priorityClass["metadata"u8]["name"u8];
        long value = priorityClass["value"u8].AsInt64();
        if (name.Utf8.StartsWith("system-"u8))
        {
            if (SystemClassProblem(name.AsString(), value, priorityClass["globalDefault"u8].AsBool()) is { } problem)
                at["metadata"]["name"].Forbidden($"priority class names with 'system-' prefix are reserved for system use only. error: {problem}");
        }
        else if (value > HighestUserPriority)
        {
            at["value"].Forbidden($"maximum allowed value of a user defined priority is {HighestUserPriority}");
        }
        if (!priorityClass["preemptionPolicy"u8].IsNullOrUndefined)
            at["preemptionPolicy"].RequiredOneOf(priorityClass["preemptionPolicy"u8], ["PreemptLowerPriority", "Never"]);
    }

    internal static void PriorityClassUpdate(At at, ApiNode priorityClass, ApiNode old)
    {
        if (priorityClass["value"u8].AsInt64() != old["value"u8].AsInt64())
            at["value"].Forbidden("may not be changed in an update.");
        if (!priorityClass["preemptionPolicy"u8].Utf8.SequenceEqual(old["preemptionPolicy"u8].Utf8))
            at["preemptionPolicy"].Invalid(priorityClass["preemptionPolicy"u8], "field is immutable");
    }

    internal static void RuntimeClass(At at, ApiNode runtimeClass)
    {
        if (runtimeClass["handler"u8].Utf8.IsEmpty)
            at["handler"].Required();
        else
            at["handler"].Format(Format.Dns1123Label, runtimeClass["handler"u8]);
        ResourceValidation.Overhead(at["overhead"], runtimeClass["overhead"u8]["podFixed"u8]);
        ObjectMetaValidation.Labels(at["scheduling"]["nodeSelector"], runtimeClass["scheduling"u8]["nodeSelector"u8]);
        var tolerations = runtimeClass["scheduling"u8]["tolerations"u8];
        SchedulingValidation.Tolerations(at["scheduling"]["tolerations"], tolerations);
        for (int i = 1; i < tolerations.Count; i++)
            for (int j = 0; j < i; j++)
                if (SemanticEquality.Equal(tolerations[i], tolerations[j], s_tolerationType))
                {
                    at["scheduling"]["tolerations"][i].DuplicateValue(tolerations[i], s_tolerationType);
                    break;
                }
    }

    internal static void RuntimeClassUpdate(At at, ApiNode runtimeClass, ApiNode old)
    {
        RuntimeClass(at, runtimeClass);
        at["handler"].ImmutableMember(runtimeClass, old, "handler"u8, s_runtimeClassType);
    }

    private static string? SystemClassProblem(string name, long value, bool isGlobalDefault)
    {
        long? known = name switch { "system-node-critical" => 2_000_001_000, "system-cluster-critical" => 2_000_000_000, _ => null };
        if (known is null)
            return $"{name} is not a known system priority class";
        if (value != known)
            return $"value of {name} PriorityClass must be {known}";
        return isGlobalDefault ? $"globalDefault of {name} PriorityClass must be false" : null;
    }

    // Only one kind of the core group can be scaled.
    private static void TargetGroup(At at, ApiNode target)
    {
        string apiVersion = target["apiVersion"u8].AsString();
        bool isCore = target["kind"u8].Equals("ReplicationController"u8) && apiVersion == "v1";
        if (apiVersion.Count(static c => c == '/') > 1)
            at.Invalid(apiVersion, $"unexpected GroupVersion string: {apiVersion}");
        else if (!isCore && apiVersion.IndexOf('/') <= 0)
            at.Invalid(apiVersion, "apiVersion must specify API group");
    }

    private static bool HasOutsideMetric(ApiNode metrics)
    {
        foreach (var metric in metrics.Elements)
            if (metric["type"u8].Equals("Object"u8) || metric["type"u8].Equals("External"u8))
                return true;
        return false;
    }

    private static void Metric(At at, ApiNode metric)
    {
        string type = metric["type"u8].AsString();
        if (type.Length == 0)
            at["type"].Required("must specify a metric source type");
        at["type"].OneOf(metric["type"u8], s_metricTypes);
        var present = new List<string>();
        foreach (string field in (ReadOnlySpan<string>)["object", "external", "pods", "resource", "containerResource"])
        {
            var source = metric[System.Text.Encoding.ASCII.GetBytes(field)];
            if (source.Kind != NodeKind.Object)
                continue;
            // The first that is there is checked; the others should not be there.
            if (present.Count == 0)
                MetricSource(at[field], field, source);
            present.Add(field);
        }
        bool isKnown = Array.IndexOf(s_metricTypes, type) >= 0;
        string expected = isKnown ? char.ToLowerInvariant(type[0]) + type[1..] : "";
        if (!isKnown)
            at["type"].OneOf(metric["type"u8], s_metricTypes);
        else if (!present.Contains(expected))
            at[expected].Required("must populate information for the given metric source");
        if (present.Count < 2)
            return;
        foreach (string field in present)
            if (field != expected)
                at[field].Forbidden("must populate the given metric source only");
    }

    private static void MetricSource(At at, string field, ApiNode source)
    {
        var target = source["target"u8];
        switch (field)
        {
            case "resource":
                at["name"].RequiredText(source["name"u8], "must specify a resource name");
                UtilizationTarget(at["target"], target);
                break;
            case "containerResource":
                if (source["name"u8].Utf8.IsEmpty)
                    at["name"].Required("must specify a resource name");
                else
                    ResourceValidation.ContainerName(at["name"], source["name"u8].Utf8);
                if (source["container"u8].Utf8.IsEmpty)
                    at["container"].Required("must specify a container");
                else
                    at["container"].Format(Format.Dns1123Label, source["container"u8]);
                UtilizationTarget(at["target"], target);
                break;
            case "object":
                NetworkingValidation.RequiredSegment(at["describedObject"]["kind"], source["describedObject"u8]["kind"u8]);
                NetworkingValidation.RequiredSegment(at["describedObject"]["name"], source["describedObject"u8]["name"u8]);
                MetricName(at["metric"]["name"], source["metric"u8]);
                Target(at["target"], target);
                if (target["value"u8].IsNullOrUndefined && target["averageValue"u8].IsNullOrUndefined)
                    at["target"]["averageValue"].Required("must set either a target value or averageValue");
                break;
            case "pods":
                MetricName(at["metric"]["name"], source["metric"u8]);
                Target(at["target"], target);
                if (target["averageValue"u8].IsNullOrUndefined)
                    at["target"]["averageValue"].Required("must specify a positive target averageValue");
                break;
            default:
                MetricName(at["metric"]["name"], source["metric"u8]);
                Target(at["target"], target);
                if (target["value"u8].IsNullOrUndefined && target["averageValue"u8].IsNullOrUndefined)
                    at["target"]["averageValue"].Required("must set either a target value for metric or a per-pod target");
                if (!target["value"u8].IsNullOrUndefined && !target["averageValue"u8].IsNullOrUndefined)
                    at["target"]["value"].Forbidden("may not set both a target value for metric and a per-pod target");
                break;
        }
    }

    private static void MetricName(At at, ApiNode metric)
    {
        if (metric["name"u8].Utf8.IsEmpty)
            at.Required("must specify a metric name");
        else
            at.Format(Format.PathSegment, metric["name"u8]);
    }

    private static void UtilizationTarget(At at, ApiNode target)
    {
        Target(at, target);
        bool hasUtilization = !target["averageUtilization"u8].IsNullOrUndefined;
        bool hasValue = !target["averageValue"u8].IsNullOrUndefined;
        if (!hasUtilization && !hasValue)
            at["averageUtilization"].Required("must set either a target raw value or a target utilization");
        else if (hasUtilization && hasValue)
            at["averageValue"].Forbidden("may not set both a target raw value and a target utilization");
    }

    private static void Target(At at, ApiNode target)
    {
        var type = target["type"u8];
        if (type.Utf8.IsEmpty)
            at["type"].Required("must specify a metric target type");
        if (!type.Equals("Utilization"u8) && !type.Equals("Value"u8) && !type.Equals("AverageValue"u8))
            at["type"].Invalid(type.AsString(), "must be either Utilization, Value, or AverageValue");
        MustBePositive(at["value"], target["value"u8]);
        MustBePositive(at["averageValue"], target["averageValue"u8]);
        if (target["averageUtilization"u8].TryGetInt64(out long utilization) && utilization < 1)
            at["averageUtilization"].Invalid(utilization, "must be greater than 0");
    }

    private static void MustBePositive(At at, ApiNode value)
    {
        if (!value.IsNullOrUndefined && Quantity.TryParse(value.Utf8, out var quantity) && quantity.CompareTo(default) <= 0)
            at.Invalid(value, "must be positive");
    }

    private static void ScalingRules(At at, ApiNode rules)
    {
        if (rules.Kind != NodeKind.Object)
            return;
        if (rules["stabilizationWindowSeconds"u8].TryGetInt64(out long window))
        {
            if (window < 0)
                at["stabilizationWindowSeconds"].Invalid(window, "must be greater than or equal to zero");
            if (window > 3600)
                at["stabilizationWindowSeconds"].Invalid(window, "must be less than or equal to 3600");
        }
        at["selectPolicy"].OptionalOneOf(rules["selectPolicy"u8], ["Disabled", "Max", "Min"]);
        if (rules["policies"u8].Count == 0)
            at["policies"].Required("must specify at least one Policy");
        int i = 0;
        foreach (var policy in rules["policies"u8].Elements)
        {
            var place = at["policies"][i++];
            place["type"].OneOf(policy["type"u8], ["Percent", "Pods"]);
            if (policy["value"u8].AsInt64() <= 0)
                place["value"].Invalid(policy["value"u8].AsInt64(), "must be greater than zero");
            long period = policy["periodSeconds"u8].AsInt64();
            if (period <= 0)
                place["periodSeconds"].Invalid(period, "must be greater than zero");
            if (period > 1800)
                place["periodSeconds"].Invalid(period, "must be less than or equal to 1800");
        }
    }
}
