namespace K3sFast.ApiMachinery;

/// <summary>Validation of the workloads that own pods: deployments, replica sets, stateful sets, daemon sets, replication controllers.</summary>
internal static class WorkloadValidation
{
    private const string Mismatch = "`selector` does not match template `labels`";

    private static readonly TypeSchema s_deploymentSpecType = Schema.BuiltIn.FindType("io.k8s.api.apps.v1.DaemonSetSpec")!;
    private static readonly TypeSchema s_deploymentStrategyType = Schema.BuiltIn.FindType("io.k8s.api.apps.v1.DeploymentStrategy")!;
    private static readonly TypeSchema s_daemonStrategyType = Schema.BuiltIn.FindType("io.k8s.api.apps.v1.DaemonSetUpdateStrategy")!;
    private static readonly TypeSchema s_setStrategyType = Schema.BuiltIn.FindType("io.k8s.api.apps.v1.StatefulSetUpdateStrategy")!;
    private static readonly TypeSchema s_statefulSetSpecType = Schema.BuiltIn.FindType("io.k8s.api.apps.v1.StatefulSetSpec")!;

    internal static void Deployment(At at, ApiNode deployment)
    {
        var spec = deployment["spec"u8];
        at = at["spec"];
        at["replicas"].NonNegative(spec["replicas"u8]);
        SelectorValidation.Required(at["selector"], spec["selector"u8], "deployment");
        SelectedTemplate(at, spec, spec["template"u8], "invalid label selector", "ReplicaSet");
        DeploymentStrategy(at["strategy"], spec["strategy"u8]);
        at["minReadySeconds"].NonNegative(spec["minReadySeconds"u8]);
        at["revisionHistoryLimit"].NonNegative(spec["revisionHistoryLimit"u8]);
        at["progressDeadlineSeconds"].NonNegative(spec["progressDeadlineSeconds"u8]);
        if (spec["progressDeadlineSeconds"u8].TryGetInt64(out long deadline) && deadline <= spec["minReadySeconds"u8].AsInt64())
            at["progressDeadlineSeconds"].Invalid(deadline, "must be greater than minReadySeconds");
    }

    internal static void DeploymentUpdate(At at, ApiNode deployment, ApiNode old)
    {
        Deployment(at, deployment);
        ImmutableSelector(at, deployment, old);
    }

