using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>DefaultTolerationSeconds: pods leave a dead node after five minutes unless they say otherwise.</summary>
internal sealed class DefaultTolerationSeconds : AdmissionPlugin
{
    private const int EvictionSeconds = 300;

    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation == AdmissionOperation.Delete || context.Subresource.Length > 0 || !context.Is("", "pods"))
            return;
        if (context.Operation == AdmissionOperation.Update)
            return;
        var spec = context.Object["spec"u8];
        Add(spec, "node.kubernetes.io/not-ready"u8);
        Add(spec, "node.kubernetes.io/unreachable"u8);
    }

    private static void Add(ApiNode spec, ReadOnlySpan<byte> key)
    {
        foreach (var toleration in spec["tolerations"u8].Elements)
        {
            var isForKey = toleration["key"u8].Equals(key) || toleration["key"u8].Utf8.IsEmpty;
            var isForEffect = toleration["effect"u8].Equals("NoExecute"u8) || toleration["effect"u8].Utf8.IsEmpty;
            if (isForKey && isForEffect)
                return;
        }
        var added = spec.GetOrAddArray("tolerations"u8).AppendObject();
        added.Set("key"u8, key);
        added.Set("operator"u8, "Exists"u8);
        added.Set("effect"u8, "NoExecute"u8);
        added.Set("tolerationSeconds"u8, EvictionSeconds);
    }
}

/// <summary>Priority: resolves a pod's priority class to its number and preemption policy.</summary>
internal sealed class PriorityAdmission(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0 || !context.Is("", "pods"))
            return;
        var spec = context.Object["spec"u8];
        var name = spec["priorityClassName"u8].AsString();
        long value = 0;
        var policy = "PreemptLowerPriority";
        if (name.Length > 0)
        {
            using var stored = classes.Get("", name) ?? throw context.Forbid($"no PriorityClass with name {name} was found");
            using var found = classes.Decode(stored);
            Read(found.Root, ref value, ref policy);
        }
        else
        {
            foreach (var candidate in classes.All(""))
            {
                using var found = classes.Decode(candidate);
                if (!found.Root["globalDefault"u8].AsBool())
                    continue;
                spec.Set("priorityClassName"u8, ObjectText.NameOf(found.Root));
                Read(found.Root, ref value, ref policy);
                break;
            }
        }
        if (spec["priority"u8].TryGetInt64(out var given) && given != value)
            throw context.Forbid($"the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name");
        spec.Set("priority"u8, value);
        if (spec["preemptionPolicy"u8] is { IsNullOrUndefined: false } own && own.AsString() != policy)
            throw context.Forbid($"the string value of PreemptionPolicy ({own.AsString()}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name");
        spec.Set("preemptionPolicy"u8, policy);
    }

    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation == AdmissionOperation.Delete || !context.Is("scheduling.k8s.io", "priorityclasses") || !context.Object["globalDefault"u8].AsBool())
            return;
        foreach (var candidate in classes.All(""))
        {
            using var found = classes.Decode(candidate);
            if (found.Root["globalDefault"u8].AsBool() && ObjectText.NameOf(found.Root) != context.Name)
                throw context.Forbid($"PriorityClass {ObjectText.NameOf(found.Root)} is already marked as default. Only one default can exist");
        }
    }

    private static void Read(ApiNode found, ref long value, ref string policy)
    {
        value = found["value"u8].AsInt64();
        if (!found["preemptionPolicy"u8].Utf8.IsEmpty)
            policy = found["preemptionPolicy"u8].AsString();
    }
}

/// <summary>TaintNodesByCondition: a node that registers is not ready until somebody has seen it ready.</summary>
internal sealed class TaintNodesByCondition : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0 || !context.Is("", "nodes"))
            return;
        var taints = context.Object.GetOrAddObject("spec"u8).GetOrAddArray("taints"u8);
        foreach (var taint in taints.Elements)
        {
            if (taint["key"u8].Equals("node.kubernetes.io/not-ready"u8) && taint["effect"u8].Equals("NoSchedule"u8))
                return;
        }
        var added = taints.AppendObject();
        added.Set("key"u8, "node.kubernetes.io/not-ready"u8);
        added.Set("effect"u8, "NoSchedule"u8);
    }
}

/// <summary>RuntimeClass: copies the class's overhead and scheduling constraints into the pod.</summary>
internal sealed class RuntimeClassAdmission(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (context.Operation != AdmissionOperation.Create || context.Subresource.Length > 0 || !context.Is("", "pods"))
            return;
        var spec = context.Object["spec"u8];
        var name = spec["runtimeClassName"u8].AsString();
        if (name.Length == 0)
        {
            if (spec["overhead"u8].Count > 0)
                throw context.Forbid("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
            return;
        }
        using var stored = classes.Get("", name) ?? throw context.Forbid($"pod rejected: RuntimeClass {GoText.Quote(name)} not found");
        using var found = classes.Decode(stored);
        var overhead = found.Root["overhead"u8]["podFixed"u8];
        if (overhead.Count > 0)
        {
            if (spec["overhead"u8].Count > 0 && !spec["overhead"u8].DeepEquals(overhead))
                throw context.Forbid("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
            spec.Set("overhead"u8, overhead);
        }
        foreach (var wanted in found.Root["scheduling"u8]["nodeSelector"u8].Members)
        {
            var own = spec["nodeSelector"u8][wanted.Name];
            if (own.IsDefined && !own.DeepEquals(wanted.Value))
                throw context.Forbid("conflict: runtimeClass.Scheduling.NodeSelector and pod.Spec.NodeSelector have conflicting values");
            spec.GetOrAddObject("nodeSelector"u8).Set(wanted.Name, wanted.Value);
        }
        foreach (var toleration in found.Root["scheduling"u8]["tolerations"u8].Elements)
            spec.GetOrAddArray("tolerations"u8).Append(toleration);
    }
}
