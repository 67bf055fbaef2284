using System.Globalization;
using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// ResourceQuota: writes that use more than their namespace's quotas allow are refused; the others are charged to the quotas' status before they are
/// stored. Writes to one namespace that come together are charged together, with one write per quota; against other servers the quota's revision guards.
/// </summary>
/// <remarks>Any thread. Namespaces without quotas pay a look into the cache.</remarks>
internal sealed class ResourceQuotaAdmission(
    IReadOnlyList<LimitedResource> limited, ResourceStorage quotas, Func<WriteFlow> writes, TimeProvider clock) : AdmissionPlugin
{
    // Another server may write a quota between our reading and writing it; upstream tries as often.
    private const int MaxRetries = 3;

    private static readonly TimeSpan s_maxWait = TimeSpan.FromSeconds(10);

    private readonly QuotaCheck _check = new(limited, clock);
    private readonly Lock _gate = new();

    // Guarded by _gate: what waits in each namespace that is being worked on.
    private readonly Dictionary<string, List<Waiter>> _waiting = new(StringComparer.Ordinal);

    internal override ValueTask ValidateAsync(AdmissionContext context, CancellationToken cancel)
    {
        if (context.Operation is not (AdmissionOperation.Create or AdmissionOperation.Update) || context.Namespace.Length == 0 || context.Is("", "namespaces")
            || limited.Count == 0 && quotas.Cache.Count == 0 || QuotaEvaluator.IsIgnored(context.Resource.Group, context.Resource.Resource))
            return ValueTask.CompletedTask;
        var evaluator = QuotaEvaluator.For(context.Resource.Group, context.Resource.Resource);
        if (!evaluator.Handles(context.IsCreate, context.Subresource, context.Object, context.OldObject)
            || limited.Count == 0 && !quotas.All(context.Namespace).Any())
            return ValueTask.CompletedTask;
        return new ValueTask(WaitAsync(new Waiter(context, evaluator), cancel));
    }

    private async Task WaitAsync(Waiter waiter, CancellationToken cancel)
    {
        var ns = waiter.Context.Namespace;
        var isFirst = false;
        lock (_gate)
        {
            if (!_waiting.TryGetValue(ns, out var waiting))
            {
                _waiting[ns] = waiting = [];
                isFirst = true;
            }
            waiting.Add(waiter);
        }
        // Whoever finds nobody at work starts the work, which then goes on for those who come meanwhile.
        if (isFirst)
            _ = WorkAsync(ns);
        try
        {
            await waiter.Done.Task.WaitAsync(s_maxWait, clock, cancel).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            throw ApiStatus.InternalError("resource quota evaluation timed out").ToException();
        }
    }

    private async Task WorkAsync(string ns)
    {
        while (true)
        {
            List<Waiter> batch;
            lock (_gate)
            {
                batch = _waiting[ns];
                if (batch.Count == 0)
                {
                    _waiting.Remove(ns);
                    return;
                }
                _waiting[ns] = [];
            }
            try
            {
                await ChargeAsync(ns, batch).ConfigureAwait(false);
            }
            catch (Exception failure)
            {
                // The store failed, or we did: whoever still waits is refused with it.
                foreach (var waiter in batch)
                    waiter.Done.TrySetException(failure);
            }
        }
    }

    private async Task ChargeAsync(string ns, List<Waiter> batch)
    {
        var states = Load(ns, null);
        for (var retries = 0; ; retries++)
        {
            var charged = new List<Waiter>();
            foreach (var waiter in batch)
            {
                if (!waiter.Done.Task.IsCompleted && TryCharge(waiter, states))
                    charged.Add(waiter);
            }
            var (failed, lastError) = await StoreAsync(ns, states).ConfigureAwait(false);
            if (failed.Count == 0)
            {
                foreach (var waiter in charged)
                    waiter.Done.TrySetResult();
                return;
            }
            if (retries == MaxRetries)
            {
                foreach (var waiter in charged)
                    waiter.Done.TrySetException(lastError!);
                return;
            }
            // The quotas that were written have their charge; only the others are looked at again.
            states = Load(ns, failed);
        }
    }

    // True when the waiter's fate hangs on the quotas being written.
    private bool TryCharge(Waiter waiter, List<QuotaState> states)
    {
        try
        {
            var charges = _check.Charges(waiter.Context, waiter.Evaluator, states);
            if (charges.Count == 0 || waiter.Context.IsDryRun)
            {
                waiter.Done.TrySetResult();
                return false;
            }
            foreach (var (quota, amounts) in charges)
                quota.Charge(amounts);
            return true;
        }
        catch (ApiStatusException refused)
        {
            waiter.Done.TrySetException(refused);
            return false;
        }
    }

    private async Task<(HashSet<string> Failed, ApiStatusException? LastError)> StoreAsync(string ns, List<QuotaState> states)
    {
        var failed = new HashSet<string>(StringComparer.Ordinal);
        ApiStatusException? lastError = null;
        foreach (var state in states)
        {
            if (!state.IsCharged)
                continue;
            try
            {
                var context = new WriteContext(UserInfo.ApiServer, ns, state.Name, false, CancellationToken.None);
                using var answer = await writes().UpdateAsync(quotas, "status", context, old =>
                {
                    var changed = old.Clone();
                    changed.Root["metadata"u8].Set("resourceVersion"u8, state.Revision.ToString(CultureInfo.InvariantCulture));
                    state.Used.WriteTo(changed.Root.GetOrAddObject("status"u8), "used"u8);
                    return changed;
                }).ConfigureAwait(false);
            }
            catch (ApiStatusException refused) when (refused.Status.Code is 404 or 409)
            {
                failed.Add(state.Name);
                lastError = refused;
            }
        }
        return (failed, lastError);
    }

    private List<QuotaState> Load(string ns, HashSet<string>? names)
    {
        var states = new List<QuotaState>();
        foreach (var stored in quotas.All(ns))
        {
            using var document = quotas.Decode(stored);
            if (names is null || names.Contains(ObjectText.NameOf(document.Root)))
                states.Add(new QuotaState(stored, document.Root));
        }
        return states;
    }

    private sealed class Waiter(AdmissionContext context, QuotaEvaluator evaluator)
    {
        internal AdmissionContext Context => context;

        internal QuotaEvaluator Evaluator => evaluator;

        internal TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
