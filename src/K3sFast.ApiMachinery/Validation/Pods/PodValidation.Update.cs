namespace K3sFast.ApiMachinery;

internal static partial class PodValidation
{
    private const string MutableFields =
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        + "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodSpec")!;
    private static readonly TypeSchema s_nodeAffinityType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.NodeAffinity")!;
    private static readonly TypeSchema s_nodeSelectorType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.NodeSelector")!;
    private static readonly TypeSchema s_nodeSelectorTermType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.NodeSelectorTerm")!;
    private static readonly TypeSchema s_requirementType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.NodeSelectorRequirement")!;
    private static readonly TypeSchema s_ephemeralContainerType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.EphemeralContainer")!;
    private static readonly TypeSchema s_tolerationType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Toleration")!;

    internal static void Update(At at, ApiNode pod, ApiNode old)
    {
        MetadataAndSpec(at, pod);
        AnnotationUpdate(at["metadata"]["annotations"], pod, old);
        var spec = pod["spec"u8];
        var oldSpec = old["spec"u8];
        var place = at["spec"];
        if (!SameContainers(place["containers"], spec["containers"u8], oldSpec["containers"u8])
            || !SameContainers(place["initContainers"], spec["initContainers"u8], oldSpec["initContainers"u8])
            || !ActiveDeadline(place["activeDeadlineSeconds"], spec["activeDeadlineSeconds"u8], oldSpec["activeDeadlineSeconds"u8]))
            return;
        OnlyAddedTolerations(place["tolerations"], spec["tolerations"u8], oldSpec["tolerations"u8]);
        OnlyDeletedGates(place["schedulingGates"], spec["schedulingGates"u8], oldSpec["schedulingGates"u8]);
        if (SemanticEquality.Equal(spec, oldSpec, s_specType))
            return;
        var wanted = WithStoredMutables(place, spec, oldSpec);
        if (!SemanticEquality.Equal(wanted, oldSpec, s_specType))
            place.Forbidden($"{MutableFields}\n{UnifiedDiff.Of(GoValue.IndentedText(oldSpec, s_specType), GoValue.IndentedText(wanted, s_specType))}");
    }

    internal static void UpdateStatus(At at, ApiNode pod, ApiNode old)
    {
        AnnotationUpdate(at["metadata"]["annotations"], pod, old);
        PodStatusValidation.Check(at["status"], pod, old);
    }

    internal static void UpdateSubresource(At at, ApiNode pod, ApiNode old, string subresource)
    {
        MetadataAndSpec(at, pod);
        if (subresource == "ephemeralcontainers")
        {
            AnnotationUpdate(at["metadata"]["annotations"], pod, old);
            EphemeralContainersUpdate(at["spec"]["ephemeralContainers"], pod, old);
        }
        else if (subresource == "resize")
        {
            PodResize.Check(at, pod, old);
        }
    }

    // A changed number ends the comparison.
    private static bool SameContainers(At at, ApiNode containers, ApiNode old)
    {
        if (containers.Count != old.Count)
        {
            at.Forbidden("pod updates may not add or remove containers");
            return false;
        }
        int i = 0;
        foreach (var container in containers.Elements)
        {
            at[i]["image"].RequiredText(container["image"u8]);
            ContainerValidation.ImageOfPod(at[i++]["image"], container["image"u8]);
        }
        return true;
    }

    private static bool ActiveDeadline(At at, ApiNode value, ApiNode old)
    {
        if (value.TryGetInt64(out long seconds))
        {
            if (seconds is < 0 or > int.MaxValue)
                at.Invalid(seconds, $"must be between 0 and {int.MaxValue}, inclusive");
            else if (old.TryGetInt64(out long before) && before < seconds)
                at.Invalid(seconds, "must be less than or equal to previous value");
            else
                return true;
            return false;
        }
        if (!old.IsNullOrUndefined)
            at.Invalid(default(ApiNode), "must not update from a positive integer to nil value");
        return true;
    }

    private static void OnlyAddedTolerations(At at, ApiNode tolerations, ApiNode old)
    {
        foreach (var before in old.Elements)
        {
            bool isFound = false;
            foreach (var toleration in tolerations.Elements)
                isFound |= EqualBut(toleration, before, s_tolerationType, "tolerationSeconds"u8);
            if (isFound)
                continue;
            at.Forbidden("existing toleration can not be modified except its tolerationSeconds");
            return;
        }
        SchedulingValidation.Tolerations(at, tolerations);
    }

    private static void OnlyDeletedGates(At at, ApiNode gates, ApiNode old)
    {
        int i = 0;
        foreach (var gate in gates.Elements)
        {
            if (!ResourceValidation.HasNamed(old, gate["name"u8].Utf8))
                at[i]["name"].Forbidden($"only deletion is allowed, but found new scheduling gate '{gate["name"u8].AsString()}'");
            i++;
        }
    }

    // The wanted spec with everything that may change as it is stored.
    private static ApiNode WithStoredMutables(At at, ApiNode spec, ApiNode old)
    {
        var wanted = spec.Document.NewObject().Set("spec"u8, spec);
        TakeImages(wanted["containers"u8], old["containers"u8]);
        TakeImages(wanted["initContainers"u8], old["initContainers"u8]);
        Take(wanted, old, "activeDeadlineSeconds"u8);
        Take(wanted, old, "schedulingGates"u8);
        Take(wanted, old, "tolerations"u8);
        if (old["terminationGracePeriodSeconds"u8].AsInt64() < 0 && wanted["terminationGracePeriodSeconds"u8].AsInt64() == 1)
            Take(wanted, old, "terminationGracePeriodSeconds"u8);
        if (old["schedulingGates"u8].Count > 0)
            TakeDirectives(at, wanted, old);
        return wanted;
    }

    // A pod that is held back may be told more about where to go.
    private static void TakeDirectives(At at, ApiNode wanted, ApiNode old)
    {
        if (!SemanticEquality.MemberEqual(wanted, old, "nodeSelector"u8, s_specType))
        {
            foreach (var before in old["nodeSelector"u8].Members)
            {
                if (wanted["nodeSelector"u8][before.Name].Equals(before.Value.Utf8))
                    continue;
                at["nodeSelector"].InvalidMember(wanted, "nodeSelector", s_specType, "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
                break;
            }
            Take(wanted, old, "nodeSelector"u8);
        }
        var affinity = wanted["affinity"u8];
        var oldAffinity = old["affinity"u8];
        if (SemanticEquality.Equal(affinity["nodeAffinity"u8], oldAffinity["nodeAffinity"u8], s_nodeAffinityType))
            return;
        NodeAffinityUpdate(at["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"],
            affinity["nodeAffinity"u8]["requiredDuringSchedulingIgnoredDuringExecution"u8], oldAffinity["nodeAffinity"u8]["requiredDuringSchedulingIgnoredDuringExecution"u8]);
        if (affinity.IsNullOrUndefined)
            wanted.GetOrAddObject("affinity"u8).Set("nodeAffinity"u8, oldAffinity["nodeAffinity"u8]);
        else if (oldAffinity.IsNullOrUndefined && affinity["podAffinity"u8].IsNullOrUndefined && affinity["podAntiAffinity"u8].IsNullOrUndefined)
            wanted.Remove("affinity"u8);
        else
            Take(affinity, oldAffinity, "nodeAffinity"u8);
    }

    private static void NodeAffinityUpdate(At at, ApiNode required, ApiNode oldRequired)
    {
        var terms = required["nodeSelectorTerms"u8];
        var old = oldRequired["nodeSelectorTerms"u8];
        if (oldRequired.IsNullOrUndefined || old.Count == 0)
            return;
        if (old.Count != terms.Count)
        {
            at.InvalidMember(required, "nodeSelectorTerms", s_nodeSelectorType, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
            return;
        }
        for (int i = 0; i < old.Count; i++)
            if (!HasOnlyAdditions(terms[i], old[i]))
                at[i].InvalidValue(terms[i], s_nodeSelectorTermType, "only additions are allowed (no mutations or deletions)");
    }

    private static bool HasOnlyAdditions(ApiNode term, ApiNode old)
    {
        bool wasEmpty = old["matchExpressions"u8].Count == 0 && old["matchFields"u8].Count == 0;
        if (wasEmpty && (term["matchExpressions"u8].Count > 0 || term["matchFields"u8].Count > 0))
            return false;
        return StartsWith(term["matchExpressions"u8], old["matchExpressions"u8]) && StartsWith(term["matchFields"u8], old["matchFields"u8]);
    }

    private static bool StartsWith(ApiNode list, ApiNode start)
    {
        if (list.Count < start.Count)
            return false;
        for (int i = 0; i < start.Count; i++)
            if (!SemanticEquality.Equal(list[i], start[i], s_requirementType))
                return false;
        return true;
    }

    private static void TakeImages(ApiNode containers, ApiNode old)
    {
        var others = old.Elements.GetEnumerator();
        foreach (var container in containers.Elements)
            if (others.MoveNext())
                Take(container, others.Current, "image"u8);
    }

    private static void Take(ApiNode to, ApiNode from, ReadOnlySpan<byte> name)
    {
        if (from[name].IsNullOrUndefined)
            to.Remove(name);
        else
            to.Set(name, from[name]);
    }

    private static bool EqualBut(ApiNode value, ApiNode old, TypeSchema type, ReadOnlySpan<byte> ignored)
    {
        foreach (var field in type.Fields)
            if (!field.JsonNameUtf8.SequenceEqual(ignored) && !SemanticEquality.MemberEqual(value, old, field.JsonNameUtf8, type))
                return false;
        return true;
    }

    private static void AnnotationUpdate(At at, ApiNode pod, ApiNode oldPod)
    {
        var annotations = pod["metadata"u8]["annotations"u8];
        var old = oldPod["metadata"u8]["annotations"u8];
        foreach (var before in old.Members)
        {
            if (annotations[before.Name].Equals(before.Value.Utf8))
                continue;
            if (before.Name.StartsWith("container.apparmor.security.beta.kubernetes.io/"u8))
                at.Key(before).Forbidden("may not remove or update AppArmor annotations");
            if (before.Name.SequenceEqual("kubernetes.io/config.mirror"u8))
                at.Key(before).Forbidden("may not remove or update mirror pod annotation");
        }
        foreach (var annotation in annotations.Members)
        {
            if (old[annotation.Name].IsDefined)
                continue;
            if (annotation.Name.StartsWith("container.apparmor.security.beta.kubernetes.io/"u8))
                at.Key(annotation).Forbidden("may not add AppArmor annotations");
            if (annotation.Name.SequenceEqual("kubernetes.io/config.mirror"u8))
                at.Key(annotation).Forbidden("may not add mirror pod annotation");
        }
        PodAnnotations.Check(at, annotations, pod["spec"u8]);
    }

    private static ApiNode Named(ApiNode list, ReadOnlySpan<byte> name)
    {
        return list.PlaceOf("name"u8, name, out var element) >= 0 && element["name"u8].Kind == NodeKind.String ? element : default;
    }

    private static void EphemeralContainersUpdate(At at, ApiNode pod, ApiNode old)
    {
        if (old["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
        {
            at.Check.Errors.Clear();
            at.Check.Root.Forbidden("static pods do not support ephemeral containers");
            return;
        }
        foreach (var before in old["spec"u8]["ephemeralContainers"u8].Elements)
        {
            var now = Named(pod["spec"u8]["ephemeralContainers"u8], before["name"u8].Utf8);
            string name = GoText.Quote(before["name"u8].Utf8);
            if (!now.IsDefined)
                at.Forbidden($"existing ephemeral containers {name} may not be removed\n");
            else if (!SemanticEquality.Equal(now, before, s_ephemeralContainerType))
                at.Forbidden($"existing ephemeral containers {name} may not be changed\n"
                    + UnifiedDiff.Of(GoValue.IndentedText(before, s_ephemeralContainerType), GoValue.IndentedText(now, s_ephemeralContainerType)));
        }
    }
}
