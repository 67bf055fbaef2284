using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Holds one write against the quotas of its namespace, in upstream's order and words.</summary>
internal sealed class QuotaCheck(IReadOnlyList<LimitedResource> limited, TimeProvider clock)
{
    /// <summary>What each quota is to be charged for the write; empty when it uses nothing of any.</summary>
    /// <exception cref="ApiStatusException">403: a quota is exceeded, cannot be judged, or is missing.</exception>
    internal List<(QuotaState Quota, ResourceAmounts Amounts)> Charges(AdmissionContext context, QuotaEvaluator evaluator, IReadOnlyList<QuotaState> quotas)
    {
        var now = clock.GetUtcNow();
        var obj = context.Object;
        var usage = evaluator.Usage(obj, now);
        var coveredScopes = new HashSet<string>();
        var coveredNames = new HashSet<string>();
        var interesting = FindInteresting(context, evaluator, quotas, coveredScopes, coveredNames);

        var isUpdate = context.Operation == AdmissionOperation.Update;
        var grown = isUpdate ? usage.Less(evaluator.Usage(context.OldObject, now)) : usage;
        var deltas = new List<(QuotaState Quota, ResourceAmounts Amounts)>();
        foreach (var quota in interesting)
        {
            // An object that comes under a quota by this update counts as a whole.
            var wasCounted = isUpdate && evaluator.Matches(quota.Hard.Keys, quota.Scopes, context.OldObject);
            var delta = (wasCounted ? grown : usage).WithoutZeros();
            if (delta.Count > 0)
                deltas.Add((quota, delta));
        }
        if (interesting.Count > 0 ? deltas.Count == 0 : grown.WithoutZeros().Count == 0)
            return [];
        DemandCover(context, evaluator, usage, coveredScopes, coveredNames);

        var charges = new List<(QuotaState Quota, ResourceAmounts Amounts)>();
        foreach (var (quota, delta) in deltas)
        {
            var requested = delta.Only(quota.Hard.Keys);
            if (context.Subresource != "status")
                CheckExceeded(context, quota, requested);
            charges.Add((quota, requested));
        }
        return charges;
    }

    private static List<QuotaState> FindInteresting(
        AdmissionContext context, QuotaEvaluator evaluator, IReadOnlyList<QuotaState> quotas, HashSet<string> coveredScopes, HashSet<string> coveredNames)
    {
        var interesting = new List<QuotaState>();
        foreach (var quota in quotas)
        {
            foreach (var scope in quota.Scopes)
            {
                if (evaluator.IsInScope(scope, context.Object))
                    coveredScopes.Add(scope.Name);
            }
            if (!evaluator.Matches(quota.Hard.Keys, quota.Scopes, context.Object))
                continue;
            var restricted = quota.Hard.Keys.Where(evaluator.Uses).ToList();
            if (evaluator.Missing(restricted, context.Object) is { } missing)
                throw context.Forbid($"failed quota: {quota.Name}: {missing}");
            if (!restricted.All(quota.Used.ContainsKey))
                throw context.Forbid($"status unknown for quota: {quota.Name}, resources: {string.Join(',', restricted)}");
            interesting.Add(quota);
            coveredNames.UnionWith(restricted);
        }
        return interesting;
    }

    // What the configuration limits everywhere needs a quota that says how much.
    private void DemandCover(
        AdmissionContext context, QuotaEvaluator evaluator, ResourceAmounts usage, HashSet<string> coveredScopes, HashSet<string> coveredNames)
    {
        if (limited.Count == 0)
            return;
        var names = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var rule in limited)
        {
            if (rule.Resource != context.Resource.Resource || rule.Group != context.Resource.Group)
                continue;
            foreach (var (name, amount) in usage)
            {
                if (amount.Sign > 0 && !coveredNames.Contains(name) && rule.MatchContains.Any(text => name.Contains(text, StringComparison.Ordinal)))
                    names.Add(name);
            }
        }
        if (names.Count > 0)
            throw context.Forbid($"insufficient quota to consume: {string.Join(',', names)}");
        var scopes = limited.SelectMany(static rule => rule.MatchScopes)
            .Where(scope => evaluator.KnowsScopes && evaluator.IsInScope(scope, context.Object) && !coveredScopes.Contains(scope.Name)).ToList();
        if (scopes.Count > 0)
            throw ApiStatus.Unknown($"insufficient quota to match these scopes: [{string.Join(' ', scopes)}]").ToException();
    }

    private static void CheckExceeded(AdmissionContext context, QuotaState quota, ResourceAmounts requested)
    {
        var used = quota.Used.Copy();
        used.Add(requested);
        var exceeded = requested.Keys.Where(name => used[name] > quota.Hard[name]).ToHashSet();
        if (exceeded.Count > 0)
        {
            throw context.Forbid(
                $"exceeded quota: {quota.Name}, requested: {requested.Only(exceeded)}, used: {quota.Used.Only(exceeded)}, limited: {quota.Hard.Only(exceeded)}");
        }
    }
}
