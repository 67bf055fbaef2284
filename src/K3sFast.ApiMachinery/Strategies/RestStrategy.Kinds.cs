namespace K3sFast.ApiMachinery;

public static partial class RestStrategy
{
    private static void PrepareKindForCreate(ApiNode obj, ResourceInfo resource)
    {
        switch (resource.Group, resource.Resource)
        {
            case ("", "pods"):
                PreparePodForCreate(obj);
                break;
            case ("", "namespaces"):
                var finalizers = obj.GetOrAddObject("spec"u8).GetOrAddArray("finalizers"u8);
                if (!Contains(finalizers, "kubernetes"u8))
                    finalizers.AppendString("kubernetes"u8);
                obj.GetOrAddObject("status"u8).Set("phase"u8, "Active"u8);
                break;
            case ("", "persistentvolumes"):
                var status = obj.GetOrAddObject("status"u8);
                status.Set("phase"u8, "Pending"u8);
                status.Set("lastPhaseTransitionTime"u8, Now());
                break;
            case ("", "persistentvolumeclaims"):
                obj.GetOrAddObject("status"u8).Set("phase"u8, "Pending"u8);
                DropForeignDataSource(obj["spec"u8], default);
                NormalizeDataSources(obj["spec"u8]);
                break;
            case ("", "serviceaccounts"):
                CleanSecretReferences(obj["secrets"u8]);
                break;
            case ("", "services"):
                obj.GetOrAddObject("status"u8).GetOrAddObject("loadBalancer"u8);
                break;
            case ("", "nodes"):
                obj["spec"u8].Remove("configSource"u8);
                obj["status"u8].Remove("config"u8);
                JoinPodCidrs(obj["spec"u8]);
                break;
            case ("discovery.k8s.io", "endpointslices"):
                DropTopology(obj, default);
                break;
            case ("apps", "daemonsets"):
                if (!(TemplateGenerationOf(obj) >= 1))
                    SetTemplateGeneration(obj, 1);
                break;
            case ("batch", "jobs"):
                GenerateJobSelector(obj);
                break;
            case ("certificates.k8s.io", "certificatesigningrequests"):
                var spec = obj["spec"u8];
                spec.Remove("username"u8);
                spec.Remove("uid"u8);
                spec.Remove("groups"u8);
                spec.Remove("extra"u8);
                break;
            case ("apiextensions.k8s.io", "customresourcedefinitions"):
                NoteStorageVersion(obj);
                break;
            case ("apiregistration.k8s.io", "apiservices"):
                if (obj["spec"u8]["service"u8].IsNullOrUndefined)
                    AddLocalApiServiceCondition(obj);
                break;
        }
    }

    // Every version that ever was the stored one may still have objects.
    private static void NoteStorageVersion(ApiNode definition)
    {
        foreach (var version in definition["spec"u8]["versions"u8].Elements)
        {
            if (!version["storage"u8].AsBool())
                continue;
            var stored = definition.GetOrAddObject("status"u8).GetOrAddArray("storedVersions"u8);
            if (!Contains(stored, version["name"u8].Utf8))
                stored.AppendString(version["name"u8].Utf8);
            return;
        }
    }

    private static void PrepareKindForUpdate(ApiNode obj, ApiNode old, ResourceInfo resource)
    {
        switch (resource.Group, resource.Resource)
        {
            case ("", "pods"):
                DefaultingRules.PodSpec(obj["spec"u8]);
                break;
            case ("", "namespaces"):
                Keep(obj.GetOrAddObject("spec"u8), old["spec"u8], "finalizers"u8);
                break;
            case ("", "persistentvolumeclaims"):
                DropForeignDataSource(obj["spec"u8], old["spec"u8]);
                NormalizeDataSources(obj["spec"u8]);
                break;
            case ("", "serviceaccounts"):
                CleanSecretReferences(obj["secrets"u8]);
                break;
            case ("", "secrets"):
                if (IsEmpty(obj["type"u8]))
                    Keep(obj, old, "type"u8);
                break;
            case ("", "services"):
                DropFieldsOfOldServiceType(obj, old);
                break;
            case ("", "nodes"):
                if (old["spec"u8]["configSource"u8].IsNullOrUndefined)
                    obj["spec"u8].Remove("configSource"u8);
                JoinPodCidrs(obj["spec"u8]);
                break;
            case ("discovery.k8s.io", "endpointslices"):
                DropTopology(obj, old);
                break;
            case ("apiextensions.k8s.io", "customresourcedefinitions"):
                NoteStorageVersion(obj);
                break;
            case ("apps", "daemonsets"):
                bool changed = !SemanticEquality.MemberEqual(obj["spec"u8], old["spec"u8], "template"u8, SpecTypeOf(resource));
                SetTemplateGeneration(obj, TemplateGenerationOf(old) + (changed ? 1 : 0));
                break;
            case ("certificates.k8s.io", "certificatesigningrequests"):
                Keep(obj, old, "spec"u8);
                break;
        }
    }

