namespace K3sFast.ApiMachinery;

internal static partial class DefaultingRules
{
    // Every member of a volume but its name is its source.
    private static void Volume(ApiNode volume)
    {
        bool hasSource = false;
        foreach (var member in volume.Members)
            hasSource |= !member.Name.SequenceEqual("name"u8) && member.Value.Kind == NodeKind.Object;
        if (!hasSource)
        {
            AddFresh(volume, "emptyDir"u8);
            return;
        }
        var image = volume["image"u8];
        if (image.Kind == NodeKind.Object && IsEmpty(image["pullPolicy"u8]))
            image.Set("pullPolicy"u8, PullPolicyOf(image["reference"u8].Utf8));
    }

    private static void Container(ApiNode container)
    {
        if (IsEmpty(container["imagePullPolicy"u8]))
            container.Set("imagePullPolicy"u8, PullPolicyOf(container["image"u8].Utf8));
    }

    /// <summary>Always for the tag "latest", also when it is only implied (neither tag nor digest); else IfNotPresent.</summary>
    private static ReadOnlySpan<byte> PullPolicyOf(ReadOnlySpan<byte> image)
    {
        if (image.IsEmpty)
            return "IfNotPresent"u8;
        int at = image.IndexOf((byte)'@');
        var name = at < 0 ? image : image[..at];
        int colon = name[(name.LastIndexOf((byte)'/') + 1)..].IndexOf((byte)':');
        if (colon < 0)
            return at < 0 ? "Always"u8 : "IfNotPresent"u8;
        return name.EndsWith(":latest"u8) ? "Always"u8 : "IfNotPresent"u8;
    }

    // spec.serviceAccount is the old name of serviceAccountName: the new one wins, and both are shown.
    internal static void PodSpec(ApiNode spec)
    {
        var name = spec["serviceAccountName"u8];
        var alias = spec["serviceAccount"u8];
        if (!IsEmpty(name))
        {
            if (!alias.Equals(name.Utf8))
                spec.Set("serviceAccount"u8, name);
        }
        else if (!IsEmpty(alias))
        {
            spec.Set("serviceAccountName"u8, alias);
        }
    }

    private static void Pod(ApiNode pod)
    {
        var spec = pod.GetOrAddObject("spec"u8);
        CopyLimitsToRequests(spec["containers"u8]);
        CopyLimitsToRequests(spec["initContainers"u8]);
        if (spec["resources"u8].Kind == NodeKind.Object)
            PodLevelResources.ApplyDefaults(spec);
        if (spec["hostNetwork"u8].AsBool())
        {
            HostPortsAsContainerPorts(spec["containers"u8]);
            HostPortsAsContainerPorts(spec["initContainers"u8]);
        }
    }

    private static void CopyLimitsToRequests(ApiNode containers)
    {
        foreach (var container in containers.Elements)
        {
            var resources = container["resources"u8];
            if (resources["limits"u8].Count > 0)
                CopyMissing(resources, "requests"u8, resources["limits"u8]);
        }
    }

    private static void HostPortsAsContainerPorts(ApiNode containers)
    {
        foreach (var container in containers.Elements)
            foreach (var port in container["ports"u8].Elements)
                if (!(port["hostPort"u8].TryGetInt64(out long hostPort) && hostPort != 0) && port["containerPort"u8].IsDefined)
                    port.Set("hostPort"u8, port["containerPort"u8]);
    }

    private static void ReplicationController(ApiNode controller)
    {
        var labels = controller["spec"u8]["template"u8]["metadata"u8]["labels"u8];
        if (labels.Kind != NodeKind.Object)
            return;
        var spec = controller["spec"u8];
        if (spec["selector"u8].Count == 0)
            spec.Set("selector"u8, labels);
        if (controller["metadata"u8]["labels"u8].Count == 0)
            controller.GetOrAddObject("metadata"u8).Set("labels"u8, labels);
    }

