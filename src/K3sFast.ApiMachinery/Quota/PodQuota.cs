namespace K3sFast.ApiMachinery;

/// <summary>Pods: their number, and what they request and may use at most.</summary>
internal sealed class PodQuota : QuotaEvaluator
{
    private const string RequestsPrefix = "requests.";
    private const string HugePagesPrefix = "hugepages-";
    private const string DeviceClassPrefix = "deviceclass.resource.kubernetes.io/";

    private static readonly HashSet<string> s_names =
    [
        "count/pods", "pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu",
        "limits.memory", "limits.ephemeral-storage",
    ];

    // What every container must say when a quota limits it.
    private static readonly HashSet<string> s_demanded = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

    internal static PodQuota Instance { get; } = new();

    public override string Group => "";

    public override string Resource => "pods";

    public override bool KnowsScopes => true;

    public override bool Handles(bool isCreate, string subresource, ApiNode obj, ApiNode old) => subresource switch
    {
        // Of a pod's updates only one that moves it between scopes matters.
        "" => isCreate || IsTerminating(obj["spec"u8]) != IsTerminating(old["spec"u8]),
        "resize" => !isCreate,
        _ => false,
    };

    public override bool Uses(string resourceName) =>
        s_names.Contains(resourceName) || resourceName.StartsWith(HugePagesPrefix, StringComparison.Ordinal)
        || resourceName.StartsWith(RequestsPrefix + HugePagesPrefix, StringComparison.Ordinal) || IsExtendedRequest(resourceName);

    public override ResourceAmounts Usage(ApiNode obj, DateTimeOffset now)
    {
        var usage = One("count/pods");
        if (HasEnded(obj, now))
            return usage;
        usage.Add(Charge(PodDemand.Requests(obj), PodDemand.Limits(obj)));
        return usage;
    }

    public override bool IsInScope(QuotaScope scope, ApiNode obj)
    {
        var spec = obj["spec"u8];
        return scope.Name switch
        {
            "Terminating" => IsTerminating(spec),
            "NotTerminating" => !IsTerminating(spec),
            "BestEffort" => IsBestEffort(spec),
            "NotBestEffort" => !IsBestEffort(spec),
            "PriorityClass" => scope.Admits(spec["priorityClassName"u8].AsString()),
            "CrossNamespacePodAffinity" => LooksAcrossNamespaces(spec["affinity"u8]),
            _ => false,
        };
    }

    public override string? Missing(IReadOnlyCollection<string> restricted, ApiNode obj)
    {
        var spec = obj["spec"u8];
        if (PodDemand.HasPodLevel(spec["resources"u8]))
            return null;
        var missing = new SortedDictionary<string, SortedSet<string>>(StringComparer.Ordinal);
        void Check(ApiNode containers)
        {
            foreach (var container in containers.Elements)
            {
                var resources = container["resources"u8];
                var charged = Charge(ResourceAmounts.Read(resources["requests"u8]), ResourceAmounts.Read(resources["limits"u8]));
                foreach (var name in restricted)
                {
                    if (!s_demanded.Contains(name) || charged.ContainsKey(name))
                        continue;
                    if (!missing.TryGetValue(name, out var names))
                        missing[name] = names = new SortedSet<string>(StringComparer.Ordinal);
                    names.Add(container["name"u8].AsString());
                }
            }
        }
        Check(spec["containers"u8]);
        Check(spec["initContainers"u8]);
        return missing.Count == 0
            ? null
            : $"must specify {string.Join("; ", missing.Select(static pair => $"{pair.Key} for: {string.Join(',', pair.Value)}"))}";
    }

    private static ResourceAmounts Charge(ResourceAmounts requests, ResourceAmounts limits)
    {
        var charged = One("pods");
        foreach (var (name, request) in requests)
        {
            var isNative = name is "cpu" or "memory" or "ephemeral-storage" || name.StartsWith(HugePagesPrefix, StringComparison.Ordinal);
            if (isNative)
                charged[name] = request;
            if (isNative || IsExtended(name))
                charged[RequestsPrefix + name] = request;
        }
        foreach (var (name, limit) in limits)
        {
            if (name is "cpu" or "memory" or "ephemeral-storage")
                charged["limits." + name] = limit;
        }
        return charged;
    }

    private static bool IsExtended(string name) =>
        !IsNative(name) && !name.StartsWith(RequestsPrefix, StringComparison.Ordinal) || name.StartsWith(DeviceClassPrefix, StringComparison.Ordinal);

    private static bool IsExtendedRequest(string name) =>
        name.StartsWith(RequestsPrefix, StringComparison.Ordinal)
        && (!IsNative(name) || name.StartsWith(RequestsPrefix + DeviceClassPrefix, StringComparison.Ordinal));

    private static bool IsNative(string name) =>
        !name.Contains('/', StringComparison.Ordinal) || name.Contains("kubernetes.io/", StringComparison.Ordinal);

    private static bool IsTerminating(ApiNode spec) => spec["activeDeadlineSeconds"u8].TryGetInt64(out var seconds) && seconds >= 0;

    private static bool IsBestEffort(ApiNode spec) => PodQuality.ClassOf(spec).SequenceEqual("BestEffort"u8);

    // A pod that ran out, or whose grace period is long over, uses nothing any more.
    private static bool HasEnded(ApiNode pod, DateTimeOffset now)
    {
        var phase = pod["status"u8]["phase"u8];
        if (phase.Equals("Failed"u8) || phase.Equals("Succeeded"u8))
            return true;
        var metadata = pod["metadata"u8];
        return metadata["deletionGracePeriodSeconds"u8].TryGetInt64(out var grace)
            && DateTimeOffset.TryParse(metadata["deletionTimestamp"u8].AsString(), System.Globalization.CultureInfo.InvariantCulture, out var deletion)
            && now > deletion + TimeSpan.FromSeconds(grace);
    }

    private static bool LooksAcrossNamespaces(ApiNode affinity)
    {
        static bool Terms(ApiNode affinity)
        {
            foreach (var term in affinity["requiredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            {
                if (Crosses(term))
                    return true;
            }
            foreach (var term in affinity["preferredDuringSchedulingIgnoredDuringExecution"u8].Elements)
            {
                if (Crosses(term["podAffinityTerm"u8]))
                    return true;
            }
            return false;
        }
        static bool Crosses(ApiNode term) => term["namespaces"u8].Count > 0 || !term["namespaceSelector"u8].IsNullOrUndefined;
        return Terms(affinity["podAffinity"u8]) || Terms(affinity["podAntiAffinity"u8]);
    }
}
