using System.Globalization;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>pods/eviction: a delete that disruption budgets may refuse.</summary>
internal sealed class PodEviction(ResourceStorage budgets, WriteFlow writes, TimeProvider clock, int maxBodyBytes)
{
    // Upstream's answer while a budget's controller has not caught up.
    private const int RetrySeconds = 10;

    // Upstream's bounds: how often a pod that changes meanwhile is looked at again, and how many evictions may wait for their pods to go.
    private const int MaxTries = 20;
    private const int MaxDisruptedPods = 2000;

    internal async ValueTask EvictAsync(ApiCall call, ResourceEndpoint pods, DeleteFlow deletes)
    {
        var type = Schema.BuiltIn.FindType("policy", "v1", "Eviction") ?? throw new InvalidOperationException("the schema has no Eviction");
        using var body = await call.ReadBodyAsync(maxBodyBytes).ConfigureAwait(false);
        // Clients of the version before are heard as well.
        using var eviction = BodyDecoder.Decode(call, body.Span, type, BodyDecoder.ValidationOf(call, "CreateOptions"), "policy/v1beta1");
        call.Audit?.SetRequestObject(eviction.Root);
        WriteFlow.CheckNamespace(pods.Info, eviction.Root.GetOrAddObject("metadata"u8), call.Info.NamespaceText);
        var name = call.Info.NameText;
        var isDryRun = BodyDecoder.IsDryRun(call, "CreateOptions");
        var admitted = AdmissionContext.OfCreate(call, pods.Info, "eviction", name, type, eviction.Root, isDryRun);
        await writes.MutateAsync(admitted, call.Aborted).ConfigureAwait(false);
        if (ObjectText.NameOf(eviction.Root) != name)
            throw ApiStatus.BadRequest("name in URL does not match name in Eviction object").ToException();
        var wanted = eviction.Root["deleteOptions"u8];
        foreach (var element in wanted["dryRun"u8].Elements)
            isDryRun |= element.Equals("All"u8);
        var orphans = wanted["orphanDependents"u8];
        DeleteOptions.Check(wanted["propagationPolicy"u8].AsString(), orphans.IsNullOrUndefined ? null : orphans.AsBool(), DeleteOptions.Words(wanted["dryRun"u8]));
        await writes.ValidateAsync(admitted, call.Aborted).ConfigureAwait(false);
        // The eviction was admitted; the delete that it is in the end is not asked for again.
        var context = ResourceWriter.ContextOf(call, name, isDryRun) with { IsAdmitted = true };
        var options = new DeleteOptions
        {
            GracePeriodSeconds = wanted["gracePeriodSeconds"u8].TryGetInt64(out var grace) ? grace : null,
            Uid = wanted["preconditions"u8]["uid"u8] is { Utf8.IsEmpty: false } uid ? uid.AsString() : null,
            ResourceVersion = wanted["preconditions"u8]["resourceVersion"u8] is { Utf8.IsEmpty: false } version ? version.AsString() : null,
            IsDryRun = isDryRun,
        };
        if (!await TryEvictAtOnceAsync(pods.Storage!, context, options, deletes).ConfigureAwait(false))
        {
            var budget = FindBudget(pods.Storage!, context, out var isReady, out var revision);
            if (budget is not null && !isReady && AllowsUnhealthy(context.Namespace, budget))
                await EvictUnhealthyAsync(pods.Storage!, context, options, budget, revision, deletes).ConfigureAwait(false);
            else
                await EvictWithinAsync(pods.Storage!, context, options, budget, deletes).ConfigureAwait(false);
        }
        await ResponseWriter.WriteStatusAsync(call, ApiStatus.Success(201)).ConfigureAwait(false);
    }

    // Pods that no longer run, or never did, disrupt nothing. Others change while they are looked at, and are looked at again.
    private async ValueTask<bool> TryEvictAtOnceAsync(ResourceStorage pods, WriteContext context, DeleteOptions options, DeleteFlow deletes)
    {
        for (var tries = 1; ; tries++)
        {
            using var stored = pods.Get(context.Namespace, context.Name) ?? throw ApiStatus.NotFound("", "pods", context.Name).ToException();
            using var pod = pods.Decode(stored);
            var phase = pod.Root["status"u8]["phase"u8].AsString();
            var isDeleting = ObjectText.IsDeleting(pod.Root);
            if (phase is not ("Succeeded" or "Failed" or "Pending") && !isDeleting)
                return false;
            // A pending pod must still be pending when it goes.
            var isGuarded = phase == "Pending" && !isDeleting && options.ResourceVersion is null;
            try
            {
                await EvictNowAsync(pods, context, isGuarded ? options with { ResourceVersion = Text(stored.Revision) } : options, deletes).ConfigureAwait(false);
                return true;
            }
            catch (ApiStatusException conflict) when (conflict.Status.Reason == "Conflict" && options.ResourceVersion is null && tries < MaxTries)
            {
                // It has started meanwhile, perhaps.
            }
        }
    }

