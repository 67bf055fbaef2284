using System.Globalization;
using System.Text;

namespace K3sFast.ApiMachinery;

/// <summary>Validation of what bounds a namespace: limit ranges and resource quotas.</summary>
internal static class QuotaValidation
{
    private static readonly string[] s_scopes = ["BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating", "VolumeAttributesClass"];

    private static readonly TypeSchema s_selectorType = Schema.BuiltIn.FindType("io.k8s.api.core.v1.ScopeSelector")!;

    internal static void LimitRange(At at, ApiNode range)
    {
        var seen = new HashSet<string>();
        int i = 0;
        foreach (var limit in range["spec"u8]["limits"u8].Elements)
        {
            var place = at["spec"]["limits"][i++];
            string type = limit["type"u8].AsString();
            bool isKnown = type is "Pod" or "Container" or "PersistentVolumeClaim";
            if (!isKnown)
            {
                place["type"].Format(Format.LabelKey, type);
                if (Formats.Problems(Format.LabelKey, type).Count == 0 && !type.Contains('/'))
                    place["type"].Invalid(type, "must be a standard limit type or fully qualified");
            }
            if (!seen.Add(type))
                place["type"].Duplicate(limit["type"u8]);
            Limits(place, limit, isForContainers: type is "Pod" or "Container", type);
        }
    }

    internal static void LimitRangeUpdate(At at, ApiNode range, ApiNode old) => LimitRange(at, range);

    internal static void ResourceQuota(At at, ApiNode quota)
    {
        var spec = quota["spec"u8];
        Amounts(at["spec"]["hard"], spec["hard"u8]);
        Scopes(at["spec"], spec);
    }

    internal static void ResourceQuotaUpdate(At at, ApiNode quota, ApiNode old)
    {
        ResourceQuota(at, quota);
        if (!SetOf(quota["spec"u8]["scopes"u8]).SetEquals(SetOf(old["spec"u8]["scopes"u8])))
            at["spec"]["scopes"].Invalid(quota["spec"u8]["scopes"u8], "field is immutable");
    }

    internal static void ResourceQuotaStatus(At at, ApiNode quota, ApiNode old)
    {
        Amounts(at["status"]["hard"], quota["status"u8]["hard"u8]);
        Amounts(at["status"]["used"], quota["status"u8]["used"u8]);
    }

    private static HashSet<string> SetOf(ApiNode scopes)
    {
        var set = new HashSet<string>();
        foreach (var scope in scopes.Elements)
            set.Add(scope.AsString());
        return set;
    }

    private static void Limits(At at, ApiNode limit, bool isForContainers, string type)
    {
        var keys = new SortedSet<string>(StringComparer.Ordinal);
        Names(at["max"], limit["max"u8], isForContainers, keys);
        Names(at["min"], limit["min"u8], isForContainers, keys);
        ApiNode defaults = limit["default"u8], requests = limit["defaultRequest"u8];
        if (type == "Pod")
        {
            if (defaults.Count > 0)
                at["default"].Forbidden("may not be specified when `type` is 'Pod'");
            if (requests.Count > 0)
                at["defaultRequest"].Forbidden("may not be specified when `type` is 'Pod'");
            defaults = requests = default;
        }
        else
        {
            Names(at["default"], defaults, isForContainers, keys);
            Names(at["defaultRequest"], requests, isForContainers, keys);
        }
        if (type == "PersistentVolumeClaim" && !limit["min"u8]["storage"u8].IsDefined && !limit["max"u8]["storage"u8].IsDefined)
            at["limits"].Required("either minimum or maximum storage value is required, but neither was provided");
        Names(at["maxLimitRequestRatio"], limit["maxLimitRequestRatio"u8], isForContainers, keys);
        foreach (string key in keys)
            Compare(at, key, Amount(limit["min"u8], key), Amount(limit["max"u8], key), Amount(defaults, key), Amount(requests, key), Amount(limit["maxLimitRequestRatio"u8], key));
    }

    private static void Compare(At at, string key, Quantity? min, Quantity? max, Quantity? standard, Quantity? request, Quantity? ratio)
    {
        NotAbove(at["min"].Key(key), min, max, min, "min value {0} is greater than max value {1}");
        NotAbove(at["defaultRequest"].Key(key), min, request, request, "min value {0} is greater than default request value {1}");
        NotAbove(at["defaultRequest"].Key(key), request, max, request, "default request value {0} is greater than max value {1}");
        NotAbove(at["defaultRequest"].Key(key), request, standard, request, "default request value {0} is greater than default limit value {1}");
        NotAbove(at["default"].Key(key), min, standard, min, "min value {0} is greater than default value {1}");
        NotAbove(at["default"].Key(key), standard, max, max, "default value {0} is greater than max value {1}");
        if (ratio is { } most)
        {
            var place = at["maxLimitRequestRatio"].Key(key);
            Quantity.TryParse("1"u8, out var one);
            if (most.CompareTo(one) < 0)
                place.Invalid(most.ToString(), $"ratio {most} is less than 1");
            if (min is { } low && max is { } high && Ratio(high, low, most) is var bound && most.ToDouble() > bound)
                place.Invalid(most.ToString(), string.Create(CultureInfo.InvariantCulture, $"ratio {most} is greater than max/min = {bound:F6}"));
        }
        if (standard is { } wanted && request is { } asked && wanted.CompareTo(asked) != 0 && !ResourceValidation.MayOvercommit(Encoding.UTF8.GetBytes(key)))
            at["defaultRequest"].Key(key).Invalid(asked.ToString(), $"default value {wanted} must equal to defaultRequest value {asked} in {key}");
    }