    private static void Deployment(ApiNode deployment)
    {
        var strategy = deployment.GetOrAddObject("spec"u8).GetOrAddObject("strategy"u8);
        if (!IsEmpty(strategy["type"u8]) && !strategy["type"u8].Equals("RollingUpdate"u8))
            return;
        var rolling = strategy["rollingUpdate"u8].IsNullOrUndefined ? AddFresh(strategy, "rollingUpdate"u8) : strategy["rollingUpdate"u8];
        if (rolling["maxUnavailable"u8].IsNullOrUndefined)
            rolling.Set("maxUnavailable"u8, "25%"u8);
        if (rolling["maxSurge"u8].IsNullOrUndefined)
            rolling.Set("maxSurge"u8, "25%"u8);
    }

    private static void DaemonSet(ApiNode daemonSet)
    {
        var strategy = daemonSet.GetOrAddObject("spec"u8).GetOrAddObject("updateStrategy"u8);
        if (!IsEmpty(strategy["type"u8]) && !strategy["type"u8].Equals("RollingUpdate"u8))
            return;
        var rolling = strategy["rollingUpdate"u8].IsNullOrUndefined ? AddFresh(strategy, "rollingUpdate"u8) : strategy["rollingUpdate"u8];
        if (rolling["maxUnavailable"u8].IsNullOrUndefined)
            rolling.Set("maxUnavailable"u8, 1);
        if (rolling["maxSurge"u8].IsNullOrUndefined)
            rolling.Set("maxSurge"u8, 0);
    }

    private static void StatefulSet(ApiNode statefulSet)
    {
        var strategy = statefulSet.GetOrAddObject("spec"u8).GetOrAddObject("updateStrategy"u8);
        bool typeLeftOut = IsEmpty(strategy["type"u8]);
        if (typeLeftOut && strategy["rollingUpdate"u8].IsNullOrUndefined)
            AddFresh(strategy, "rollingUpdate"u8);
        var rolling = strategy["rollingUpdate"u8];
        if ((typeLeftOut || strategy["type"u8].Equals("RollingUpdate"u8)) && rolling.Kind == NodeKind.Object && rolling["partition"u8].IsNullOrUndefined)
            rolling.Set("partition"u8, 0);
        NameClaims(statefulSet["spec"u8]);
    }

    /// <summary>Claims within a stateful set say what they are, as nothing else within an object does.</summary>
    internal static void NameClaims(ApiNode spec)
    {
        foreach (var claim in spec["volumeClaimTemplates"u8].Elements)
        {
            if (claim.Kind != NodeKind.Object)
                continue;
            claim.Set("kind"u8, "PersistentVolumeClaim"u8);
            claim.Set("apiVersion"u8, "v1"u8);
        }
    }

    private static void Job(ApiNode job)
    {
        var spec = job.GetOrAddObject("spec"u8);
        if (spec["completions"u8].IsNullOrUndefined && spec["parallelism"u8].IsNullOrUndefined)
            spec.Set("completions"u8, 1);
        if (spec["backoffLimit"u8].IsNullOrUndefined)
            spec.Set("backoffLimit"u8, spec["backoffLimitPerIndex"u8].IsNullOrUndefined ? 6 : int.MaxValue);
        if (spec["podReplacementPolicy"u8].IsNullOrUndefined)
            spec.Set("podReplacementPolicy"u8, spec["podFailurePolicy"u8].IsNullOrUndefined ? "TerminatingOrFailed"u8 : "Failed"u8);
        JobLabels(job);
    }

    // An object that has none takes those of its pods.
    internal static void JobLabels(ApiNode job)
    {
        var labels = job["spec"u8]["template"u8]["metadata"u8]["labels"u8];
        if (job["metadata"u8]["labels"u8].Count == 0 && labels.Count > 0)
            job.GetOrAddObject("metadata"u8).Set("labels"u8, labels);
    }
}
