using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>RuntimeClass: copies the class's overhead and scheduling constraints into the pod.</summary>
internal sealed class RuntimeClassAdmission(ResourceStorage classes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod || !context.IsCreate)
            return;
        using var found = Find(context);
        if (found is null)
            return;
        var spec = context.Object["spec"u8];
        var overhead = found.Root["overhead"u8];
        if (!overhead.IsNullOrUndefined)
        {
            if (spec["overhead"u8].Count > 0 && !IsSame(spec["overhead"u8], overhead["podFixed"u8]))
                throw context.Forbid("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
            spec.Set("overhead"u8, overhead["podFixed"u8]);
        }
        if (!found.Root["scheduling"u8].IsNullOrUndefined)
            SetScheduling(context, spec, found.Root["scheduling"u8]);
    }

    internal override void Validate(AdmissionContext context)
    {
        if (!context.IsPod || !context.IsCreate)
            return;
        using var found = Find(context);
        ApiNode overhead = found?.Root["overhead"u8] ?? default, own = context.Object["spec"u8]["overhead"u8];
        if (overhead.IsNullOrUndefined && !own.IsNullOrUndefined)
            throw context.Forbid("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
        if (!overhead.IsNullOrUndefined && !IsSame(overhead["podFixed"u8], own))
            throw context.Forbid("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    }

    private ApiObject? Find(AdmissionContext context)
    {
        var name = context.Object["spec"u8]["runtimeClassName"u8];
        if (name.IsNullOrUndefined)
            return null;
        using StoredObject stored = classes.Get(default, name.Utf8) ?? throw context.Forbid($"pod rejected: RuntimeClass {GoText.Quote(name.Utf8)} not found");
        return classes.Decode(stored);
    }

    private static void SetScheduling(AdmissionContext context, ApiNode spec, ApiNode scheduling)
    {
        foreach (var wanted in scheduling["nodeSelector"u8].Members)
        {
            var own = spec["nodeSelector"u8][wanted.Name];
            if (own.IsDefined && !own.DeepEquals(wanted.Value))
            {
                var key = Encoding.UTF8.GetString(wanted.Name);
                throw context.Forbid(
                    $"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted.Value.AsString()}; pod.spec.nodeSelector[{key}] = {own.AsString()}");
            }
            spec.GetOrAddObject("nodeSelector"u8).Set(wanted.Name, wanted.Value);
        }
        var tolerations = new List<ApiNode>();
        foreach (var toleration in scheduling["tolerations"u8].Elements)
            tolerations.Add(toleration);
        PodTolerations.Merge(spec, tolerations);
    }

    private static bool IsSame(ApiNode a, ApiNode b) => ResourceAmounts.Read(a).SameAs(ResourceAmounts.Read(b));
}