    // Values that thousandths of do not fit a number of 64 bits are compared whole.
    private static double Ratio(Quantity high, Quantity low, Quantity ratio)
    {
        const long Most = long.MaxValue / 1000;
        bool fits = high.Value < Most && low.Value < Most && ratio.Value < Most;
        return fits ? (double)high.MilliValue / low.MilliValue : (double)high.Value / low.Value;
    }

    private static void NotAbove(At at, Quantity? low, Quantity? high, Quantity? shown, string words)
    {
        if (low is { } lower && high is { } upper && lower.CompareTo(upper) > 0)
            at.Invalid(shown.ToString()!, string.Format(CultureInfo.InvariantCulture, words, lower, upper));
    }

    private static Quantity? Amount(ApiNode amounts, string key) =>
        Quantity.TryParse(amounts[Encoding.UTF8.GetBytes(key)].Utf8, out var amount) && amounts[Encoding.UTF8.GetBytes(key)].IsDefined ? amount : null;

    private static void Names(At at, ApiNode amounts, bool isForContainers, SortedSet<string> keys)
    {
        foreach (var member in amounts.Members)
        {
            if (isForContainers)
                ResourceValidation.ContainerName(at.Key(member), member.Name);
            else
                ResourceValidation.Name(at.Key(member), member.Name);
            keys.Add(Encoding.UTF8.GetString(member.Name));
        }
    }

    private static void Amounts(At at, ApiNode amounts)
    {
        foreach (var member in amounts.Members)
        {
            var place = at.Key(member);
            ResourceValidation.QuotaName(place, member.Name);
            ResourceValidation.QuantityValue(place, member.Name, member.Value);
        }
    }

    private static void Scopes(At at, ApiNode spec)
    {
        var scopes = spec["scopes"u8];
        foreach (var scope in scopes.Elements)
        {
            if (Array.IndexOf(s_scopes, scope.AsString()) < 0)
                at["scopes"].Invalid(scopes, "unsupported scope");
            if (!CoversAll(scope.AsString(), spec["hard"u8]))
                at["scopes"].Invalid(scopes, "unsupported scope applied to resource");
        }
        bool has(string scope) => WebhookValidation.Contains(scopes, Encoding.ASCII.GetBytes(scope));
        if (has("BestEffort") && has("NotBestEffort") || has("Terminating") && has("NotTerminating"))
            at["scopes"].Invalid(scopes, "conflicting scopes");
        foreach (var requirement in spec["scopeSelector"u8]["matchExpressions"u8].Elements)
            Requirement(at["scopeSelector"]["matchExpressions"], requirement, spec);
    }

    // Whether a scope has a meaning for each of upstream's own resources that the quota bounds.
    private static bool CoversAll(string scope, ApiNode hard)
    {
        foreach (var member in hard.Members)
        {
            bool isPods = member.Name.SequenceEqual("pods"u8);
            bool covers = scope switch
            {
                "BestEffort" => isPods,
                "Terminating" or "NotTerminating" or "NotBestEffort" or "PriorityClass" or "CrossNamespacePodAffinity" => isPods || ResourceValidation.IsComputeQuota(member.Name),
                "VolumeAttributesClass" => member.Name.SequenceEqual("persistentvolumeclaims"u8) || member.Name.SequenceEqual("requests.storage"u8),
                _ => true,
            };
            if (!covers && ResourceValidation.IsStandardQuota(member.Name))
                return false;
        }
        return true;
    }

    private static void Requirement(At at, ApiNode requirement, ApiNode spec)
    {
        string scope = requirement["scopeName"u8].AsString(), op = requirement["operator"u8].AsString();
        var values = requirement["values"u8];
        if (Array.IndexOf(s_scopes, scope) < 0)
            at["scopeName"].Invalid(scope, "unsupported scope");
        if (!CoversAll(scope, spec["hard"u8]))
            at.InvalidValue(spec["scopeSelector"u8], s_selectorType, "unsupported scope applied to resource");
        if (scope is "BestEffort" or "NotBestEffort" or "Terminating" or "NotTerminating" or "CrossNamespacePodAffinity" && op != "Exists")
            at["operator"].Invalid(op, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        switch (op)
        {
            case "In" or "NotIn":
                if (values.Count == 0)
                    at["values"].Required("must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
                break;
            case "Exists" or "DoesNotExist":
                if (values.Count != 0)
                    at["values"].Invalid(values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
                break;
            default:
                at["operator"].Invalid(op, "not a valid selector operator");
                break;
        }
    }
}
