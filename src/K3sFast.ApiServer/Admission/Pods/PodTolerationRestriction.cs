using System.Text;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>PodTolerationRestriction: adds the tolerations that a namespace (or the cluster) gives to all its pods, and allows no others than its whitelist has.</summary>
internal sealed class PodTolerationRestriction : AdmissionPlugin
{
    private readonly ResourceStorage _namespaces;

    // Kept for the life of the server, like the plugin itself.
    private readonly ApiObject _configuration;

    internal PodTolerationRestriction(ApiNode configuration, ResourceStorage namespaces)
    {
        _namespaces = namespaces;
        if (configuration.IsDefined)
            AdmissionConfiguration.CheckKind(configuration, "PodTolerationRestriction", "Configuration", "podtolerationrestriction.admission.k8s.io/v1alpha1");
        _configuration = Parse(configuration.IsDefined ? configuration.ToString() : "{}");
    }

    internal override void Mutate(AdmissionContext context)
    {
        if (!context.IsPod)
            return;
        var spec = context.Object["spec"u8];
        using var memory = Parse("""{"key":"node.kubernetes.io/memory-pressure","operator":"Exists","effect":"NoSchedule"}""");
        using var annotated = context.IsCreate ? Annotated(context.Namespace, "scheduler.alpha.kubernetes.io/defaultTolerations") : null;
        var added = context.IsCreate ? Elements(annotated?.Root["list"u8] ?? _configuration.Root["default"u8]) : [];
        if (!IsBestEffort(spec))
            added.Add(memory.Root);
        if (added.Count > 0)
            PodTolerations.Merge(spec, added);
    }

    internal override void Validate(AdmissionContext context)
    {
        if (!context.IsPod || context.Object["spec"u8]["tolerations"u8].Count == 0)
            return;
        using var annotated = Annotated(context.Namespace, "scheduler.alpha.kubernetes.io/tolerationsWhitelist");
        var whitelist = Elements(annotated?.Root["list"u8] ?? _configuration.Root["whitelist"u8]);
        if (!PodTolerations.AreWithin(context.Object["spec"u8]["tolerations"u8], whitelist))
        {
            throw ApiStatus.Unknown(
                $"pod tolerations (possibly merged with namespace default tolerations) conflict with its {(annotated is null ? "cluster" : "namespace")} whitelist").ToException();
        }
    }

    private static bool IsBestEffort(ApiNode spec)
    {
        static bool Asks(ApiNode resources)
        {
            foreach (var list in (ReadOnlySpan<ApiNode>)[resources["requests"u8], resources["limits"u8]])
            {
                var amounts = ResourceAmounts.Read(list);
                if (amounts.GetValueOrDefault("cpu").Sign > 0 || amounts.GetValueOrDefault("memory").Sign > 0)
                    return true;
            }
            return false;
        }
        if (spec["resources"u8].Kind == NodeKind.Object)
            return !Asks(spec["resources"u8]);
        foreach (var container in spec["containers"u8].Elements)
        {
            if (Asks(container["resources"u8]))
                return false;
        }
        foreach (var container in spec["initContainers"u8].Elements)
        {
            if (Asks(container["resources"u8]))
                return false;
        }
        return true;
    }

    // {"list": [...]} of the annotation; null when the namespace has none.
    private ApiObject? Annotated(string ns, string annotation)
    {
        using var stored = _namespaces.Get("", ns) ?? throw ApiStatus.NotFound("", "namespaces", ns).ToException();
        using var document = _namespaces.Decode(stored);
        var value = document.Root["metadata"u8]["annotations"u8][Encoding.UTF8.GetBytes(annotation)];
        if (!value.IsDefined)
            return null;
        try
        {
            return Parse($$"""{"list":{{(value.Utf8.IsEmpty ? "[]" : value.AsString())}}}""");
        }
        catch (ApiStatusException unreadable)
        {
            throw ApiStatus.Unknown(unreadable.Status.Message).ToException();
        }
    }

    private static List<ApiNode> Elements(ApiNode list)
    {
        var elements = new List<ApiNode>();
        foreach (var element in list.Elements)
            elements.Add(element);
        return elements;
    }

    private static ApiObject Parse(string json) => JsonCodec.Decode(Encoding.UTF8.GetBytes(json), null, DecodeOptions.Free, null);
}
