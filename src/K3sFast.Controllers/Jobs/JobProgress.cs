using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>How far a job is, worked out of its status and its pods. One use, one thread.</summary>
internal sealed class JobProgress(V1Job job, IReadOnlyList<V1Pod> pods, DateTime now)
{
    private readonly V1JobStatus _old = job.Status ?? new V1JobStatus();
    private readonly List<V1JobCondition> _conditions = [.. job.Status?.Conditions ?? []];
    private readonly List<string> _uncountedSucceeded = [];
    private readonly List<string> _uncountedFailed = [];
    private readonly HashSet<int> _completed = JobPods.Parse(job.Status?.CompletedIndexes);
    private int _succeeded;
    private int _failed;
    private int _created;
    private DateTime? _completionTime = job.Status?.CompletionTime;
    private DateTime? _startTime = job.Status?.StartTime;

    /// <summary>Events to tell once the status is written.</summary>
    internal List<(bool IsWarning, string Reason, string Message)> Events { get; } = [];

    /// <summary>Parts of the job's spec that are not acted on.</summary>
    internal List<string> Unsupported { get; } = [];

    internal bool IsFinished => Has("Complete") || Has("Failed");

    /// <summary>It has its result: what still runs is to be ended.</summary>
    internal bool MustStop { get; private set; }

    internal bool IsSuspended => job.Spec.Suspend == true;

    internal TimeSpan? LookAgainIn { get; private set; }

    internal IEnumerable<V1Pod> Active => pods.Where(PodState.IsActive);

    /// <summary>Pods that are to run now.</summary>
    internal int WantedActive
    {
        get
        {
            var parallelism = job.Spec.Parallelism ?? 1;
            // A work queue: once one has succeeded no more are started.
            if (job.Spec.Completions is not { } completions) return _succeeded > 0 ? Math.Min(parallelism, Active.Count()) : parallelism;
            return Math.Max(0, Math.Min(parallelism, completions - _succeeded));
        }
    }

    internal void LookAgain(TimeSpan delay) => LookAgainIn = LookAgainIn is { } earlier && earlier < delay ? earlier : delay;

    internal void Created(int count) => _created = count;

    /// <summary>Counts finished pods, each once.</summary>
    internal void Count()
    {
        (_succeeded, _failed) = (_old.Succeeded ?? 0, _old.Failed ?? 0);
        var tracked = pods.Where(JobPods.IsTracked).Select(static pod => pod.Metadata.Uid).ToHashSet();
        // Their finalizers are gone: they move from the list into the sum.
        foreach (var uid in _old.UncountedTerminatedPods?.Succeeded ?? []) Move(uid, isSuccess: true);
        foreach (var uid in _old.UncountedTerminatedPods?.Failed ?? []) Move(uid, isSuccess: false);
        foreach (var pod in pods.Where(JobPods.IsTracked))
        {
            var uid = pod.Metadata.Uid;
            if (_uncountedSucceeded.Contains(uid) || _uncountedFailed.Contains(uid)) continue;
            if (pod.Status?.Phase == "Succeeded")
            {
                if (JobPods.IsIndexed(job))
                {
                    // Two pods of one index make it complete once.
                    if (JobPods.Index(pod) is not { } index || index >= (job.Spec.Completions ?? 0)) continue;
                    if (!_completed.Add(index)) continue;
                }
                _uncountedSucceeded.Add(uid);
                _succeeded++;
            }
            else if (pod.Status?.Phase == "Failed")
            {
                _uncountedFailed.Add(uid);
                _failed++;
            }
        }
        if (JobPods.IsIndexed(job)) _succeeded = _completed.Count;

        void Move(string uid, bool isSuccess)
        {
            if (tracked.Contains(uid)) (isSuccess ? _uncountedSucceeded : _uncountedFailed).Add(uid);
            if (isSuccess) _succeeded++;
            else _failed++;
        }
    }

    /// <summary>Is it done, has it failed, is it suspended?</summary>
    internal void Judge()
    {
        if (job.Spec.PodFailurePolicy is not null) Unsupported.Add("spec.podFailurePolicy is not acted on yet");
        if (job.Spec.SuccessPolicy is not null) Unsupported.Add("spec.successPolicy is not acted on yet");
        if (job.Spec.BackoffLimitPerIndex is not null) Unsupported.Add("spec.backoffLimitPerIndex is not acted on yet");
        if (IsSuspended) Suspend();
        else Resume();

        var activeCount = Active.Count();
        if (_failed > (job.Spec.BackoffLimit ?? 6) || RestartsExceed())
        {
            Fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
        }
        else if (_startTime is { } started && job.Spec.ActiveDeadlineSeconds is { } deadline)
        {
            var left = started.AddSeconds(deadline) - now;
            if (left <= TimeSpan.Zero) Fail("DeadlineExceeded", "Job was active longer than specified deadline");
            else LookAgain(left);
        }
        if (MustStop) return;
        var isComplete = job.Spec.Completions is { } completions ? _succeeded >= completions : _succeeded > 0 && activeCount == 0;
        if (!isComplete || (job.Spec.Completions is null && IsSuspended)) return;
        MustStop = true;
        End("SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods");
        if (!Has("Complete")) return;
        _completionTime = now;
        Events.Add((false, "Completed", "Job completed"));
    }

