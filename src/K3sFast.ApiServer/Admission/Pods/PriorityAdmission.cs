using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Priority: resolves a pod's priority class to its number and preemption policy, and keeps the default class the only one.</summary>
internal sealed class PriorityAdmission(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod)
            return;
        var spec = context.Object.GetOrAddObject("spec"u8);
        if (!context.IsCreate)
        {
            KeepIfAbsent(spec, context.OldObject["spec"u8], "priority"u8);
            KeepIfAbsent(spec, context.OldObject["spec"u8], "preemptionPolicy"u8);
            return;
        }
        var name = spec["priorityClassName"u8].AsString();
        long value = 0;
        var policy = "PreemptLowerPriority";
        if (name.Length > 0)
        {
            using var stored = classes.Get("", name) ?? throw context.Forbid($"no PriorityClass with name {name} was found");
            using var found = classes.Decode(stored);
            Read(found.Root, out value, out policy);
        }
        else if (FindDefault() is { } found)
        {
            using (found)
            {
                spec.Set("priorityClassName"u8, ObjectText.NameOf(found.Root));
                Read(found.Root, out value, out policy);
            }
        }
        if (spec["priority"u8].TryGetInt64(out var given) && given != value)
            throw context.Forbid($"the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name");
        spec.Set("priority"u8, value);
        if (policy.Length == 0)
            return;
        if (spec["preemptionPolicy"u8] is { IsNullOrUndefined: false } own && own.AsString() != policy)
            throw context.Forbid($"the string value of PreemptionPolicy ({own.AsString()}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name");
        spec.Set("preemptionPolicy"u8, policy);
    }

    internal override void Validate(AdmissionContext context)
    {
        if (context.Operation == AdmissionOperation.Delete && context.Name is "system-node-critical" or "system-cluster-critical"
            && context.Is("scheduling.k8s.io", "priorityclasses"))
            throw context.Forbid("this is a system priority class and cannot be deleted");
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update) || context.Subresource.Length > 0
            || !context.Is("scheduling.k8s.io", "priorityclasses") || !context.Object["globalDefault"u8].AsBool() || FindDefault() is not { } found)
            return;
        using (found)
        {
            var name = ObjectText.NameOf(found.Root);
            if (context.IsCreate || name != context.Name)
                throw context.Forbid($"PriorityClass {name} is already marked as default. Only one default can exist");
        }
    }

    // Of several defaults, which only a race can make, the lowest counts. The caller disposes it.
    private ApiObject? FindDefault()
    {
        ApiObject? best = null;
        foreach (var candidate in classes.All(""))
        {
            // Nearly no class is one; the bytes tell before it is decoded.
            if (!candidate.Json.MayContain("\"globalDefault\":true"u8))
                continue;
            var found = classes.Decode(candidate);
            if (!found.Root["globalDefault"u8].AsBool() || best is not null && best.Root["value"u8].AsInt64() <= found.Root["value"u8].AsInt64())
            {
                found.Dispose();
                continue;
            }
            best?.Dispose();
            best = found;
        }
        return best;
    }

    private static void Read(ApiNode found, out long value, out string policy) =>
        (value, policy) = (found["value"u8].AsInt64(), found["preemptionPolicy"u8].AsString());

    private static void KeepIfAbsent(ApiNode spec, ApiNode old, ReadOnlySpan<byte> name)
    {
        if (spec[name].IsNullOrUndefined && !old[name].IsNullOrUndefined)
            spec.Set(name, old[name]);
    }
}
