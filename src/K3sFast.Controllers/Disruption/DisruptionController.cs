using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>
/// Keeps the status of disruption budgets: how many of their pods are healthy, how many must be, and how many evictions that allows. Evictions count
/// themselves in the status until their pods are gone; one whose pod stays is forgotten after two minutes.
/// </summary>
internal sealed class DisruptionController : Controller
{
    // Longer than a pod needs from the eviction that was granted to the deletionTimestamp; upstream's figure.
    private static readonly TimeSpan s_deletionTimeout = TimeSpan.FromMinutes(2);

    // A pod that was to be disrupted and is not deleted after this was spared; upstream's figure.
    private static readonly TimeSpan s_staleCondition = TimeSpan.FromMinutes(2);

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1PodDisruptionBudget> _budgets;
    private readonly ExpectedPods _expected;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly WorkQueue<ObjectKey> _stale;

    internal DisruptionController(ControllerContext context, DiscoveryCache discovery) : base("disruption-controller")
    {
        (_context, _client) = (context, context.ClientFor(Name));
        _events = context.Recorder(_client, "controllermanager");
        (_queue, _stale) = (context.Queue<ObjectKey>(), context.Queue<ObjectKey>());
        _expected = new ExpectedPods(context, _client, discovery);
        _budgets = context.Informers.Get(Resources.PodDisruptionBudgets);
        _budgets.AddHandler(new InformerHandler<V1PodDisruptionBudget>(
            budget => _queue.Add(ObjectKey.Of(budget)), (_, budget) => _queue.Add(ObjectKey.Of(budget))));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(PodChanged, (_, pod) => PodChanged(pod), EnqueueBudgets));
        // A workload's scale is part of what is expected.
        _expected.Changed += ns =>
        {
            foreach (var budget in _budgets.List(ns)) _queue.Add(ObjectKey.Of(budget));
        };
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, 1, cancellationToken),
        _context.ReconcileAsync(Name, _stale, ClearStaleAsync, 1, cancellationToken));

    private void PodChanged(V1Pod pod)
    {
        EnqueueBudgets(pod);
        if (StaleIn(pod) is { } left) _stale.AddAfter(ObjectKey.Of(pod), left);
    }

    private void EnqueueBudgets(V1Pod pod)
    {
        foreach (var budget in _budgets.List(pod.Metadata.NamespaceProperty))
        {
            if (Matcher(budget).Matches(pod.Metadata.Labels)) _queue.Add(ObjectKey.Of(budget));
        }
    }

    // An empty selector of policy/v1 selects every pod of the namespace, none at all selects nothing.
    private static LabelMatcher Matcher(V1PodDisruptionBudget budget) =>
        budget.Spec?.Selector is null ? LabelMatcher.Nothing : LabelMatcher.Of(budget.Spec.Selector);

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_budgets.Get(key) is not { } budget) return;
        try
        {
            await CountAsync(budget, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception failure) when (failure is InvalidOperationException or FormatException or ApiException { IsConflict: false })
        {
            // What cannot be counted allows nothing, and says so.
            var status = (budget.Status ?? new()) with { DisruptionsAllowed = 0 };
            status.Conditions = WithCondition(status.Conditions, "False", "SyncFailed", failure.Message, status.ObservedGeneration);
            await _client.UpdateStatusAsync(Resources.PodDisruptionBudgets, budget with { Status = status }, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task CountAsync(V1PodDisruptionBudget budget, CancellationToken cancellationToken)
    {
        var matcher = Matcher(budget);
        var pods = _context.Pods.EachByIndex(PodIndex.ByNamespace, budget.Metadata.NamespaceProperty).Where(pod => matcher.Matches(pod.Metadata.Labels)).ToList();
        if (pods.Count == 0) _events.Normal(Resources.PodDisruptionBudgets, budget, "NoPods", "No matching pods found");
        var (expected, desired) = await _expected.CountAsync(budget, pods, cancellationToken).ConfigureAwait(false);
        var now = _context.Time.GetUtcNow().UtcDateTime;
        var disrupted = StillDisrupted(budget, pods, now, out var recheckIn);
        var healthy = pods.Count(pod => pod.Metadata.DeletionTimestamp is null && !disrupted.ContainsKey(pod.Metadata.Name) && PodState.IsReady(pod));
        var allowed = expected <= 0 ? 0 : Math.Max(0, healthy - desired);
        if (recheckIn is { } delay) _queue.AddAfter(ObjectKey.Of(budget), delay);
        if (IsSame(budget, healthy, desired, expected, allowed, disrupted)) return;
        var status = new V1PodDisruptionBudgetStatus
        {
            CurrentHealthy = healthy, DesiredHealthy = desired, ExpectedPods = expected, DisruptionsAllowed = allowed,
            DisruptedPods = disrupted.Count == 0 ? null : disrupted, ObservedGeneration = budget.Metadata.Generation,
            Conditions = WithCondition(
                budget.Status?.Conditions, allowed > 0 ? "True" : "False", allowed > 0 ? "SufficientPods" : "InsufficientPods", "", budget.Metadata.Generation),
        };
        await _client.UpdateStatusAsync(Resources.PodDisruptionBudgets, budget with { Status = status }, cancellationToken).ConfigureAwait(false);
    }

    // Evictions that were granted and whose pods are not being deleted yet.
    private Dictionary<string, DateTime?> StillDisrupted(V1PodDisruptionBudget budget, List<V1Pod> pods, DateTime now, out TimeSpan? recheckIn)
    {
        recheckIn = null;
        var disrupted = new Dictionary<string, DateTime?>();
        if (budget.Status?.DisruptedPods is not { Count: > 0 } known) return disrupted;
        foreach (var pod in pods)
        {
            if (pod.Metadata.DeletionTimestamp is not null || !known.TryGetValue(pod.Metadata.Name, out var entry) || entry is not { } since) continue;
            var left = since.ToUniversalTime() + s_deletionTimeout - now;
            if (left < TimeSpan.Zero)
            {
                _events.Warning(
                    Resources.Pods, pod, "NotDeleted",
                    $"Pod was expected by PDB {budget.Metadata.NamespaceProperty}/{budget.Metadata.Name} to be deleted but it wasn't");
                continue;
            }
            disrupted[pod.Metadata.Name] = since;
            if (recheckIn is null || left < recheckIn) recheckIn = left;
        }
        return disrupted;
    }

    private static bool IsSame(V1PodDisruptionBudget budget, int healthy, int desired, int expected, int allowed, Dictionary<string, DateTime?> disrupted)
    {
        if (budget.Status is not { } status || status.ObservedGeneration != budget.Metadata.Generation) return false;
        var condition = status.Conditions?.FirstOrDefault(static candidate => candidate.Type == "DisruptionAllowed");
        return status.CurrentHealthy == healthy && status.DesiredHealthy == desired && status.ExpectedPods == expected && status.DisruptionsAllowed == allowed
            && (status.DisruptedPods?.Count ?? 0) == disrupted.Count && disrupted.All(pair => status.DisruptedPods![pair.Key] == pair.Value)
            && condition is not null && (condition.Status, condition.Reason) == (allowed > 0 ? ("True", "SufficientPods") : ("False", "InsufficientPods"));
    }

    private List<V1Condition> WithCondition(IList<V1Condition>? conditions, string status, string reason, string message, long? generation)
    {
        var old = conditions?.FirstOrDefault(static candidate => candidate.Type == "DisruptionAllowed");
        return
        [
            .. (conditions ?? []).Where(static candidate => candidate.Type != "DisruptionAllowed"),
            new V1Condition
            {
                Type = "DisruptionAllowed", Status = status, Reason = reason, Message = message, ObservedGeneration = generation,
                LastTransitionTime = old?.Status == status ? old.LastTransitionTime : _context.Now,
            },
        ];
    }

    // How long until a pod's DisruptionTarget condition counts as void; null when it has none that could.
    private TimeSpan? StaleIn(V1Pod pod)
    {
        if (pod.Metadata.DeletionTimestamp is not null || PodState.IsTerminal(pod)
            || PodState.Condition(pod, "DisruptionTarget") is not { Status: "True", Reason: not "TerminationByKubelet" } condition)
            return null;
        var left = (condition.LastTransitionTime ?? DateTime.MinValue) + s_staleCondition - _context.Time.GetUtcNow().UtcDateTime;
        return left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    private async ValueTask ClearStaleAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_context.Pods.Get(key) is not { } pod || StaleIn(pod) is not { } left) return;
        if (left > TimeSpan.Zero)
        {
            _stale.AddAfter(key, left);
            return;
        }
        var condition = PodState.Condition(pod, "DisruptionTarget")!;
        var cleared = new V1PodCondition { Type = condition.Type, Status = "False", LastTransitionTime = _context.Now };
        var status = pod.Status with { Conditions = [.. pod.Status.Conditions.Select(candidate => ReferenceEquals(candidate, condition) ? cleared : candidate)] };
        await _client.UpdateStatusAsync(Resources.Pods, pod with { Status = status }, cancellationToken).ConfigureAwait(false);
    }
}
