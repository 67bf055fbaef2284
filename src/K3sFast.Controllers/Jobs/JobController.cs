using System.Collections.Concurrent;
using K3sFast.Client;
using K3sFast.Client.Selection;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Controllers;

/// <summary>
/// Runs pods until enough of them have succeeded. A finished pod is counted exactly once: its uid is written into the status first, then its
/// finalizer is taken, then it moves into the sum; a crash at any point is taken up where it was.
/// </summary>
internal sealed class JobController : Controller
{
    // Failed pods are replaced after 10 s, doubled with each further failure, up to 10 minutes (upstream).
    private static readonly TimeSpan s_firstBackoff = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_lastBackoff = TimeSpan.FromMinutes(10);
    private const int BurstPods = 500;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly PodControl _podControl;
    private readonly Expectations _expectations;
    private readonly Informer<V1Job> _jobs;
    private readonly WorkQueue<ObjectKey> _queue;
    private readonly ILogger _logger;

    // Last status written, by job: a pod whose finalizer went on the strength of it must not be missed in an older one
    private readonly ConcurrentDictionary<ObjectKey, V1Job> _written = new();

    internal JobController(ControllerContext context) : base("job-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _logger = context.Logger(Name);
        _expectations = new Expectations(context.Time);
        _events = context.Recorder(_client, Name);
        _podControl = new PodControl(_client, _events);
        _jobs = context.Informers.Get(Resources.Jobs);
        _jobs.AddHandler(new InformerHandler<V1Job>(
            job => _queue.Add(ObjectKey.Of(job)), (_, job) => _queue.Add(ObjectKey.Of(job)), job =>
            {
                _expectations.Forget(ObjectKey.Of(job));
                _queue.Add(ObjectKey.Of(job));
            }));
        context.Pods.AddHandler(new InformerHandler<V1Pod>(
            pod => Seen(pod, key => _expectations.CreationObserved(key)),
            (_, pod) => Seen(pod, key =>
            {
                if (pod.Metadata.DeletionTimestamp is not null) _expectations.DeletionObserved(key, pod.Metadata.Uid);
            }),
            pod => Seen(pod, key => _expectations.DeletionObserved(key, pod.Metadata.Uid))));
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 4, cancellationToken);