    private string? FindBudget(ResourceStorage pods, WriteContext context, out bool isReady, out long revision)
    {
        using var stored = pods.Get(context.Namespace, context.Name) ?? throw ApiStatus.NotFound("", "pods", context.Name).ToException();
        using var pod = pods.Decode(stored);
        revision = stored.Revision;
        isReady = false;
        foreach (var condition in pod.Root["status"u8]["conditions"u8].Elements)
            isReady |= condition["type"u8].Equals("Ready"u8) && condition["status"u8].Equals("True"u8);
        string? budget = null;
        foreach (var candidate in budgets.All(context.Namespace))
        {
            using var document = budgets.Decode(candidate);
            var selector = document.Root["spec"u8]["selector"u8];
            if (selector.IsNullOrUndefined || !LabelMatching.Matches(selector, pod.Root["metadata"u8]["labels"u8]))
                continue;
            if (budget is not null)
                throw ApiStatus.Unknown("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.").ToException();
            budget = candidate.Name();
        }
        return budget;
    }

    // A pod that is not ready keeps nobody's budget up: it may go when the budget says so, or has enough without it.
    private bool AllowsUnhealthy(string ns, string budget)
    {
        using var stored = budgets.Get(ns, budget);
        if (stored is null)
            return true;
        using var document = budgets.Decode(stored);
        if (document.Root["spec"u8]["unhealthyPodEvictionPolicy"u8].Equals("AlwaysAllow"u8))
            return true;
        var status = document.Root["status"u8];
        long desired = status["desiredHealthy"u8].AsInt64(), current = status["currentHealthy"u8].AsInt64();
        return desired > 0 && current >= desired;
    }

    private async ValueTask EvictUnhealthyAsync(
        ResourceStorage pods, WriteContext context, DeleteOptions options, string budget, long revision, DeleteFlow deletes)
    {
        try
        {
            await EvictNowAsync(pods, context, options with { ResourceVersion = Text(revision) }, deletes).ConfigureAwait(false);
        }
        catch (ApiStatusException conflict) when (conflict.Status.Reason == "Conflict" && options.ResourceVersion is null)
        {
            throw StillProcessed(budget);
        }
    }

    private async ValueTask EvictWithinAsync(ResourceStorage pods, WriteContext context, DeleteOptions options, string? budget, DeleteFlow deletes)
    {
        if (budget is not null)
        {
            using var answer = await writes.UpdateAsync(budgets, "status", AsServer(context, budget) with { IsAdmitted = false }, old => Decrement(old, budget, context.Name), isPatch: true).ConfigureAwait(false);
        }
        await EvictNowAsync(pods, context, options, deletes).ConfigureAwait(false);
    }

    private ApiObject Decrement(ApiObject old, string budget, string pod)
    {
        var status = old.Root["status"u8];
        var allowed = status["disruptionsAllowed"u8].AsInt64();
        if (status["observedGeneration"u8].AsInt64() < old.Root["metadata"u8]["generation"u8].AsInt64())
            throw StillProcessed(budget);
        if (allowed < 0)
            throw ApiStatus.Forbidden("policy", "poddisruptionbudget", budget, "pdb disruptions allowed is negative").ToException();
        if (status["disruptedPods"u8].Count > MaxDisruptedPods)
            throw ApiStatus.Forbidden("policy", "poddisruptionbudget", budget, "DisruptedPods map too big - too many evictions not confirmed by PDB controller").ToException();
        if (allowed == 0)
            throw Exhausted(status, budget);
        var changed = old.Clone();
        var changedStatus = changed.Root["status"u8];
        changedStatus.Set("disruptionsAllowed"u8, allowed - 1);
        changedStatus.GetOrAddObject("disruptedPods"u8).Set(Encoding.UTF8.GetBytes(pod), ObjectText.Time(clock.GetUtcNow()));
        foreach (var condition in changedStatus["conditions"u8].Elements)
        {
            if (allowed > 1 || !condition["type"u8].Equals("DisruptionAllowed"u8))
                continue;
            if (!condition["status"u8].Equals("False"u8))
                condition.Set("lastTransitionTime"u8, ObjectText.Time(clock.GetUtcNow()));
            condition.Set("status"u8, "False"u8);
            condition.Set("reason"u8, "InsufficientPods"u8);
        }
        return changed;
    }