    private static void PrepareKindStatus(ApiNode obj, ApiNode old, ResourceInfo resource)
    {
        var metadata = obj["metadata"u8];
        switch (resource.Group, resource.Resource)
        {
            case ("", "pods"):
                PreparePodStatus(obj, old);
                break;
            case ("apps", "deployments"):
                Keep(metadata, old["metadata"u8], "labels"u8);
                break;
            case ("", "persistentvolumes"):
                StampPhaseTransition(obj.GetOrAddObject("status"u8), old["status"u8]);
                break;
            case ("certificates.k8s.io", "certificatesigningrequests"):
                StampConditions(obj["status"u8], old["status"u8]);
                break;
        }
    }

    private static void PrepareSubresourceUpdate(ApiNode obj, ApiNode old, ResourceInfo resource, string subresource)
    {
        switch (resource.Group, resource.Resource, subresource)
        {
            case ("", "namespaces", "finalize"):
                Keep(obj, old, "status"u8);
                break;
            case ("", "pods", "ephemeralcontainers"):
                KeepPodButEphemeralContainers(obj, old);
                break;
            case ("", "pods", "resize"):
                KeepPodButResources(obj, old);
                break;
            case ("certificates.k8s.io", "certificatesigningrequests", "approval"):
                StampConditions(obj["status"u8], old["status"u8]);
                var conditions = obj["status"u8]["conditions"u8];
                Keep(obj, old, "spec"u8);
                var status = obj.NewStatusFrom(old);
                if (conditions.IsNullOrUndefined)
                    status.Remove("conditions"u8);
                else
                    status.Set("conditions"u8, conditions);
                obj.Set("status"u8, status);
                break;
            default:
                Keep(obj, old, "status"u8);
                break;
        }
    }

    private static ApiNode NewStatusFrom(this ApiNode obj, ApiNode old)
    {
        var status = obj.Document.NewObject();
        foreach (var member in old["status"u8].Members)
            status.Set(member.Name, member.Value);
        return status;
    }

    // The old single field and the first of the list are one; the single field wins.
    private static void JoinPodCidrs(ApiNode spec)
    {
        var single = spec["podCIDR"u8];
        var list = spec["podCIDRs"u8];
        if (!IsEmpty(single))
        {
            if (list.Count > 0 && list[0].Equals(single.Utf8))
                return;
            var kept = single.Utf8.ToArray();
            spec.Remove("podCIDRs"u8);
            spec.GetOrAddArray("podCIDRs"u8).AppendString(kept);
        }
        else if (list.Count > 0)
        {
            spec.Set("podCIDR"u8, list[0].Utf8.ToArray());
        }
    }

    // The labels of old versions, which v1 knows only to show what is stored.
    private static void DropTopology(ApiNode slice, ApiNode old)
    {
        foreach (var stored in old["endpoints"u8].Elements)
            if (stored["deprecatedTopology"u8].Count > 0)
                return;
        foreach (var endpoint in slice["endpoints"u8].Elements)
            endpoint.Remove("deprecatedTopology"u8);
    }

    private static TypeSchema? SpecTypeOf(ResourceInfo resource) =>
        resource.Type is { } type && type.TryGetField("spec"u8, out var field) ? field.Element : null;

    private static bool Contains(ApiNode array, ReadOnlySpan<byte> value)
    {
        foreach (var element in array.Elements)
            if (element.Equals(value))
                return true;
        return false;
    }

    private static string Now() => Clock.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'");

    /// <summary>
    /// What upstream's conversion adds to every object of a kind before owners are looked at: a daemon set's generation of its template, which is there
    /// even when the client leaves it out.
    /// </summary>
    public static void CompleteForOwners(ApiNode obj, ResourceInfo resource)
    {
        if (resource.Resource == "daemonsets" && resource.Group == "apps" && !obj["metadata"u8]["annotations"u8]["deprecated.daemonset.template.generation"u8].IsDefined)
            SetTemplateGeneration(obj, 0);
    }

    // The internal field behind it has no place in apps/v1 but this annotation.
    private static long TemplateGenerationOf(ApiNode daemonSet) =>
        long.TryParse(daemonSet["metadata"u8]["annotations"u8]["deprecated.daemonset.template.generation"u8].Utf8, out long value) ? value : 0;

    private static void SetTemplateGeneration(ApiNode daemonSet, long value) =>
        daemonSet["metadata"u8].GetOrAddObject("annotations"u8).Set("deprecated.daemonset.template.generation"u8, value.ToString());

    private static void CleanSecretReferences(ApiNode secrets)
    {
        foreach (var reference in secrets.Elements)
        {
            for (bool again = true; again;)
            {
                again = false;
                foreach (var member in reference.Members)
                {
                    if (member.Name.SequenceEqual("name"u8))
                        continue;
                    reference.Remove(member.Name);
                    again = true;
                    break;
                }
            }
        }
    }

