using K3sFast.ApiMachinery;
using K3sFast.Client;

namespace K3sFast.Controllers;

/// <summary>A resource that a quota counts, and how.</summary>
internal sealed record CountedResource(DiscoveredResource Resource, QuotaEvaluator Evaluator);

/// <summary>What the objects of a namespace use, by the same rules by which admission charges.</summary>
internal sealed class QuotaUsage(ApiClient client, DiscoveryCache discovery, TimeProvider time)
{
    /// <summary>The resources behind a quota's names. Names that nothing served uses have none.</summary>
    internal async ValueTask<List<CountedResource>> ResourcesOfAsync(IReadOnlyCollection<string> names, CancellationToken cancellationToken)
    {
        var found = new List<CountedResource>();
        var discovered = await discovery.GetAsync(client, cancellationToken).ConfigureAwait(false);
        foreach (var resource in discovered.Resources)
        {
            if (!resource.IsNamespaced || !resource.Verbs.IsSupersetOf(["create", "list", "watch", "delete"]) || QuotaEvaluator.IsIgnored(resource.Group, resource.Plural))
                continue;
            var evaluator = QuotaEvaluator.For(resource.Group, resource.Plural);
            if (names.Any(evaluator.Uses)) found.Add(new CountedResource(resource, evaluator));
        }
        return found;
    }

    /// <summary>The usage of those names in a namespace, by objects within the scopes. Names of resources that no longer answer are left out.</summary>
    internal async Task<ResourceAmounts> CountAsync(
        string ns, IReadOnlyCollection<string> names, List<CountedResource> counted, List<QuotaScope> scopes, CancellationToken cancellationToken)
    {
        var used = new ResourceAmounts();
        foreach (var (resource, evaluator) in counted)
        {
            var own = new ResourceAmounts();
            foreach (var name in names)
            {
                if (evaluator.Uses(name)) own[name] = default;
            }
            var isCount = !evaluator.KnowsScopes && evaluator.Uses(QuotaEvaluator.CountName(resource.Group, resource.Plural)) && own.Keys.All(IsCountOf(resource));
            var isThere = isCount && scopes.Count == 0
                ? await CountObjectsAsync(ns, resource, own, cancellationToken).ConfigureAwait(false)
                : await AddUpAsync(ns, resource, evaluator, own, scopes, cancellationToken).ConfigureAwait(false);
            if (isThere) used.Add(own.Only(names));
        }
        return used;
    }

    private static Func<string, bool> IsCountOf(DiscoveredResource resource) =>
        name => name == QuotaEvaluator.CountName(resource.Group, resource.Plural) || name == resource.Plural;

    // The number alone needs no objects: the first one and how many follow.
    private async Task<bool> CountObjectsAsync(string ns, DiscoveredResource resource, ResourceAmounts own, CancellationToken cancellationToken)
    {
        using var list = await ListAsync(resource.Path(ns) + "?limit=1", cancellationToken).ConfigureAwait(false);
        if (list is null) return false;
        var count = Quantity.FromInt64(list.Root["items"u8].Count + list.Root["metadata"u8]["remainingItemCount"u8].AsInt64());
        foreach (var name in own.Keys.ToList()) own[name] = count;
        return true;
    }

    private async Task<bool> AddUpAsync(
        string ns, DiscoveredResource resource, QuotaEvaluator evaluator, ResourceAmounts own, List<QuotaScope> scopes, CancellationToken cancellationToken)
    {
        using var list = await ListAsync(resource.Path(ns), cancellationToken).ConfigureAwait(false);
        if (list is null) return false;
        var now = time.GetUtcNow();
        foreach (var item in list.Root["items"u8].Elements)
        {
            if (scopes.All(scope => evaluator.IsInScope(scope, item))) own.Add(evaluator.Usage(item, now));
        }
        return true;
    }

    private async Task<ApiObject?> ListAsync(string path, CancellationToken cancellationToken)
    {
        var answer = await client.Transport.SendAsync(new ApiRequest("GET", path), cancellationToken).ConfigureAwait(false);
        if (answer.StatusCode is 404 or 405) return null;
        if (!answer.IsSuccess) throw ApiException.From(answer);
        return JsonCodec.Decode(answer.Body.Span, null, DecodeOptions.Free, null);
    }
}
