using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>pods/eviction: a delete that disruption budgets may refuse.</summary>
internal sealed class PodEviction(ResourceStorage budgets, WriteFlow writes, TimeProvider clock, int maxBodyBytes)
{
    // Upstream's answer while a budget's controller has not caught up.
    private const int RetrySeconds = 10;

    internal async ValueTask EvictAsync(ApiCall call, ResourceEndpoint pods, DeleteFlow deletes)
    {
        var type = Schema.BuiltIn.FindType("policy", "v1", "Eviction") ?? throw new InvalidOperationException("the schema has no Eviction");
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        using var eviction = BodyDecoder.Decode(call, body.Span, type, BodyDecoder.ValidationOf(call, "CreateOptions"));
        var name = call.Info.NameText;
        if (ObjectText.NameOf(eviction.Root) is { Length: > 0 } given && given != name)
            throw ApiStatus.BadRequest("name in URL does not match name in Eviction object").ToException();
        var wanted = eviction.Root["deleteOptions"u8];
        var isDryRun = BodyDecoder.IsDryRun(call, "CreateOptions");
        foreach (var element in wanted["dryRun"u8].Elements)
            isDryRun |= element.Equals("All"u8);
        var context = ResourceWriter.ContextOf(call, name, isDryRun);
        var options = new DeleteOptions
        {
            GracePeriodSeconds = wanted["gracePeriodSeconds"u8].TryGetInt64(out var grace) ? grace : null,
            Uid = wanted["preconditions"u8]["uid"u8] is { Utf8.IsEmpty: false } uid ? uid.AsString() : null,
            ResourceVersion = wanted["preconditions"u8]["resourceVersion"u8] is { Utf8.IsEmpty: false } version ? version.AsString() : null,
            IsDryRun = isDryRun,
        };
        await AskBudgetsAsync(pods.Storage!, context).ConfigureAwait(false);
        using var answer = await deletes.DeleteAsync(pods.Storage!, context, options).ConfigureAwait(false);
        await ResponseWriter.WriteStatusAsync(call, ApiStatus.Success(201)).ConfigureAwait(false);
    }

    private async ValueTask AskBudgetsAsync(ResourceStorage pods, WriteContext context)
    {
        string? budget = null;
        using (var stored = pods.Get(context.Namespace, context.Name) ?? throw ApiStatus.NotFound("", "pods", context.Name).ToException())
        {
            using var pod = pods.Decode(stored);
            // Pods that no longer run, or never did, disrupt nothing.
            if (pod.Root["status"u8]["phase"u8].AsString() is "Succeeded" or "Failed" or "Pending" || ObjectText.IsDeleting(pod.Root))
                return;
            foreach (var candidate in budgets.All(context.Namespace))
            {
                using var document = budgets.Decode(candidate);
                var selector = document.Root["spec"u8]["selector"u8];
                if (selector.IsNullOrUndefined || !LabelMatching.Matches(selector, pod.Root["metadata"u8]["labels"u8]))
                    continue;
                if (budget is not null)
                    throw ApiStatus.InternalError("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.").ToException();
                budget = candidate.Name();
            }
        }
        if (budget is null)
            return;
        using var answer = await writes.UpdateAsync(budgets, "status", context with { Name = budget }, old =>
        {
            var status = old.Root["status"u8];
            if (status["observedGeneration"u8].AsInt64() < old.Root["metadata"u8]["generation"u8].AsInt64())
            {
                throw ApiStatus.TooManyRequests(
                    "Cannot evict pod as it would violate the pod's disruption budget.", RetrySeconds).ToException();
            }
            if (status["disruptionsAllowed"u8].AsInt64() <= 0)
            {
                throw new ApiStatus
                {
                    Code = 429,
                    Reason = "TooManyRequests",
                    HasDetails = true,
                    Causes = [new StatusCause("DisruptionBudget", string.Create(CultureInfo.InvariantCulture,
                        $"The disruption budget {budget} needs {status["desiredHealthy"u8].AsInt64()} healthy pods and has {status["currentHealthy"u8].AsInt64()} currently"))],
                    Message = "Cannot evict pod as it would violate the pod's disruption budget.",
                }.ToException();
            }
            var changed = old.Clone();
            var changedStatus = changed.Root["status"u8];
            changedStatus.Set("disruptionsAllowed"u8, status["disruptionsAllowed"u8].AsInt64() - 1);
            changedStatus.GetOrAddObject("disruptedPods"u8).Set(System.Text.Encoding.UTF8.GetBytes(context.Name), ObjectText.Time(clock.GetUtcNow()));
            return changed;
        }).ConfigureAwait(false);
    }
}
