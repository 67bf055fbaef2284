using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>SelfSubjectRulesReview: what may I do in this namespace? For listings and menus; authorization itself does not go by it.</summary>
internal static class RulesReviews
{
    internal static async ValueTask ReviewAsync(ApiCall call, ApiNode review, Authorizer authorizer, Func<ValueTask> admit)
    {
        var ns = review["spec"u8]["namespace"u8].AsString();
        if (ns.Length == 0)
            throw ApiStatus.BadRequest("no namespace on request").ToException();
        await admit().ConfigureAwait(false);
        var listing = authorizer.List(call.User, ns);
        // Nothing of the question comes back.
        review["metadata"u8].Clear();
        review.GetOrAddObject("spec"u8).Clear();
        var status = review.GetOrAddObject("status"u8);
        status.Clear();
        var resourceRules = status.GetOrAddArray("resourceRules"u8);
        var pathRules = status.GetOrAddArray("nonResourceRules"u8);
        foreach (var rule in listing.Rules)
        {
            if (rule.Resources.Length > 0)
            {
                var target = resourceRules.AppendObject();
                Strings(target, "verbs"u8, rule.Verbs);
                Strings(target, "apiGroups"u8, rule.ApiGroups);
                Strings(target, "resources"u8, rule.Resources);
                Strings(target, "resourceNames"u8, rule.ResourceNames);
            }
            if (rule.NonResourceUrls.Length > 0)
            {
                var target = pathRules.AppendObject();
                Strings(target, "verbs"u8, rule.Verbs);
                Strings(target, "nonResourceURLs"u8, rule.NonResourceUrls);
            }
        }
        status.Set("incomplete"u8, listing.IsIncomplete);
        if (listing.Errors.Count > 0)
            status.Set("evaluationError"u8, listing.Errors.Count == 1 ? listing.Errors[0] : $"[{string.Join(", ", listing.Errors.Distinct())}]");
    }

    private static void Strings(ApiNode target, ReadOnlySpan<byte> name, byte[][] values)
    {
        if (values.Length == 0)
            return;
        var array = target.GetOrAddArray(name);
        foreach (var value in values)
            array.AppendString(value);
    }
}
