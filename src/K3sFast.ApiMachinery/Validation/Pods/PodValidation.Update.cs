using System.Text;

namespace K3sFast.ApiMachinery;

internal static partial class PodValidation
{
    private const string MutableFields =
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        + "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.PodSpec")!;
    private static readonly TypeSchema s_containerType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Container")!;
    private static readonly TypeSchema s_ephemeralContainerType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.EphemeralContainer")!;
    private static readonly TypeSchema s_tolerationType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.Toleration")!;

    internal static void Update(At at, ApiNode pod, ApiNode old)
    {
        MetadataAndSpec(at, pod);
        AnnotationUpdate(at["metadata"]["annotations"], pod["metadata"u8]["annotations"u8], old["metadata"u8]["annotations"u8]);
        var spec = pod["spec"u8];
        var oldSpec = old["spec"u8];
        var place = at["spec"];
        if (!SameCount(place["containers"], spec["containers"u8], oldSpec["containers"u8])
            || !SameCount(place["initContainers"], spec["initContainers"u8], oldSpec["initContainers"u8]))
            return;
        ActiveDeadline(place["activeDeadlineSeconds"], spec["activeDeadlineSeconds"u8], oldSpec["activeDeadlineSeconds"u8]);
        OnlyAddedTolerations(place["tolerations"], spec["tolerations"u8], oldSpec["tolerations"u8]);
        OnlyDeletedGates(place["schedulingGates"], spec["schedulingGates"u8], oldSpec["schedulingGates"u8]);
        var changed = ChangedFields(spec, oldSpec);
        if (changed.Count > 0)
            place.Forbidden($"{MutableFields}\n{Difference(spec, oldSpec, changed)}");
    }

    internal static void UpdateStatus(At at, ApiNode pod, ApiNode old)
    {
        AnnotationUpdate(at["metadata"]["annotations"], pod["metadata"u8]["annotations"u8], old["metadata"u8]["annotations"u8]);
        var status = pod["status"u8];
        var oldStatus = old["status"u8];
        var place = at["status"];
        int i = 0;
        foreach (var condition in status["conditions"u8].Elements)
            place["conditions"][i++]["type"].Format(Format.LabelKey, condition["type"u8]);
        var nominated = status["nominatedNodeName"u8];
        if (!nominated.Utf8.IsEmpty && !nominated.Equals(oldStatus["nominatedNodeName"u8].Utf8))
            place["nominatedNodeName"].Format(Format.Dns1123Subdomain, nominated);
        if (status["observedGeneration"u8].AsInt64() < 0)
            place["observedGeneration"].Invalid(status["observedGeneration"u8].AsInt64(), "must be a non-negative integer");
        if (!status["qosClass"u8].Utf8.SequenceEqual(oldStatus["qosClass"u8].Utf8))
            place["qosClass"].Invalid(status["qosClass"u8].AsString(), "field is immutable");
        Transitions(place["containerStatuses"], status["containerStatuses"u8], oldStatus["containerStatuses"u8], old["spec"u8]["containers"u8], old["spec"u8]);
        IPs(place["podIPs"], status["podIPs"u8], oldStatus["podIPs"u8]);
        IPs(place["hostIPs"], status["hostIPs"u8], oldStatus["hostIPs"u8]);
    }

    internal static void UpdateSubresource(At at, ApiNode pod, ApiNode old, string subresource)
    {
        MetadataAndSpec(at, pod);
        if (subresource == "ephemeralcontainers")
            EphemeralContainersUpdate(at["spec"]["ephemeralContainers"], pod, old);
        else if (subresource == "resize")
            Resize(at["spec"], pod, old);
    }

    private static bool SameCount(At at, ApiNode containers, ApiNode old)
    {
        if (containers.Count == old.Count)
            return true;
        at.Forbidden("pod updates may not add or remove containers");
        return false;
    }

    private static void ActiveDeadline(At at, ApiNode value, ApiNode old)
    {
        if (value.TryGetInt64(out long seconds))
        {
            if (seconds is < 0 or > int.MaxValue)
                at.Invalid(seconds, $"must be between 0 and {int.MaxValue}, inclusive");
            if (old.TryGetInt64(out long before) && before < seconds)
                at.Invalid(seconds, "must be less than or equal to previous value");
        }
        else if (!old.IsNullOrUndefined)
        {
            at.Invalid(default(ApiNode), "must not update from a positive integer to nil value");
        }
    }

    private static void OnlyAddedTolerations(At at, ApiNode tolerations, ApiNode old)
    {
        foreach (var before in old.Elements)
        {
            bool isFound = false;
            foreach (var toleration in tolerations.Elements)
                isFound |= EqualBut(toleration, before, s_tolerationType, "tolerationSeconds"u8);
            if (!isFound)
                at.Forbidden("existing toleration can not be modified except its tolerationSeconds");
        }
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

    // The names of spec fields that changed although they may not.
    private static List<string> ChangedFields(ApiNode spec, ApiNode old)
    {
        var changed = new List<string>();
        bool wasGated = old["schedulingGates"u8].Count > 0;
        foreach (var field in s_specType.Fields)
        {
            var name = field.JsonNameUtf8;
            var value = spec[name];
            var before = old[name];
            switch (field.JsonName)
            {
                case "activeDeadlineSeconds" or "tolerations" or "schedulingGates":
                    continue;
                case "nodeSelector" or "affinity" when wasGated:
                    continue;
                case "containers" or "initContainers":
                    if (!ContainersEqualButImage(value, before))
                        changed.Add(field.JsonName);
                    continue;
                case "terminationGracePeriodSeconds" when before.AsInt64() < 0 && value.AsInt64() == 1:
                    continue;
            }
            if (!SemanticEquality.MemberEqual(spec, old, name, s_specType))
                changed.Add(field.JsonName);
        }
        return changed;
    }

    private static bool ContainersEqualButImage(ApiNode containers, ApiNode old)
    {
        var others = old.Elements.GetEnumerator();
        foreach (var container in containers.Elements)
            if (!others.MoveNext() || !EqualBut(container, others.Current, s_containerType, "image"u8))
                return false;
        return true;
    }

    private static bool EqualBut(ApiNode value, ApiNode old, TypeSchema type, ReadOnlySpan<byte> ignored)
    {
        foreach (var field in type.Fields)
            if (!field.JsonNameUtf8.SequenceEqual(ignored) && !SemanticEquality.MemberEqual(value, old, field.JsonNameUtf8, type))
                return false;
        return true;
    }

    // A reader sees at a glance which line of the spec was refused: "-" is what is stored, "+" what was asked for.
    private static string Difference(ApiNode spec, ApiNode old, List<string> changed)
    {
        var text = new StringBuilder();
        foreach (var name in changed)
        {
            var key = Encoding.UTF8.GetBytes(name);
            if (!old[key].IsNullOrUndefined)
                text.Append("- \t").Append(name).Append(": ").Append(old[key]).Append('\n');
            if (!spec[key].IsNullOrUndefined)
                text.Append("+ \t").Append(name).Append(": ").Append(spec[key]).Append('\n');
        }
        return text.ToString();
    }

    private static void AnnotationUpdate(At at, ApiNode annotations, ApiNode old)
    {
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
    }

    // A container that will not be restarted stays ended.
    private static void Transitions(At at, ApiNode statuses, ApiNode old, ApiNode containers, ApiNode spec)
    {
        int i = 0;
        foreach (var before in old.Elements)
        {
            var terminated = before["state"u8]["terminated"u8];
            if (terminated.Kind == NodeKind.Object && !MayRestart(Named(containers, before["name"u8].Utf8), spec, terminated["exitCode"u8].AsInt64()))
            {
                var now = Named(statuses, before["name"u8].Utf8);
                if (now.IsDefined && now["state"u8]["terminated"u8].Kind != NodeKind.Object)
                    at[i]["state"].Forbidden("may not be transitioned to non-terminated state");
            }
            i++;
        }
    }

    private static bool MayRestart(ApiNode container, ApiNode spec, long exitCode)
    {
        if (container["restartPolicyRules"u8].Count > 0)
            return true;
        string policy = (container["restartPolicy"u8].IsNullOrUndefined ? spec["restartPolicy"u8] : container["restartPolicy"u8]).AsString();
        return policy == "Always" || policy == "OnFailure" && exitCode != 0;
    }

    private static ApiNode Named(ApiNode list, ReadOnlySpan<byte> name)
    {
        foreach (var element in list.Elements)
            if (element["name"u8].Equals(name))
                return element;
        return default;
    }

    private static void IPs(At at, ApiNode addresses, ApiNode old)
    {
        int i = 0;
        foreach (var address in addresses.Elements)
        {
            bool isKnown = false;
            foreach (var before in old.Elements)
                isKnown |= before["ip"u8].Equals(address["ip"u8].Utf8);
            if (!isKnown)
                Addresses.LegacyIP(at[i], address["ip"u8]);
            i++;
        }
        if (addresses.Count > 2)
            at.Invalid(addresses, "may specify no more than one IP for each IP family");
    }

    private static void EphemeralContainersUpdate(At at, ApiNode pod, ApiNode old)
    {
        if (old["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
        {
            at.Forbidden("static pods do not support ephemeral containers");
            return;
        }
        foreach (var before in old["spec"u8]["ephemeralContainers"u8].Elements)
        {
            var now = Named(pod["spec"u8]["ephemeralContainers"u8], before["name"u8].Utf8);
            string name = GoText.Quote(before["name"u8].Utf8);
            if (!now.IsDefined)
                at.Forbidden($"existing ephemeral containers {name} may not be removed\n");
            else if (!SemanticEquality.Equal(now, before, s_ephemeralContainerType))
                at.Forbidden($"existing ephemeral containers {name} may not be changed\n- \t{before}\n+ \t{now}\n");
        }
    }

    private static void Resize(At at, ApiNode pod, ApiNode old)
    {
        if (old["metadata"u8]["annotations"u8]["kubernetes.io/config.mirror"u8].IsDefined)
        {
            at.Forbidden("static pods cannot be resized");
            return;
        }
        var spec = pod["spec"u8];
        var oldSpec = old["spec"u8];
        if (spec["containers"u8].Count != oldSpec["containers"u8].Count)
        {
            at["containers"].Forbidden("containers may not be added or removed on resize");
            return;
        }
        var before = oldSpec["containers"u8].Elements.GetEnumerator();
        int i = 0;
        bool isOnlyCpuAndMemory = true;
        foreach (var container in spec["containers"u8].Elements)
        {
            before.MoveNext();
            isOnlyCpuAndMemory &= OnlyCpuAndMemory(at["containers"][i]["resources"]["limits"], container["resources"u8]["limits"u8], before.Current["resources"u8]["limits"u8]);
            isOnlyCpuAndMemory &= OnlyCpuAndMemory(at["containers"][i]["resources"]["requests"], container["resources"u8]["requests"u8], before.Current["resources"u8]["requests"u8]);
            if (!container["name"u8].Equals(before.Current["name"u8].Utf8))
                at["containers"][i]["name"].Forbidden("containers may not be renamed or reordered on resize");
            i++;
        }
        if (!PodQuality.ClassOf(spec).SequenceEqual(PodQuality.ClassOf(oldSpec)))
            at.Invalid(Encoding.ASCII.GetString(PodQuality.ClassOf(spec)), "Pod QOS Class may not change as a result of resizing");
        if (!isOnlyCpuAndMemory)
            at.Forbidden("only cpu and memory resources are mutable");
    }

    private static bool OnlyCpuAndMemory(At at, ApiNode list, ApiNode old)
    {
        bool isSo = true;
        foreach (var added in list.Members)
            isSo &= ResourceValidation.IsCpuOrMemory(added.Name) || old[added.Name].IsDefined;
        foreach (var before in old.Members)
        {
            if (!list[before.Name].IsDefined)
                at.Forbidden($"resource {(at.ToString().EndsWith("limits", StringComparison.Ordinal) ? "limits" : "requests")} cannot be removed");
            else
                isSo &= ResourceValidation.IsCpuOrMemory(before.Name) || list[before.Name].DeepEquals(before.Value);
        }
        return isSo;
    }
}
