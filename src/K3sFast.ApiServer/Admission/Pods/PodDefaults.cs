using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>DefaultTolerationSeconds: pods leave a dead node after a while, five minutes unless told otherwise, if they do not say themselves.</summary>
internal sealed class DefaultTolerationSeconds(long notReadySeconds, long unreachableSeconds) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod)
            return;
        var spec = context.Object["spec"u8];
        var (isNotReady, isUnreachable) = (Tolerates(spec, "node.kubernetes.io/not-ready"u8), Tolerates(spec, "node.kubernetes.io/unreachable"u8));
        if (!isNotReady)
            Add(spec, "node.kubernetes.io/not-ready"u8, notReadySeconds);
        if (!isUnreachable)
            Add(spec, "node.kubernetes.io/unreachable"u8, unreachableSeconds);
    }

    private static bool Tolerates(ApiNode spec, ReadOnlySpan<byte> key)
    {
        foreach (var toleration in spec["tolerations"u8].Elements)
        {
            var isForKey = toleration["key"u8].Equals(key) || toleration["key"u8].Utf8.IsEmpty;
            var isForEffect = toleration["effect"u8].Equals("NoExecute"u8) || toleration["effect"u8].Utf8.IsEmpty;
            if (isForKey && isForEffect)
                return true;
        }
        return false;
    }

    private static void Add(ApiNode spec, ReadOnlySpan<byte> key, long seconds)
    {
        var added = spec.GetOrAddArray("tolerations"u8).AppendObject();
        added.Set("key"u8, key);
        added.Set("operator"u8, "Exists"u8);
        added.Set("effect"u8, "NoExecute"u8);
        added.Set("tolerationSeconds"u8, seconds);
    }
}

/// <summary>ExtendedResourceToleration: who asks for a device tolerates the taint of the nodes that have it.</summary>
internal sealed class ExtendedResourceToleration : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod)
            return;
        var spec = context.Object["spec"u8];
        var names = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var container in spec["containers"u8].Elements)
            AddExtended(container, names);
        foreach (var container in spec["initContainers"u8].Elements)
            AddExtended(container, names);
        foreach (var name in names)
            Tolerate(spec, name);
    }

    private static void AddExtended(ApiNode container, SortedSet<string> names)
    {
        foreach (var member in container["resources"u8]["requests"u8].Members)
        {
            var name = System.Text.Encoding.UTF8.GetString(member.Name);
            if (name.Contains('/', StringComparison.Ordinal) && !name.Contains("kubernetes.io/", StringComparison.Ordinal)
                && !name.StartsWith("requests.", StringComparison.Ordinal))
                names.Add(name);
        }
    }

    private static void Tolerate(ApiNode spec, string name)
    {
        var key = System.Text.Encoding.UTF8.GetBytes(name);
        foreach (var existing in spec["tolerations"u8].Elements)
        {
            // The same key and effect again is one toleration, now for every value.
            if (!existing["key"u8].Equals(key) || !existing["effect"u8].Equals("NoSchedule"u8) || !existing["operator"u8].Equals("Exists"u8))
                continue;
            return;
        }
        var added = spec.GetOrAddArray("tolerations"u8).AppendObject();
        added.Set("key"u8, key);
        added.Set("operator"u8, "Exists"u8);
        added.Set("effect"u8, "NoSchedule"u8);
    }
}

/// <summary>AlwaysPullImages: nobody uses an image of another tenant without the right to pull it.</summary>
internal sealed class AlwaysPullImages : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod || !context.IsCreate && !HasNewImage(context.Object["spec"u8], context.OldObject["spec"u8]))
            return;
        var spec = context.Object["spec"u8];
        foreach (var container in PodSecurityVerdict.ContainersOf(spec).ToList())
            container.Set("imagePullPolicy"u8, "Always"u8);
        foreach (var volume in spec["volumes"u8].Elements)
        {
            if (!volume["image"u8].IsNullOrUndefined)
                volume["image"u8].Set("pullPolicy"u8, "Always"u8);
        }
    }

    private static bool HasNewImage(ApiNode spec, ApiNode old)
    {
        var known = PodSecurityVerdict.ContainersOf(old).Select(static container => container["image"u8].AsString()).ToHashSet();
        return PodSecurityVerdict.ContainersOf(spec).Any(container => !known.Contains(container["image"u8].AsString()));
    }
}

/// <summary>LimitPodHardAntiAffinityTopology: required anti-affinity may keep pods from nodes only, not from zones.</summary>
internal sealed class AntiAffinityTopology : AdmissionPlugin
{
    internal override void Validate(AdmissionContext context)
    {
        if (!context.IsPod)
            return;
        foreach (var term in context.Object["spec"u8]["affinity"u8]["podAntiAffinity"u8]["requiredDuringSchedulingIgnoredDuringExecution"u8].Elements)
        {
            if (!term["topologyKey"u8].Equals("kubernetes.io/hostname"u8))
            {
                throw context.Forbid(
                    $"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {term["topologyKey"u8].AsString()} but only key kubernetes.io/hostname is allowed");
            }
        }
    }
}

/// <summary>PodTopologyLabels: a bound pod carries the zone and region of its node.</summary>
internal sealed class PodTopologyLabels(ResourceStorage nodes) : AdmissionPlugin
{
    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsCreate || !context.Is("", "pods"))
            return;
        var node = context.Subresource switch
        {
            "" => context.Object["spec"u8]["nodeName"u8],
            // The labels of a binding become the pod's.
            "binding" when context.Object["target"u8]["kind"u8].Equals("Node"u8) => context.Object["target"u8]["name"u8],
            _ => default,
        };
        if (node.Utf8.IsEmpty)
            return;
        using var stored = nodes.Get(default, node.Utf8);
        if (stored is null || !stored.Json.MayContain("\"topology.kubernetes.io/"u8))
            return;
        using var document = nodes.Decode(stored);
        Copy(document.Root, context.Object, "topology.kubernetes.io/zone"u8);
        Copy(document.Root, context.Object, "topology.kubernetes.io/region"u8);
    }

    private static void Copy(ApiNode node, ApiNode pod, ReadOnlySpan<byte> label)
    {
        if (node["metadata"u8]["labels"u8][label] is { IsNullOrUndefined: false } value)
            pod.GetOrAddObject("metadata"u8).GetOrAddObject("labels"u8).Set(label, value.Utf8);
    }
}
