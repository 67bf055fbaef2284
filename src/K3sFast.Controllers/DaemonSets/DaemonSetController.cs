using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Keeps one pod of a template on every node that fits, and replaces them node by node when the template changes.</summary>
internal sealed class DaemonSetController : Controller
{
    private const int BurstReplicas = 250;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly PodControl _podControl;
    private readonly Expectations _expectations;
    private readonly Informer<V1DaemonSet> _sets;
    private readonly Informer<V1Node> _nodes;
    private readonly RevisionHistory<V1DaemonSet> _history;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly WorkQueue<string> _all;

    internal DaemonSetController(ControllerContext context) : base("daemon-set-controller")
    {
        (_context, _client) = (context, context.ClientFor(Name));
        (_queue, _all) = (context.Queue<ObjectKey>(), context.Queue<string>());
        _expectations = new Expectations(context.Time);
        _events = context.Recorder(_client, "daemonset-controller");
        _podControl = new PodControl(_client, _events);
        _sets = context.Informers.Get(Resources.DaemonSets);
        _sets.AddHandler(new InformerHandler<V1DaemonSet>(
            set => _queue.Add(ObjectKey.Of(set)), (_, set) => _queue.Add(ObjectKey.Of(set)), set => _expectations.Forget(ObjectKey.Of(set))));
        _nodes = context.Informers.Get(Resources.Nodes);
        _nodes.AddHandler(new InformerHandler<V1Node>(_ => _all.Add(""), (old, node) =>
        {
            // Heartbeats come all the time; labels, taints and readiness are what counts.
            if (!Owners.SameLabels(old.Metadata.Labels, node.Metadata.Labels) || !(old.Spec?.Taints ?? []).SequenceEqual(node.Spec?.Taints ?? [])) _all.Add("");
        }, _ => _all.Add("")));
        var revisions = context.Informers.Get(Resources.ControllerRevisions);
        revisions.AddIndex(PodIndex.ByController, Owners.ControllerKeys);
        _history = new RevisionHistory<V1DaemonSet>(_client, Resources.DaemonSets, revisions);
        context.Pods.AddHandler(new InformerHandler<V1Pod>(
            pod => Seen(pod, key => _expectations.CreationObserved(key)),
            (_, pod) => Seen(pod, key =>
            {
                if (pod.Metadata.DeletionTimestamp is not null) _expectations.DeletionObserved(key, pod.Metadata.Uid);
            }),
            pod => Seen(pod, key => _expectations.DeletionObserved(key, pod.Metadata.Uid))));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        _context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken),
        _context.ReconcileAsync(Name, _all, AllAsync, 1, cancellationToken));

    private void Seen(V1Pod pod, Action<ObjectKey> note)
    {
        if (Owners.ControllerOf(pod) is not { } reference)
        {
            foreach (var set in _sets.List(pod.Metadata.NamespaceProperty))
            {
                if (LabelMatcher.Of(set.Spec.Selector) is { IsEverything: false } selector && selector.Matches(pod.Metadata.Labels)) _queue.Add(ObjectKey.Of(set));
            }
            return;
        }
        if (Owners.Resolve(_sets, pod.Metadata.NamespaceProperty, reference) is not { } owner) return;
        note(ObjectKey.Of(owner));
        _queue.Add(ObjectKey.Of(owner));
    }

    private ValueTask AllAsync(string key, CancellationToken cancellationToken)
    {
        foreach (var set in _sets.List()) _queue.Add(ObjectKey.Of(set));
        return ValueTask.CompletedTask;
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_sets.Get(key) is not { } set) return;
        var selector = LabelMatcher.Of(set.Spec.Selector);
        if (selector.IsEverything)
        {
            _events.Warning(Resources.DaemonSets, set, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.");
            return;
        }
        var mayAct = _expectations.AreSatisfied(key) && set.Metadata.DeletionTimestamp is null;
        var candidates = _context.Pods.ByIndex(PodIndex.ByController, set.Metadata.Uid);
        candidates.AddRange(_context.Pods.ByIndex(PodIndex.ByController, PodIndex.OrphansOf(key.Namespace)));
        var pods = await Claims.ClaimAsync(_client, Resources.DaemonSets, set, Resources.Pods, candidates, selector, cancellationToken).ConfigureAwait(false);
        var known = await _history.ListAsync(set, selector, cancellationToken).ConfigureAwait(false);
        var (revision, collisions) = await _history.GetAsync(
            set, set.Spec.Template, known, set.Status?.CollisionCount ?? 0, cancellationToken).ConfigureAwait(false);
        var hash = RevisionHistory<V1DaemonSet>.Hash(revision);
        var byNode = pods.Where(static pod => DaemonPods.NodeOf(pod) is not null).ToLookup(static pod => DaemonPods.NodeOf(pod)!);

        Exception? failure = null;
        if (mayAct)
        {
            var (missing, doomed) = Plan(set, byNode, hash);
            failure = await ActAsync(key, set, missing, doomed, hash, cancellationToken).ConfigureAwait(false);
        }
        await UpdateStatusAsync(set, byNode, hash, collisions, cancellationToken).ConfigureAwait(false);
        if (failure is ApiException { IsNamespaceTerminating: true }) return;
        if (failure is not null) throw failure;
        var live = pods.Select(static pod => pod.Metadata.Labels is { } labels && labels.TryGetValue(DaemonPods.RevisionLabel, out var value) ? value : "").ToHashSet();
        await _history.TruncateAsync(
            known, set.Spec.RevisionHistoryLimit ?? 10, old => old.Metadata.Name == revision.Metadata.Name || live.Contains(RevisionHistory<V1DaemonSet>.Hash(old)),
            cancellationToken).ConfigureAwait(false);
        var minReady = set.Spec.MinReadySeconds ?? 0;
        if (minReady > 0 && pods.Select(pod => PodState.AvailableIn(pod, minReady, _context.Now)).Where(static left => left > TimeSpan.Zero).Min() is { } left)
        {
            _queue.AddAfter(key, left);
        }
    }

    private (List<string> Missing, List<V1Pod> Doomed) Plan(V1DaemonSet set, ILookup<string, V1Pod> byNode, string hash)
    {
        var (missing, doomed, replaceable) = (new List<string>(), new List<V1Pod>(), new List<(V1Pod Pod, bool IsAvailable)>());
        var (desired, unavailable) = (0, 0);
        var nodes = _nodes.List();
        foreach (var node in nodes)
        {
            var (shouldRun, mayStay) = DaemonPods.Judge(set.Spec.Template, node);
            var here = byNode[node.Metadata.Name].ToList();
            if (!mayStay)
            {
                doomed.AddRange(here.Where(static pod => pod.Metadata.DeletionTimestamp is null));
                continue;
            }
            if (shouldRun) desired++;
            foreach (var pod in here.Where(static pod => PodState.IsTerminal(pod) && pod.Metadata.DeletionTimestamp is null).ToList())
            {
                var (reason, what) = pod.Status.Phase == "Failed" ? ("FailedDaemonPod", "failed") : ("SucceededDaemonPod", "succeeded");
                var message = $"Found {what} daemon pod {pod.Metadata.NamespaceProperty}/{pod.Metadata.Name} on node {node.Metadata.Name}, will try to "
                    + (what == "failed" ? "kill" : "delete") + " it";
                if (what == "failed") _events.Warning(Resources.DaemonSets, set, reason, message);
                else _events.Normal(Resources.DaemonSets, set, reason, message);
                doomed.Add(pod);
            }
            var active = here.Where(PodState.IsActive).OrderBy(static pod => pod.Metadata.CreationTimestamp).ToList();
            if (shouldRun && here.Count == 0) missing.Add(node.Metadata.Name);
            doomed.AddRange(active.Skip(1));
            var isAvailable = active.Count > 0 && PodState.IsAvailable(active[0], set.Spec.MinReadySeconds ?? 0, _context.Now);
            if (shouldRun && !isAvailable) unavailable++;
            if (active.Count > 0 && !(active[0].Metadata.Labels is { } labels && labels.TryGetValue(DaemonPods.RevisionLabel, out var value) && value == hash))
            {
                replaceable.Add((active[0], isAvailable));
            }
        }
        // Pods for nodes that are gone and that no node has taken.
        var names = nodes.Select(static node => node.Metadata.Name).ToHashSet();
        doomed.AddRange(byNode.Where(group => !names.Contains(group.Key)).SelectMany(static group => group)
            .Where(static pod => string.IsNullOrEmpty(pod.Spec.NodeName) && pod.Metadata.DeletionTimestamp is null));
        if (set.Spec.UpdateStrategy?.Type == "OnDelete") return (missing, doomed);
        // At least one at a time, also where surge is asked for: pods are replaced in place.
        var allowed = Math.Max(1, RolloutMath.Scaled(set.Spec.UpdateStrategy?.RollingUpdate?.MaxUnavailable, desired, roundUp: true));
        doomed.AddRange(replaceable.Where(static entry => !entry.IsAvailable).Select(static entry => entry.Pod));
        doomed.AddRange(replaceable.Where(static entry => entry.IsAvailable).Take(Math.Max(0, allowed - unavailable)).Select(static entry => entry.Pod));
        return (missing, [.. doomed.DistinctBy(static pod => pod.Metadata.Uid)]);
    }

    private async Task<Exception?> ActAsync(
        ObjectKey key, V1DaemonSet set, List<string> missing, List<V1Pod> doomed, string hash, CancellationToken cancellationToken)
    {
        if (missing.Count + doomed.Count == 0) return null;
        var creations = Math.Min(missing.Count, BurstReplicas);
        var deletions = doomed.Take(BurstReplicas).ToList();
        _expectations.Expect(key, creations, deletions.Select(static pod => pod.Metadata.Uid));
        var (successes, failure) = await Batches.SlowStartAsync(creations, i => _podControl.CreateAsync(
            Resources.DaemonSets, set, set.Spec.Template, pod => DaemonPods.Pin(pod, missing[i], hash), cancellationToken)).ConfigureAwait(false);
        if (successes < creations) _expectations.CreationObserved(key, creations - successes);
        var (_, second) = await Batches.AllAsync(deletions.Count, async i =>
        {
            try
            {
                await _podControl.DeleteAsync(Resources.DaemonSets, set, deletions[i], cancellationToken).ConfigureAwait(false);
            }
            catch (Exception failed)
            {
                _expectations.DeletionObserved(key, deletions[i].Metadata.Uid);
                if (failed is not ApiException { IsNotFound: true }) throw;
            }
        }).ConfigureAwait(false);
        return failure ?? second;
    }

    private async Task UpdateStatusAsync(V1DaemonSet set, ILookup<string, V1Pod> byNode, string hash, int collisions, CancellationToken cancellationToken)
    {
        var status = new V1DaemonSetStatus
        {
            ObservedGeneration = set.Metadata.Generation, Conditions = set.Status?.Conditions, CollisionCount = collisions == 0 ? set.Status?.CollisionCount : collisions,
        };
        var (updated, available) = (0, 0);
        foreach (var node in _nodes.List())
        {
            var (shouldRun, _) = DaemonPods.Judge(set.Spec.Template, node);
            var oldest = byNode[node.Metadata.Name].Where(PodState.IsActive).MinBy(static pod => pod.Metadata.CreationTimestamp);
            if (shouldRun) status.DesiredNumberScheduled++;
            if (oldest is null) continue;
            if (!shouldRun)
            {
                status.NumberMisscheduled++;
                continue;
            }
            status.CurrentNumberScheduled++;
            if (PodState.IsReady(oldest)) status.NumberReady++;
            if (PodState.IsAvailable(oldest, set.Spec.MinReadySeconds ?? 0, _context.Now)) available++;
            if (oldest.Metadata.Labels is { } labels && labels.TryGetValue(DaemonPods.RevisionLabel, out var value) && value == hash) updated++;
        }
        var unavailable = status.DesiredNumberScheduled - available;
        status.UpdatedNumberScheduled = updated == 0 ? null : updated;
        status.NumberAvailable = available == 0 ? null : available;
        status.NumberUnavailable = unavailable == 0 ? null : unavailable;
        if (set.Status is not null && ModelJson.Serialize(set.Status).AsSpan().SequenceEqual(ModelJson.Serialize(status))) return;
        await _client.UpdateStatusAsync(Resources.DaemonSets, set with { Status = status }, cancellationToken).ConfigureAwait(false);
    }
}
