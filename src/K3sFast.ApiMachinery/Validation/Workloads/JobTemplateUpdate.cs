namespace K3sFast.ApiMachinery;

/// <summary>
/// What an update may change in a job's pod template: nothing while it runs; where its pods go and what they ask for while it is suspended and has none.
/// </summary>
internal static class JobTemplateUpdate
{
    private static readonly TypeSchema s_templateType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodTemplateSpec")!;
    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodSpec")!;

    internal static void Check(At at, ApiNode template, ApiNode oldJob)
    {
        bool isSuspended = oldJob["spec"u8]["suspend"u8].AsBool();
        bool hasNotStarted = oldJob["status"u8]["startTime"u8].IsNullOrUndefined;
        bool isAtRest = isSuspended && (hasNotStarted || JobStatusValidation.IsTrue(oldJob, "Suspended"u8)) && oldJob["status"u8]["active"u8].AsInt64() == 0;
        bool mayMove = FeatureGates.Current.IsOn("MutableSchedulingDirectivesForSuspendedJobs") ? isAtRest : isSuspended && hasNotStarted;
        var old = oldJob.Document.NewObject().Set("template"u8, oldJob["spec"u8]["template"u8]);
        if (mayMove)
            TakeSchedulingDirectives(old, template);
        if (isSuspended && isAtRest && FeatureGates.Current.IsOn("MutablePodResourcesForSuspendedJobs"))
        {
            TakeResources(old["spec"u8]["containers"u8], template["spec"u8]["containers"u8]);
            TakeResources(old["spec"u8]["initContainers"u8], template["spec"u8]["initContainers"u8]);
            at["spec"].Immutable(template["spec"u8], old["spec"u8], s_specType);
            return;
        }
        at.Immutable(template, old, s_templateType);
    }

    private static void TakeSchedulingDirectives(ApiNode old, ApiNode template)
    {
        var spec = template["spec"u8];
        var oldSpec = old["spec"u8];
        var affinity = spec["affinity"u8];
        if (affinity.Kind == NodeKind.Object)
        {
            Take(oldSpec.GetOrAddObject("affinity"u8), affinity, "nodeAffinity"u8);
        }
        else if (oldSpec["affinity"u8].Kind == NodeKind.Object)
        {
            oldSpec["affinity"u8].Remove("nodeAffinity"u8);
            if (oldSpec["affinity"u8].Count == 0)
                oldSpec.Remove("affinity"u8);
        }
        Take(oldSpec, spec, "nodeSelector"u8);
        Take(oldSpec, spec, "tolerations"u8);
        Take(oldSpec, spec, "schedulingGates"u8);
        Take(old.GetOrAddObject("metadata"u8), template["metadata"u8], "annotations"u8);
        Take(old["metadata"u8], template["metadata"u8], "labels"u8);
    }

    private static void TakeResources(ApiNode old, ApiNode containers)
    {
        if (old.Count != containers.Count)
            return;
        for (int i = 0; i < old.Count; i++)
            if (old[i]["name"u8].Equals(containers[i]["name"u8].Utf8))
                Take(old[i], containers[i], "resources"u8);
    }

    private static void Take(ApiNode to, ApiNode from, ReadOnlySpan<byte> name)
    {
        if (from[name].IsNullOrUndefined)
            to.Remove(name);
        else
            to.Set(name, from[name]);
    }
}