    /// <summary>How long until a failed pod may be replaced; null = now.</summary>
    internal TimeSpan? BackoffLeft(TimeSpan first, TimeSpan last)
    {
        if (_failed == 0) return null;
        DateTime? latest = null;
        foreach (var pod in pods)
        {
            if (pod.Status?.Phase != "Failed") continue;
            var ended = (pod.Status.ContainerStatuses ?? []).Select(static status => status.State?.Terminated?.FinishedAt).Max() ?? pod.Metadata.CreationTimestamp;
            if (latest is null || ended > latest) latest = ended;
        }
        if (latest is null) return null;
        var backoff = first * Math.Pow(2, Math.Min(_failed - 1, 10));
        var left = latest.Value + (backoff < last ? backoff : last) - now;
        return left > TimeSpan.Zero ? left : null;
    }

    /// <summary>The lowest indexes that are neither complete nor being worked on.</summary>
    internal List<int> FreeIndexes(int count)
    {
        var taken = new HashSet<int>(_completed);
        foreach (var pod in Active)
        {
            if (JobPods.Index(pod) is { } index) taken.Add(index);
        }
        return [.. Enumerable.Range(0, job.Spec.Completions ?? 0).Where(index => !taken.Contains(index)).Take(count)];
    }

    internal V1JobStatus Status()
    {
        var active = MustStop || IsSuspended ? 0 : Active.Count() + _created;
        return new V1JobStatus
        {
            Active = NullIfZero(active),
            Ready = IsFinished ? 0 : Active.Count(PodState.IsReady),
            Terminating = pods.Count(PodState.IsTerminating),
            Succeeded = NullIfZero(JobPods.IsIndexed(job) ? _completed.Count : _succeeded - _uncountedSucceeded.Count + (IsFinished ? _uncountedSucceeded.Count : 0)),
            Failed = NullIfZero(_failed - _uncountedFailed.Count + (IsFinished ? _uncountedFailed.Count : 0)),
            CompletedIndexes = JobPods.IsIndexed(job) && _completed.Count > 0 ? JobPods.Ranges(_completed) : null,
            StartTime = _startTime,
            CompletionTime = _completionTime,
            Conditions = _conditions.Count == 0 ? null : _conditions,
            UncountedTerminatedPods = new V1UncountedTerminatedPods
            {
                Succeeded = IsFinished || _uncountedSucceeded.Count == 0 ? null : _uncountedSucceeded,
                Failed = IsFinished || _uncountedFailed.Count == 0 ? null : _uncountedFailed,
            },
        };
    }

    private void Fail(string reason, string message)
    {
        MustStop = true;
        End("FailureTarget", "Failed", reason, message);
        if (Has("Failed")) Events.Add((true, reason, message));
    }

    // The result is known at once; the job has ended when its last pod has.
    private void End(string interim, string final, string reason, string message)
    {
        if (!Has(interim)) Add(interim, reason, message);
        if (!Active.Any() && !pods.Any(PodState.IsTerminating) && !Has(final)) Add(final, reason, message);
    }

    private void Suspend()
    {
        _startTime = null;
        if (Set("Suspended", "True", "JobSuspended", "Job suspended")) Events.Add((false, "Suspended", "Job suspended"));
    }

    private void Resume()
    {
        if (_conditions.Any(static condition => condition is { Type: "Suspended", Status: "True" }))
        {
            Set("Suspended", "False", "JobResumed", "Job resumed");
            Events.Add((false, "Resumed", "Job resumed"));
        }
        _startTime ??= now;
    }

    // Pods that restart in place fail without ending.
    private bool RestartsExceed()
    {
        if (job.Spec.Template.Spec.RestartPolicy != "OnFailure") return false;
        var restarts = Active.Sum(static pod => (pod.Status?.ContainerStatuses ?? []).Sum(static status => status.RestartCount)
            + (pod.Status?.InitContainerStatuses ?? []).Sum(static status => status.RestartCount));
        var limit = job.Spec.BackoffLimit ?? 6;
        return limit == 0 ? restarts > 0 : restarts >= limit;
    }

    private bool Has(string type) => _conditions.Any(condition => condition.Type == type && condition.Status == "True");

    private void Add(string type, string reason, string message) => Set(type, "True", reason, message);

    private bool Set(string type, string status, string reason, string message)
    {
        var at = _conditions.FindIndex(condition => condition.Type == type);
        if (at >= 0 && _conditions[at].Status == status) return false;
        var condition = new V1JobCondition { Type = type, Status = status, Reason = reason, Message = message, LastProbeTime = now, LastTransitionTime = now };
        if (at >= 0) _conditions[at] = condition;
        else _conditions.Add(condition);
        return true;
    }

    private static int? NullIfZero(int value) => value == 0 ? null : value;
}
