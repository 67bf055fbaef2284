namespace K3sFast.ApiMachinery;

/// <summary>
/// What objects of one resource use of a ResourceQuota. Admission asks it what a write adds, the quota controller what all objects use; both so agree.
/// </summary>
/// <remarks>Immutable; any thread.</remarks>
public abstract class QuotaEvaluator
{
    /// <summary>The API group.</summary>
    public abstract string Group { get; }

    /// <summary>The plural name.</summary>
    public abstract string Resource { get; }

    /// <summary>The evaluator of a resource: counting it, unless it has one of its own.</summary>
    public static QuotaEvaluator For(string group, string resource) => (group, resource) switch
    {
        ("", "pods") => PodQuota.Instance,
        ("", "services") => ServiceQuota.Instance,
        ("", "persistentvolumeclaims") => VolumeClaimQuota.Instance,
        ("resource.k8s.io", "resourceclaims") => DeviceClaimQuota.Instance,
        _ => new ObjectCountQuota(group, resource),
    };

    /// <summary>Resources that no quota counts: reviews, bindings and events.</summary>
    public static bool IsIgnored(string group, string resource) => (group, resource) switch
    {
        ("", "bindings" or "componentstatuses" or "events") => true,
        ("events.k8s.io", "events") => true,
        ("authentication.k8s.io", "tokenreviews" or "selfsubjectreviews") => true,
        ("authorization.k8s.io", "subjectaccessreviews" or "selfsubjectaccessreviews" or "localsubjectaccessreviews" or "selfsubjectrulesreviews") => true,
        _ => false,
    };

    /// <summary>count/pods, count/deployments.apps.</summary>
    public static string CountName(string group, string resource) => group.Length == 0 ? $"count/{resource}" : $"count/{resource}.{group}";

    /// <summary>Whether this change of an object can raise usage. <paramref name="old"/> is undefined on create.</summary>
    public abstract bool Handles(bool isCreate, string subresource, ApiNode obj, ApiNode old);

    /// <summary>Whether a quota's resource name is one that this resource uses.</summary>
    public abstract bool Uses(string resourceName);

    /// <summary>What the object uses, by all names that a quota may have for it.</summary>
    public abstract ResourceAmounts Usage(ApiNode obj, DateTimeOffset now);

    /// <summary>Whether an object falls under one term of a quota's scopes.</summary>
    public virtual bool IsInScope(QuotaScope scope, ApiNode obj) => false;

    /// <summary>True when scopes mean something for this resource.</summary>
    public virtual bool KnowsScopes => false;

    /// <summary>What an object must specify so that the quota can be held; null when it does.</summary>
    public virtual string? Missing(IReadOnlyCollection<string> restricted, ApiNode obj) => null;

    /// <summary>Whether the object counts for a quota of these names and scopes.</summary>
    public bool Matches(IEnumerable<string> names, IReadOnlyList<QuotaScope> scopes, ApiNode obj)
    {
        if (!names.Any(Uses))
            return false;
        foreach (var scope in scopes)
        {
            if (!IsInScope(scope, obj))
                return false;
        }
        return true;
    }

    private protected static ResourceAmounts One(params ReadOnlySpan<string> names)
    {
        var amounts = new ResourceAmounts();
        foreach (var name in names)
            amounts[name] = Quantity.FromInt64(1);
        return amounts;
    }
}

/// <summary>Counts objects: count/(resource).(group), and the short name that a few core kinds have had from the beginning.</summary>
internal sealed class ObjectCountQuota(string group, string resource) : QuotaEvaluator
{
    private readonly string _count = CountName(group, resource);

    private readonly string? _alias = group.Length == 0 && resource is ("configmaps" or "resourcequotas" or "replicationcontrollers" or "secrets") ? resource : null;

    public override string Group => group;

    public override string Resource => resource;

    public override bool Handles(bool isCreate, string subresource, ApiNode obj, ApiNode old) => isCreate && subresource.Length == 0;

    public override bool Uses(string resourceName) => resourceName == _count || resourceName == _alias;

    public override ResourceAmounts Usage(ApiNode obj, DateTimeOffset now) => _alias is null ? One(_count) : One(_count, _alias);
}
