using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>LimitRanger: gives containers the namespace's default requests and limits, and refuses pods and claims outside its bounds.</summary>
internal sealed class LimitRanger(ResourceStorage ranges) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!Concerns(context) || !context.Is("", "pods"))
            return;
        foreach (var stored in ranges.All(context.Namespace))
        {
            using var range = ranges.Decode(stored);
            SetDefaults(context.Object, range.Root["spec"u8]["limits"u8]);
        }
    }

    internal override void Validate(AdmissionContext context)
    {
        if (!Concerns(context))
            return;
        foreach (var stored in ranges.All(context.Namespace))
        {
            using var range = ranges.Decode(stored);
            var check = new LimitCheck();
            foreach (var limit in range.Root["spec"u8]["limits"u8].Elements)
            {
                if (context.Is("", "pods"))
                    CheckPod(check, limit, context.Object["spec"u8]);
                else if (limit["type"u8].Equals("PersistentVolumeClaim"u8))
                    CheckClaim(check, limit, context.Object["spec"u8]);
            }
            if (check.Errors.Count > 0)
                throw context.Forbid(check.Errors);
        }
    }

    // Pods when they are made and when they are resized, claims whenever; never what is being deleted.
    private bool Concerns(AdmissionContext context)
    {
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update) || ranges.Cache.Count == 0)
            return false;
        var isPod = context.Is("", "pods");
        if (!isPod && !context.Is("", "persistentvolumeclaims"))
            return false;
        if (context.Subresource.Length > 0 ? !isPod || context.Subresource != "resize" : isPod && !context.IsCreate)
            return false;
        return !context.OldObject.IsDefined || !ObjectText.IsDeleting(context.OldObject);
    }

    private static void SetDefaults(ApiNode pod, ApiNode limits)
    {
        var requests = new ResourceAmounts();
        var maxima = new ResourceAmounts();
        foreach (var limit in limits.Elements)
        {
            if (!limit["type"u8].Equals("Container"u8))
                continue;
            foreach (var (name, quantity) in ResourceAmounts.Read(limit["defaultRequest"u8]))
                requests[name] = quantity;
            foreach (var (name, quantity) in ResourceAmounts.Read(limit["default"u8]))
                maxima[name] = quantity;
        }
        var notes = new List<string>();
        foreach (var container in pod["spec"u8]["containers"u8].Elements)
            SetDefaults(container, "container", requests, maxima, notes);
        foreach (var container in pod["spec"u8]["initContainers"u8].Elements)
            SetDefaults(container, "init container", requests, maxima, notes);
        if (notes.Count > 0)
        {
            pod.GetOrAddObject("metadata"u8).GetOrAddObject("annotations"u8)
                .Set("kubernetes.io/limit-ranger"u8, $"LimitRanger plugin set: {string.Join("; ", notes)}");
        }
    }

    private static void SetDefaults(ApiNode container, string kind, ResourceAmounts requests, ResourceAmounts maxima, List<string> notes)
    {
        var name = container["name"u8].AsString();
        if (SetMissing(container, "requests"u8, requests) is { Count: > 0 } requested)
            notes.Add($"{string.Join(", ", requested)} request for {kind} {name}");
        if (SetMissing(container, "limits"u8, maxima) is { Count: > 0 } limited)
            notes.Add($"{string.Join(", ", limited)} limit for {kind} {name}");
    }

    private static List<string> SetMissing(ApiNode container, ReadOnlySpan<byte> list, ResourceAmounts defaults)
    {
        var set = new List<string>();
        foreach (var (name, quantity) in defaults)
        {
            var utf8 = Encoding.UTF8.GetBytes(name);
            if (container["resources"u8][list][utf8].IsDefined)
                continue;
            container.GetOrAddObject("resources"u8).GetOrAddObject(list).Set(utf8, quantity.ToString());
            set.Add(name);
        }
        return set;
    }

    private static void CheckPod(LimitCheck check, ApiNode limit, ApiNode spec)
    {
        if (limit["type"u8].Equals("Container"u8))
        {
            foreach (var container in spec["containers"u8].Elements)
                CheckContainer(check, limit, container["resources"u8]);
            foreach (var container in spec["initContainers"u8].Elements)
                CheckContainer(check, limit, container["resources"u8]);
        }
        else if (limit["type"u8].Equals("Pod"u8))
        {
            check.All("Pod", limit, PodDemand.OfSpec(spec, "requests"), PodDemand.OfSpec(spec, "limits"));
        }
    }

    private static void CheckContainer(LimitCheck check, ApiNode limit, ApiNode resources) =>
        check.All("Container", limit, ResourceAmounts.Read(resources["requests"u8]), ResourceAmounts.Read(resources["limits"u8]));

    private static void CheckClaim(LimitCheck check, ApiNode limit, ApiNode spec)
    {
        var requests = ResourceAmounts.Read(spec["resources"u8]["requests"u8]);
        foreach (var (name, bound) in ResourceAmounts.Read(limit["min"u8]))
            check.Min("PersistentVolumeClaim", name, bound, requests, []);
        foreach (var (name, bound) in ResourceAmounts.Read(limit["max"u8]))
            check.MaxRequest("PersistentVolumeClaim", name, bound, requests);
    }
}