    // The pod is told why it goes before it does.
    private async ValueTask EvictNowAsync(ResourceStorage pods, WriteContext context, DeleteOptions options, DeleteFlow deletes)
    {
        if (!context.IsDryRun)
        {
            using var told = await writes.UpdateAsync(pods, "status", AsServer(context, context.Name), old =>
            {
                DeleteFlow.CheckPreconditions(pods.Info, old.Root, old.Root["metadata"u8]["resourceVersion"u8].AsString(), context.Name, options);
                var changed = old.Clone();
                SetDisrupted(changed.Root.GetOrAddObject("status"u8).GetOrAddArray("conditions"u8));
                return changed;
            }, isPatch: true).ConfigureAwait(false);
            if (options.ResourceVersion is not null)
                options = options with { ResourceVersion = VersionOf(told.Json) };
        }
        using var answer = await deletes.DeleteAsync(pods, context, options).ConfigureAwait(false);
    }

    private void SetDisrupted(ApiNode conditions)
    {
        ApiNode target = default;
        foreach (var condition in conditions.Elements)
        {
            if (condition["type"u8].Equals("DisruptionTarget"u8))
                target = condition;
        }
        if (!target.IsDefined)
        {
            target = conditions.AppendObject();
            target.Set("type"u8, "DisruptionTarget"u8);
        }
        if (!target["status"u8].Equals("True"u8))
            target.Set("lastTransitionTime"u8, ObjectText.Time(clock.GetUtcNow()));
        target.Set("status"u8, "True"u8);
        target.Set("reason"u8, "EvictionByEvictionAPI"u8);
        target.Set("message"u8, "Eviction API: evicting"u8);
    }

    // The server's own bookkeeping: the evictor needs no right to write statuses.
    private static WriteContext AsServer(WriteContext context, string name) => context with { User = UserInfo.ApiServer, Name = name, Owner = null };

    private static string VersionOf(StoredBytes json)
    {
        using var text = json.Rent();
        using var document = JsonCodec.Decode(text.Span, null, DecodeOptions.Free, null);
        return document.Root["metadata"u8]["resourceVersion"u8].AsString();
    }

    private static string Text(long revision) => revision.ToString(CultureInfo.InvariantCulture);

    private static ApiStatusException StillProcessed(string budget) => Refusal(RetrySeconds, $"The disruption budget {budget} is still being processed by the server.");

    private static ApiStatusException Exhausted(ApiNode status, string budget)
    {
        long current = status["currentHealthy"u8].AsInt64(), desired = status["desiredHealthy"u8].AsInt64();
        string reason = "", message = "";
        foreach (var condition in status["conditions"u8].Elements)
        {
            if (condition["type"u8].Equals("DisruptionAllowed"u8) && condition["status"u8].Equals("False"u8))
                (reason, message) = (condition["reason"u8].AsString(), condition["message"u8].AsString());
        }
        var why = message.Length > 0 && reason == "SyncFailed"
            ? $"The disruption budget {budget} does not allow evicting pods currently because it failed sync: {message}"
            : current <= desired ? string.Create(CultureInfo.InvariantCulture, $"The disruption budget {budget} needs {desired} healthy pods and has {current} currently")
            : message.Length > 0 ? $"The disruption budget {budget} does not allow evicting pods currently ({reason}): {message}"
            : $"The disruption budget {budget} does not allow evicting pods currently";
        return Refusal(0, why);
    }

    private static ApiStatusException Refusal(int retrySeconds, string cause) => new ApiStatus
    {
        Code = 429,
        Reason = "TooManyRequests",
        HasDetails = true,
        RetryAfterSeconds = retrySeconds,
        Causes = [new StatusCause("DisruptionBudget", cause)],
        Message = "Cannot evict pod as it would violate the pod's disruption budget.",
    }.ToException();
}