    internal static void DeploymentStatus(At at, ApiNode deployment, ApiNode old)
    {
        var status = deployment["status"u8];
        ReplicaCounts(at["status"], status,
            ["observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "terminatingReplicas", "collisionCount"],
            ["updatedReplicas", "readyReplicas", "availableReplicas"], "readyReplicas");
        NotDecremented(at["status"]["collisionCount"], status["collisionCount"u8], old["status"u8]["collisionCount"u8]);
    }

    internal static void ReplicaSet(At at, ApiNode replicaSet)
    {
        var spec = replicaSet["spec"u8];
        at = at["spec"];
        at["replicas"].NonNegative(spec["replicas"u8]);
        at["minReadySeconds"].NonNegative(spec["minReadySeconds"u8]);
        SelectorValidation.Required(at["selector"], spec["selector"u8], "deployment");
        SelectedTemplate(at, spec, spec["template"u8], "invalid label selector", "ReplicaSet");
    }

    internal static void ReplicaSetUpdate(At at, ApiNode replicaSet, ApiNode old)
    {
        ReplicaSet(at, replicaSet);
        ImmutableSelector(at, replicaSet, old);
    }

    internal static void Revision(At at, ApiNode revision)
    {
        at["revision"].NonNegative(revision["revision"u8]);
        if (revision["data"u8].IsNullOrUndefined)
            at["data"].Required("data is mandatory");
        else if (revision["data"u8].Kind != NodeKind.Object)
            at["data"].Required("data must be a valid JSON object");
    }

    internal static void RevisionUpdate(At at, ApiNode revision, ApiNode old)
    {
        at["revision"].NonNegative(revision["revision"u8]);
        var data = revision["data"u8];
        if (data.IsDefined != old["data"u8].IsDefined || data.IsDefined && !data.DeepEquals(old["data"u8]))
            at["data"].Invalid(data, "field is immutable");
    }

    internal static void ReplicaSetStatus(At at, ApiNode replicaSet, ApiNode old) => ReplicaCounts(at["status"], replicaSet["status"u8],
        ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration", "terminatingReplicas"],
        ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"], "readyReplicas");

    internal static void ReplicationController(At at, ApiNode controller)
    {
        var spec = controller["spec"u8];
        at = at["spec"];
        at["minReadySeconds"].NonNegative(spec["minReadySeconds"u8]);
        at["replicas"].NonNegative(spec["replicas"u8]);
        if (spec["selector"u8].Count == 0)
            at["selector"].Required();
        if (spec["template"u8].Kind != NodeKind.Object)
        {
            at["template"].Required();
            return;
        }
        foreach (var label in spec["selector"u8].Members)
        {
            if (spec["template"u8]["metadata"u8]["labels"u8][label.Name].Equals(label.Value.Utf8))
                continue;
            at["template"]["metadata"]["labels"].Invalid(spec["template"u8]["metadata"u8]["labels"u8], Mismatch);
            break;
        }
        Template(at["template"], spec["template"u8], "ReplicationController");
    }

    internal static void ReplicationControllerUpdate(At at, ApiNode controller, ApiNode old) => ReplicationController(at, controller);

    internal static void StatefulSet(At at, ApiNode statefulSet) => StatefulSet(at, statefulSet, isUpdate: false);

    internal static void StatefulSetUpdate(At at, ApiNode statefulSet, ApiNode old)
    {
        StatefulSet(at, statefulSet, isUpdate: true);
        var spec = statefulSet["spec"u8];
        // What was stored may not say it yet.
        using var copy = ApiObject.Rent();
        var oldSpec = copy.Root.Set("spec"u8, old["spec"u8]);
        DefaultingRules.NameClaims(oldSpec);
        foreach (var field in s_statefulSetSpecType.Fields)
        {
            if (field.JsonName is "replicas" or "template" or "updateStrategy" or "minReadySeconds" or "ordinals" or "revisionHistoryLimit" or "persistentVolumeClaimRetentionPolicy"
                || SemanticEquality.MemberEqual(spec, oldSpec, field.JsonNameUtf8, s_statefulSetSpecType))
                continue;
            at["spec"].Forbidden("updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
            break;
        }
    }

    internal static void StatefulSetStatus(At at, ApiNode statefulSet, ApiNode old)
    {
        ReplicaCounts(at["status"], statefulSet["status"u8],
            ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", "observedGeneration", "collisionCount"],
            ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"], "status.readyReplicas");
        NotDecremented(at["status"]["collisionCount"], statefulSet["status"u8]["collisionCount"u8], old["status"u8]["collisionCount"u8]);
    }

    internal static void DaemonSet(At at, ApiNode daemonSet)
    {
        var spec = daemonSet["spec"u8];
        at = at["spec"];
        SelectorValidation.LabelSelector(at["selector"], spec["selector"u8]);
        if (SelectorValidation.IsWellFormed(spec["selector"u8]) && (spec["selector"u8].Kind != NodeKind.Object
            || !SelectorValidation.Matches(spec["selector"u8], spec["template"u8]["metadata"u8]["labels"u8])))
            at["template"]["metadata"]["labels"].Invalid(spec["template"u8]["metadata"u8]["labels"u8], Mismatch);
        if (spec["selector"u8].Kind == NodeKind.Object && SelectorValidation.IsEmpty(spec["selector"u8]))
            SelectorValidation.InvalidSelector(at["selector"], spec["selector"u8], "empty selector is invalid for daemonset");
        Template(at["template"], spec["template"u8], "DaemonSet");
        at["minReadySeconds"].NonNegative(spec["minReadySeconds"u8]);
        DaemonSetStrategy(at["updateStrategy"], spec["updateStrategy"u8]);
        at["revisionHistoryLimit"].NonNegative(spec["revisionHistoryLimit"u8]);
    }

    internal static void DaemonSetUpdate(At at, ApiNode daemonSet, ApiNode old)
    {
        ImmutableSelector(at, daemonSet, old);
        DaemonSet(at, daemonSet);
    }

    internal static void DaemonSetStatus(At at, ApiNode daemonSet, ApiNode old)
    {
        var status = daemonSet["status"u8];
        foreach (string field in (ReadOnlySpan<string>)["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady", "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount"])
            at["status"][field].NonNegative(status[System.Text.Encoding.ASCII.GetBytes(field)]);
        NotDecremented(at["status"]["collisionCount"], status["collisionCount"u8], old["status"u8]["collisionCount"u8]);
    }

    /// <summary>A number of pods, or a percentage of them.</summary>
    internal static void CountOrPercent(At at, ApiNode value)
    {
        if (value.Kind == NodeKind.String)
        {
            if (!IsPercent(value.Utf8))
                at.Invalid(value, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
        }
        else
        {
            at.NonNegative(value);
        }
    }

    internal static void AtMostAll(At at, ApiNode value)
    {
        if (value.Kind == NodeKind.String && IsPercent(value.Utf8) && ValueOf(value) > 100)
            at.Invalid(value, "must not be greater than 100%");
    }

    /// <summary>The number in front of the percent sign, or the number itself.</summary>
    internal static long ValueOf(ApiNode value) =>
        value.Kind == NodeKind.String ? (IsPercent(value.Utf8) && long.TryParse(value.Utf8[..^1], out long percent) ? percent : 0) : value.AsInt64();

    private static bool IsPercent(ReadOnlySpan<byte> text) =>
        text.Length > 1 && text[^1] == '%' && text[..^1].IndexOfAnyExceptInRange((byte)'0', (byte)'9') < 0;

    private static void StatefulSet(At at, ApiNode statefulSet, bool isUpdate)
    {
        var spec = statefulSet["spec"u8];
        at = at["spec"];
        var management = spec["podManagementPolicy"u8];
        if (management.Utf8.IsEmpty)
            at["podManagementPolicy"].Required();
        else if (!management.Equals("OrderedReady"u8) && !management.Equals("Parallel"u8))
            at["podManagementPolicy"].Invalid(management, "must be 'OrderedReady' or 'Parallel'");
        StatefulSetStrategy(at["updateStrategy"], spec["updateStrategy"u8]);
        var retention = spec["persistentVolumeClaimRetentionPolicy"u8];
        if (retention.Kind == NodeKind.Object)
        {
            at["persistentVolumeClaimRetentionPolicy"]["whenDeleted"].OneOf(retention["whenDeleted"u8], ["Retain", "Delete"]);
            at["persistentVolumeClaimRetentionPolicy"]["whenScaled"].OneOf(retention["whenScaled"u8], ["Retain", "Delete"]);
        }
        int i = 0;
        if (!isUpdate)
            foreach (var claim in spec["volumeClaimTemplates"u8].Elements)
                ClaimTemplate(at["volumeClaimTemplates"][i++], claim);
        at["replicas"].NonNegative(spec["replicas"u8]);
        at["minReadySeconds"].NonNegative(spec["minReadySeconds"u8]);
        at["ordinals.start"].NonNegative(spec["ordinals"u8]["start"u8]);
        if (!isUpdate)
            PodValidation.FormatWhenSet(at["serviceName"], spec["serviceName"u8], Format.Dns1123Label);
        SelectorValidation.Required(at["selector"], spec["selector"u8], "statefulset");
        // Claims become volumes of the same name: mounts may name them although the template does not.
        using var copy = ApiObject.Rent();
        var template = copy.Root.Set("template"u8, spec["template"u8]);
        foreach (var claim in spec["volumeClaimTemplates"u8].Elements)
        {
            if (template.Kind != NodeKind.Object)
                template = copy.Root.GetOrAddObject("template"u8);
            var volumes = template.GetOrAddObject("spec"u8).GetOrAddArray("volumes"u8);
            if (ResourceValidation.HasNamed(volumes, claim["metadata"u8]["name"u8].Utf8))
                continue;
            var volume = volumes.AppendObject();
            volume.Set("name"u8, claim["metadata"u8]["name"u8]);
            volume.GetOrAddObject("persistentVolumeClaim"u8).Set("claimName"u8, claim["metadata"u8]["name"u8]);
        }
        template["spec"u8].Remove("hostname"u8);
        template["spec"u8].Remove("subdomain"u8);
        SelectedTemplate(at, spec, template, "", "StatefulSet");
    }

    // A selector that cannot be read ends it; none at all selects nothing.
    private static void SelectedTemplate(At at, ApiNode spec, ApiNode template, string whenMalformed, string kind)
    {
        var selector = spec["selector"u8];
        if (!SelectorValidation.IsWellFormed(selector))
        {
            SelectorValidation.InvalidSelector(at["selector"], selector, whenMalformed);
            if (kind == "StatefulSet")
                RestartAlways(at["template"], template, kind);
            return;
        }
        var labels = template["metadata"u8]["labels"u8];
        bool isEmpty = selector.Kind == NodeKind.Object && SelectorValidation.IsEmpty(selector);
        if (!isEmpty && (selector.Kind != NodeKind.Object || !SelectorValidation.Matches(selector, labels)))
            at["template"]["metadata"]["labels"].Invalid(labels, Mismatch);
        if (kind == "StatefulSet")
        {
            PodValidation.Template(at["template"], template);
            ObjectMetaValidation.Labels(at["template"]["labels"], labels);
            ObjectMetaValidation.Annotations(at["template"]["annotations"], template["metadata"u8]["annotations"u8]);
            RestartAlways(at["template"], template, kind);
            return;
        }
        Template(at["template"], template, kind);
    }

    private static void Template(At at, ApiNode template, string kind)
    {
        PodValidation.Template(at, template);
        RestartAlways(at, template, kind);
    }

    private static void RestartAlways(At at, ApiNode template, string kind)
    {
        var restart = template["spec"u8]["restartPolicy"u8];
        if (!restart.Equals("Always"u8))
            at["spec"]["restartPolicy"].NotSupported(restart, ["Always"]);
        if (!template["spec"u8]["activeDeadlineSeconds"u8].IsNullOrUndefined)
            at["spec"]["activeDeadlineSeconds"].Forbidden($"activeDeadlineSeconds in {kind} is not Supported");
    }

    private static void ClaimTemplate(At at, ApiNode claim) => StorageValidation.ClaimSpec(at["spec"], claim["spec"u8]);

    private static void DeploymentStrategy(At at, ApiNode strategy)
    {
        var rolling = strategy["rollingUpdate"u8];
        if (strategy["type"u8].Equals("Recreate"u8))
        {
            if (!rolling.IsNullOrUndefined)
                at["rollingUpdate"].Forbidden("may not be specified when strategy `type` is 'Recreate'");
            return;
        }
        if (!strategy["type"u8].Equals("RollingUpdate"u8))
        {
            at.NotSupportedRaw(GoValue.Text(strategy, s_deploymentStrategyType), "Recreate", "RollingUpdate");
            return;
        }
        at = at["rollingUpdate"];
        CountOrPercent(at["maxUnavailable"], rolling["maxUnavailable"u8]);
        CountOrPercent(at["maxSurge"], rolling["maxSurge"u8]);
        if (ValueOf(rolling["maxUnavailable"u8]) == 0 && ValueOf(rolling["maxSurge"u8]) == 0)
            at["maxUnavailable"].Invalid(rolling["maxUnavailable"u8], "may not be 0 when `maxSurge` is 0");
        AtMostAll(at["maxUnavailable"], rolling["maxUnavailable"u8]);
    }

    private static void DaemonSetStrategy(At at, ApiNode strategy)
    {
        if (strategy["type"u8].Equals("OnDelete"u8))
            return;
        if (!strategy["type"u8].Equals("RollingUpdate"u8))
        {
            at.NotSupportedRaw(GoValue.Text(strategy, s_daemonStrategyType), "RollingUpdate", "OnDelete");
            return;
        }
        var rolling = strategy["rollingUpdate"u8];
        at = at["rollingUpdate"];
        if (rolling.Kind != NodeKind.Object)
        {
            at.Required();
            return;
        }
        CountOrPercent(at["maxUnavailable"], rolling["maxUnavailable"u8]);
        CountOrPercent(at["maxSurge"], rolling["maxSurge"u8]);
        AtMostAll(at["maxUnavailable"], rolling["maxUnavailable"u8]);
        AtMostAll(at["maxSurge"], rolling["maxSurge"u8]);
        bool hasUnavailable = ValueOf(rolling["maxUnavailable"u8]) != 0;
        bool hasSurge = ValueOf(rolling["maxSurge"u8]) != 0;
        if (hasUnavailable && hasSurge)
            at["maxSurge"].Invalid(rolling["maxSurge"u8], "may not be set when maxUnavailable is non-zero");
        else if (!hasUnavailable && !hasSurge)
            at["maxUnavailable"].Required("cannot be 0 when maxSurge is 0");
    }

    private static void StatefulSetStrategy(At at, ApiNode strategy)
    {
        var rolling = strategy["rollingUpdate"u8];
        if (strategy["type"u8].Utf8.IsEmpty)
        {
            at.Required();
        }
        else if (strategy["type"u8].Equals("OnDelete"u8))
        {
            if (!rolling.IsNullOrUndefined)
                at["rollingUpdate"].InvalidMember(strategy, "rollingUpdate", s_setStrategyType, "only allowed for updateStrategy 'RollingUpdate'");
        }
        else if (!strategy["type"u8].Equals("RollingUpdate"u8))
        {
            at.InvalidValue(strategy, s_setStrategyType, "must be 'RollingUpdate' or 'OnDelete'");
        }
        else if (rolling.Kind == NodeKind.Object)
        {
            at = at["rollingUpdate"];
            at["partition"].NonNegative(rolling["partition"u8]);
            if (rolling["maxUnavailable"u8].IsNullOrUndefined)
                return;
            CountOrPercent(at["maxUnavailable"], rolling["maxUnavailable"u8]);
            if (ValueOf(rolling["maxUnavailable"u8]) == 0)
                at["maxUnavailable"].Invalid(rolling["maxUnavailable"u8], "cannot be 0");
            AtMostAll(at["maxUnavailable"], rolling["maxUnavailable"u8]);
        }
    }

    private static void ImmutableSelector(At at, ApiNode obj, ApiNode old) =>
        at["spec"]["selector"].ImmutableMember(obj["spec"u8], old["spec"u8], "selector"u8, s_deploymentSpecType);

    // All counts for themselves, then those that may not be above the replicas.
    private static void ReplicaCounts(At at, ApiNode status, ReadOnlySpan<string> counts, ReadOnlySpan<string> parts, string ready)
    {
        foreach (string field in counts)
            at[field].NonNegative(status[System.Text.Encoding.ASCII.GetBytes(field)]);
        long replicas = status["replicas"u8].AsInt64();
        foreach (string field in parts)
        {
            long value = status[System.Text.Encoding.ASCII.GetBytes(field)].AsInt64();
            if (value > replicas)
                at[field].Invalid(value, "cannot be greater than status.replicas");
        }
        long available = status["availableReplicas"u8].AsInt64();
        if (available > status["readyReplicas"u8].AsInt64())
            at["availableReplicas"].Invalid(available, $"cannot be greater than {ready}");
    }

    private static void NotDecremented(At at, ApiNode value, ApiNode old)
    {
        if (old.TryGetInt64(out long before) && value.AsInt64() < before)
            at.Invalid(value.AsInt64(), "cannot be decremented");
    }
}