    private void Seen(V1Pod pod, Action<ObjectKey> note)
    {
        if (Owners.ControllerOf(pod) is not { } reference)
        {
            if (JobPods.IsTracked(pod) || pod.Metadata.Labels is not { Count: > 0 }) return;
            foreach (var job in _jobs.List(pod.Metadata.NamespaceProperty))
            {
                if (LabelMatcher.Of(job.Spec.Selector) is { IsEverything: false } selector && selector.Matches(pod.Metadata.Labels)) _queue.Add(ObjectKey.Of(job));
            }
            return;
        }
        if (reference.Kind != "Job") return;
        var key = new ObjectKey(pod.Metadata.NamespaceProperty, reference.Name);
        note(key);
        _queue.Add(key);
    }

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_jobs.Get(key) is not { } job)
        {
            _expectations.Forget(key);
            _written.TryRemove(key, out _);
            // Pods of a job that went without waiting for them must not be held by its finalizer.
            foreach (var left in _context.Pods.EachByIndex(PodIndex.ByNamespace, key.Namespace).Where(pod =>
                JobPods.IsTracked(pod) && Owners.ControllerOf(pod) is { Kind: "Job" } owner && owner.Name == key.Name))
            {
                await UntrackAsync(left, cancellationToken).ConfigureAwait(false);
            }
            return;
        }
        job = Newest(key, job);
        if (job.Spec.ManagedBy is not (null or "" or "kubernetes.io/job-controller")) return;
        var mayAct = _expectations.AreSatisfied(key);
        var candidates = _context.Pods.ByIndex(PodIndex.ByController, job.Metadata.Uid);
        candidates.AddRange(_context.Pods.ByIndex(PodIndex.ByController, PodIndex.OrphansOf(key.Namespace)));
        var pods = await Claims.ClaimAsync(
            _client, Resources.Jobs, job, Resources.Pods, candidates, LabelMatcher.Of(job.Spec.Selector), cancellationToken).ConfigureAwait(false);
        var progress = new JobProgress(job, pods, _context.Now);
        if (progress.IsFinished)
        {
            foreach (var pod in pods.Where(JobPods.IsTracked)) await UntrackAsync(pod, cancellationToken).ConfigureAwait(false);
            return;
        }
        progress.Count();
        progress.Judge();
        Exception? failure = null;
        if (job.Metadata.DeletionTimestamp is null && (mayAct || progress.MustStop))
        {
            failure = await ActAsync(key, job, progress, cancellationToken).ConfigureAwait(false);
        }
        var written = await UpdateStatusAsync(job, progress, cancellationToken).ConfigureAwait(false);
        // Only what the stored status names may lose its finalizer.
        var uncounted = written.Status?.UncountedTerminatedPods;
        foreach (var pod in pods.Where(JobPods.IsTracked))
        {
            var isCounted = uncounted?.Succeeded?.Contains(pod.Metadata.Uid) == true || uncounted?.Failed?.Contains(pod.Metadata.Uid) == true;
            // One that is being deleted may never finish; nobody else would let it go.
            if (isCounted || PodState.IsTerminating(pod) || (progress.IsFinished && PodState.IsTerminal(pod))) await UntrackAsync(pod, cancellationToken).ConfigureAwait(false);
        }
        if (failure is not null and not ApiException { IsNamespaceTerminating: true }) throw failure;
        if (progress.LookAgainIn is { } delay) _queue.AddAfter(key, delay);
    }

    // The informer may still show the job as it was before our last write.
    private V1Job Newest(ObjectKey key, V1Job job)
    {
        if (!_written.TryGetValue(key, out var written)) return job;
        if (written.Metadata.Uid == job.Metadata.Uid && Revision(written) > Revision(job)) return written;
        _written.TryRemove(key, out _);
        return job;
    }

    private static long Revision(V1Job job) => long.TryParse(job.Metadata.ResourceVersion, out var revision) ? revision : 0;

    private async Task<Exception?> ActAsync(ObjectKey key, V1Job job, JobProgress progress, CancellationToken cancellationToken)
    {
        var active = progress.Active.ToList();
        if (progress.MustStop || progress.IsSuspended)
        {
            return await DeleteAsync(key, job, active, cancellationToken).ConfigureAwait(false);
        }
        var wanted = progress.WantedActive;
        if (active.Count > wanted)
        {
            active.Sort((a, b) => PodRanking.Compare(a, b, new Dictionary<string, int>(), _context.Now));
            return await DeleteAsync(key, job, active.GetRange(0, active.Count - wanted), cancellationToken).ConfigureAwait(false);
        }
        var missing = Math.Min(wanted - active.Count, BurstPods);
        if (missing <= 0) return null;
        if (progress.BackoffLeft(s_firstBackoff, s_lastBackoff) is { } left)
        {
            progress.LookAgain(left);
            return null;
        }
        var indexes = JobPods.IsIndexed(job) ? progress.FreeIndexes(missing) : null;
        if (indexes is not null) missing = indexes.Count;
        _expectations.Expect(key, missing, []);
        var (successes, failure) = await Batches.SlowStartAsync(missing, i => _podControl.CreateAsync(Resources.Jobs, job, job.Spec.Template, pod =>
        {
            pod.Metadata.Finalizers = [.. (pod.Metadata.Finalizers ?? []).Append(JobPods.TrackingFinalizer).Distinct()];
            if (indexes is not null) JobPods.SetIndex(job, pod, indexes[i]);
        }, cancellationToken)).ConfigureAwait(false);
        if (successes < missing) _expectations.CreationObserved(key, missing - successes);
        progress.Created(successes);
        return failure;
    }

    private async Task<Exception?> DeleteAsync(ObjectKey key, V1Job job, List<V1Pod> doomed, CancellationToken cancellationToken)
    {
        if (doomed.Count == 0) return null;
        _expectations.Expect(key, 0, doomed.Select(static pod => pod.Metadata.Uid));
        var (_, failure) = await Batches.AllAsync(doomed.Count, async i =>
        {
            try
            {
                await _podControl.DeleteAsync(Resources.Jobs, job, doomed[i], cancellationToken).ConfigureAwait(false);
            }
            catch (Exception failed)
            {
                _expectations.DeletionObserved(key, doomed[i].Metadata.Uid);
                if (failed is not ApiException { IsNotFound: true }) throw;
            }
        }).ConfigureAwait(false);
        return failure;
    }

    private async Task UntrackAsync(V1Pod pod, CancellationToken cancellationToken)
    {
        try
        {
            var patch = new PartialObject
            {
                ApiVersion = "v1",
                Kind = "Pod",
                Metadata = new V1ObjectMeta
                {
                    Uid = pod.Metadata.Uid,
                    ResourceVersion = pod.Metadata.ResourceVersion,
                    Finalizers = [.. pod.Metadata.Finalizers.Where(static finalizer => finalizer != JobPods.TrackingFinalizer)],
                },
            };
            await _client.PatchAsync(
                Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, PatchBody.Merge(ModelJson.Serialize(patch)), cancellationToken).ConfigureAwait(false);
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // Somebody was quicker.
        }
    }

    private async Task<V1Job> UpdateStatusAsync(V1Job job, JobProgress progress, CancellationToken cancellationToken)
    {
        var status = progress.Status();
        if (job.Status is not null && ModelJson.Serialize(job.Status).AsSpan().SequenceEqual(ModelJson.Serialize(status))) return job;
        job = await _client.UpdateStatusAsync(Resources.Jobs, job with { Status = status }, cancellationToken).ConfigureAwait(false);
        _written[ObjectKey.Of(job)] = job;
        foreach (var (isWarning, reason, message) in progress.Events)
        {
            if (isWarning) _events.Warning(Resources.Jobs, job, reason, message);
            else _events.Normal(Resources.Jobs, job, reason, message);
        }
        foreach (var message in progress.Unsupported) Log.Trouble(_logger, Name, $"{job.Metadata.NamespaceProperty}/{job.Metadata.Name}: {message}");
        return job;
    }
}