    private static void DropForeignDataSource(ApiNode spec, ApiNode oldSpec)
    {
        var source = spec["dataSource"u8];
        if (source.IsNullOrUndefined || !spec["dataSourceRef"u8].IsNullOrUndefined || !oldSpec["dataSource"u8].IsNullOrUndefined)
            return;
        bool isClaim = source["kind"u8].Equals("PersistentVolumeClaim"u8) && IsEmpty(source["apiGroup"u8]);
        bool isSnapshot = source["kind"u8].Equals("VolumeSnapshot"u8) && source["apiGroup"u8].Equals("snapshot.storage.k8s.io"u8);
        if (!isClaim && !isSnapshot)
            spec.Remove("dataSource"u8);
    }

    private static void NormalizeDataSources(ApiNode spec)
    {
        var source = spec["dataSource"u8];
        var reference = spec["dataSourceRef"u8];
        if (reference.Kind == NodeKind.Object && !IsEmpty(reference["namespace"u8]))
            return;
        if (source.Kind == NodeKind.Object && reference.IsNullOrUndefined)
            spec.Set("dataSourceRef"u8, source);
        else if (reference.Kind == NodeKind.Object && source.IsNullOrUndefined)
            spec.Set("dataSource"u8, reference);
    }

    private static void StampPhaseTransition(ApiNode status, ApiNode oldStatus)
    {
        var time = status["lastPhaseTransitionTime"u8];
        var oldTime = oldStatus["lastPhaseTransitionTime"u8];
        if (status["phase"u8].Equals(oldStatus["phase"u8].Utf8))
        {
            if (IsEmpty(time))
                Keep(status, oldStatus, "lastPhaseTransitionTime"u8);
        }
        else if (IsEmpty(time) || time.Equals(oldTime.Utf8))
        {
            status.Set("lastPhaseTransitionTime"u8, Now());
        }
    }

    /// <summary>Gives conditions without times the current time, or the stored transition time while their status stays.</summary>
    private static void StampConditions(ApiNode status, ApiNode oldStatus)
    {
        string? now = null;
        foreach (var condition in status["conditions"u8].Elements)
        {
            if (IsEmpty(condition["lastUpdateTime"u8]))
                condition.Set("lastUpdateTime"u8, now ??= Now());
            if (!IsEmpty(condition["lastTransitionTime"u8]))
                continue;
            var stored = FindCondition(oldStatus, condition["type"u8].Utf8);
            if (stored.IsDefined && stored["status"u8].Equals(condition["status"u8].Utf8) && !IsEmpty(stored["lastTransitionTime"u8]))
                condition.Set("lastTransitionTime"u8, stored["lastTransitionTime"u8]);
            else
                condition.Set("lastTransitionTime"u8, now ??= Now());
        }
    }

    private static ApiNode FindCondition(ApiNode status, ReadOnlySpan<byte> type)
    {
        foreach (var condition in status["conditions"u8].Elements)
            if (condition["type"u8].Equals(type))
                return condition;
        return default;
    }

    private static void AddLocalApiServiceCondition(ApiNode service)
    {
        var condition = service.GetOrAddObject("status"u8).GetOrAddArray("conditions"u8).AppendObject();
        condition.Set("type"u8, "Available"u8);
        condition.Set("status"u8, "True"u8);
        condition.Set("lastTransitionTime"u8, Now());
        condition.Set("reason"u8, "Local"u8);
        condition.Set("message"u8, "Local APIServices are always available"u8);
    }

    // Labels and the one selector term that tie a job's pods to it, unless the user manages the selector.
    private static void GenerateJobSelector(ApiNode job)
    {
        var spec = job.GetOrAddObject("spec"u8);
        if (spec["manualSelector"u8].AsBool())
            return;
        var name = job["metadata"u8]["name"u8];
        var uid = job["metadata"u8]["uid"u8];
        var template = spec.GetOrAddObject("template"u8);
        if (template["metadata"u8].Kind == NodeKind.Null)
            template.Remove("metadata"u8);
        var labels = template.GetOrAddObject("metadata"u8).GetOrAddObject("labels"u8);
        SetIfAbsent(labels, "job-name"u8, name);
        SetIfAbsent(labels, "batch.kubernetes.io/job-name"u8, name);
        SetIfAbsent(labels, "controller-uid"u8, uid);
        SetIfAbsent(labels, "batch.kubernetes.io/controller-uid"u8, uid);
        if (spec["selector"u8].Kind == NodeKind.Null)
            spec.Remove("selector"u8);
        SetIfAbsent(spec.GetOrAddObject("selector"u8).GetOrAddObject("matchLabels"u8), "batch.kubernetes.io/controller-uid"u8, uid);
    }

    private static void SetIfAbsent(ApiNode obj, ReadOnlySpan<byte> name, ApiNode value)
    {
        if (!obj[name].IsDefined)
            obj.Set(name, value);
    }
}
