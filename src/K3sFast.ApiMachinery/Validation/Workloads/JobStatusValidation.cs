using System.Globalization;

namespace K3sFast.ApiMachinery;

/// <summary>
/// Validation of what a job's controller writes of it. Rules between two fields are asked only when one of them changes, so that what was stored before
/// does not block the rest.
/// </summary>
internal static class JobStatusValidation
{
    private static readonly TypeSchema s_uncountedType = Schema.BuiltIn.FindType("io.k8s.api.batch.v1.UncountedTerminatedPods")!;

    internal static void Update(At at, ApiNode job, ApiNode old)
    {
        var place = at["status"];
        Counters(place, job["status"u8]);
        Uncounted(place["uncountedTerminatedPods"], job["status"u8]["uncountedTerminatedPods"u8]);
        var now = new JobState(job);
        var before = new JobState(old);
        Ends(place, now, before);
        Indexes(place, now, before);
        SuccessCriteria(place, now);
        Transitions(place, now, before);
    }

    /// <summary>Whether the job has that condition at True.</summary>
    internal static bool IsTrue(ApiNode job, ReadOnlySpan<byte> type) => Has(job, type, "True"u8);

    private static bool Has(ApiNode job, ReadOnlySpan<byte> type, ReadOnlySpan<byte> status)
    {
        foreach (var condition in job["status"u8]["conditions"u8].Elements)
            if (condition["type"u8].Equals(type))
                return condition["status"u8].Equals(status);
        return false;
    }

    private static void Counters(At at, ApiNode status)
    {
        at["active"].NonNegative(status["active"u8]);
        at["succeeded"].NonNegative(status["succeeded"u8]);
        at["failed"].NonNegative(status["failed"u8]);
        at["ready"].NonNegative(status["ready"u8]);
        at["terminating"].NonNegative(status["terminating"u8]);
    }

    private static void Uncounted(At at, ApiNode uncounted)
    {
        var seen = new HashSet<string>();
        foreach (var list in (ReadOnlySpan<string>)["succeeded", "failed"])
        {
            int i = 0;
            foreach (var uid in uncounted[System.Text.Encoding.ASCII.GetBytes(list)].Elements)
            {
                if (uid.Utf8.IsEmpty)
                    at[list][i].Invalid(uid, "must not be empty");
                else if (!seen.Add(uid.AsString()))
                    at[list][i].Duplicate(uid);
                i++;
            }
        }
    }

    private static void Ends(At at, in JobState now, in JobState before)
    {
        var conditions = at["conditions"];
        bool endChanged = now.IsFinished != before.IsFinished;
        bool completeChanged = now.IsComplete != before.IsComplete;
        bool startChanged = !Same(now, before, "startTime"u8);
        bool completionChanged = !Same(now, before, "completionTime"u8);
        var start = now.Status["startTime"u8];
        var completion = now.Status["completionTime"u8];
        if ((completeChanged || now.IsFailed != before.IsFailed) && now.IsComplete && now.IsFailed)
            conditions.Invalid("cannot set Complete=True and Failed=true conditions");
        if ((completeChanged || now.IsFailureTarget != before.IsFailureTarget) && now.IsComplete && now.IsFailureTarget)
            conditions.Invalid("cannot set Complete=True and FailureTarget=true conditions");
        if ((completeChanged || completionChanged) && !completion.IsNullOrUndefined && !now.IsComplete)
            at["completionTime"].Invalid(completion, "cannot set completionTime when there is no Complete=True condition");
        if ((completeChanged || completionChanged) && completion.IsNullOrUndefined && now.IsComplete)
            at["completionTime"].Required("completionTime is required for Complete jobs");
        if ((startChanged || completionChanged) && TimeOf(start) is { } started && TimeOf(completion) is { } completed && completed < started)
            at["completionTime"].Invalid(completion, "must be equal to or after `startTime`");
        if ((now.IsFailed != before.IsFailed || !Same(now, before, "failedIndexes"u8)) && now.IsFailed && !now.IsFailureTarget)
            conditions.Invalid("cannot set Failed=True condition without the FailureTarget=true condition");
        if ((completeChanged || now.HasMetCriteria != before.HasMetCriteria) && now.IsComplete && !now.HasMetCriteria)
            conditions.Invalid("cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
        if ((endChanged || !Same(now, before, "active"u8)) && now.IsFinished && now.Status["active"u8].AsInt64() > 0)
            at["active"].Invalid(now.Status["active"u8], "active>0 is invalid for finished job");
        bool neverStarts = now.Spec["suspend"u8].AsBool() && now.Spec["completions"u8].TryGetInt64(out long completions) && completions == 0;
        if ((endChanged || startChanged) && !neverStarts && now.IsFinished && start.IsNullOrUndefined)
            at["startTime"].Required("startTime is required for finished job");
        var uncounted = now.Status["uncountedTerminatedPods"u8];
        if ((endChanged || !SemanticEquality.Equal(uncounted, before.Status["uncountedTerminatedPods"u8], s_uncountedType)) && now.IsFinished
            && uncounted["failed"u8].Count + uncounted["succeeded"u8].Count > 0)
            at["uncountedTerminatedPods"].InvalidValue(uncounted, s_uncountedType, "must be empty for finished job");
    }

    private static void Indexes(At at, in JobState now, in JobState before)
    {
        bool completedChanged = now.Status["completedIndexes"u8].AsString() != before.Status["completedIndexes"u8].AsString();
        bool failedChanged = !Same(now, before, "failedIndexes"u8);
        var failedNode = now.Status["failedIndexes"u8];
        string completed = now.Status["completedIndexes"u8].AsString(), failed = failedNode.AsString();
        bool isBounded = now.Spec["completions"u8].TryGetInt64(out long completions);
        bool isPerIndex = !now.Spec["backoffLimitPerIndex"u8].IsNullOrUndefined;
        if (completedChanged && isBounded && JobIndexes.Problem(completed, completions) is { } problem)
            at["completedIndexes"].Invalid(completed, $"error parsing completedIndexes: {problem}");
        if (failedChanged && isBounded && isPerIndex && !failedNode.IsNullOrUndefined && JobIndexes.Problem(failed, completions) is { } failedProblem)
            at["failedIndexes"].Invalid(failed, $"error parsing failedIndexes: {failedProblem}");
        if (completedChanged && completed.Length > 0 && !now.Spec["completionMode"u8].Equals("Indexed"u8))
            at["completedIndexes"].Invalid(completed, "cannot set non-empty completedIndexes when non-indexed completion mode");
        if (failedChanged && !isPerIndex && !failedNode.IsNullOrUndefined)
            at["failedIndexes"].Invalid(failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
        if ((failedChanged || completedChanged) && isBounded && JobIndexes.Overlap(completed, failed, completions) is { } index)
            at["failedIndexes"].Invalid(failed, $"failedIndexes and completedIndexes overlap at index: {index}");
        long terminating = now.Status["terminating"u8].AsInt64();
        if ((now.IsFinished != before.IsFinished || !Same(now, before, "terminating"u8)) && now.IsFinished && terminating > 0)
            at["terminating"].Invalid(terminating, "terminating>0 is invalid for finished job");
        long ready = now.Status["ready"u8].AsInt64();
        if ((!Same(now, before, "ready"u8) || !Same(now, before, "active"u8)) && !now.Status["ready"u8].IsNullOrUndefined && ready > now.Status["active"u8].AsInt64())
            at["ready"].Invalid(ready, "cannot set more ready pods than active");
    }

    private static void SuccessCriteria(At at, in JobState now)
    {
        if (now.HasMetCriteria && now.IsFailed)
            at["conditions"].Invalid("cannot set SuccessCriteriaMet=True and Failed=true conditions");
        if (now.HasMetCriteria && now.IsFailureTarget)
            at["conditions"].Invalid("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
        if (!now.Spec["successPolicy"u8].IsNullOrUndefined && !now.HasMetCriteria && now.IsComplete)
            at["conditions"].Invalid("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    }

    private static void Transitions(At at, in JobState now, in JobState before)
    {
        if (before.IsFailed && !now.IsFailed)
            at["conditions"].Invalid("cannot disable the terminal Failed=True condition");
        if (before.IsComplete && !now.IsComplete)
            at["conditions"].Invalid("cannot disable the terminal Complete=True condition");
        if (before.IsFailureTarget && !now.IsFailureTarget)
            at["conditions"].Invalid("cannot disable the terminal FailureTarget=True condition");
        long failed = now.Status["failed"u8].AsInt64(), succeeded = now.Status["succeeded"u8].AsInt64();
        if (failed < before.Status["failed"u8].AsInt64())
            at["failed"].Invalid(failed, "cannot decrease the failed counter");
        // An indexed job whose parallelism follows its completions may be scaled down.
        bool isElastic = now.Spec["completionMode"u8].Equals("Indexed"u8) && now.Spec["completions"u8].DeepEquals(now.Spec["parallelism"u8]);
        if (!isElastic && succeeded < before.Status["succeeded"u8].AsInt64())
            at["succeeded"].Invalid(succeeded, "cannot decrease the succeeded counter");
        var completion = now.Status["completionTime"u8];
        if (!completion.IsNullOrUndefined && !before.Status["completionTime"u8].IsNullOrUndefined && !Same(now, before, "completionTime"u8))
            at["completionTime"].Invalid(completion, "field is immutable");
        bool isResuming = Has(before.Job, "Suspended"u8, "True"u8) && Has(now.Job, "Suspended"u8, "False"u8);
        var start = now.Status["startTime"u8];
        if (!isResuming && !before.Status["startTime"u8].IsNullOrUndefined && !Same(now, before, "startTime"u8) && !now.Spec["suspend"u8].AsBool())
            at["startTime"].Invalid(start.IsNullOrUndefined ? default : start, "field is immutable for unsuspended job once set");
        if (before.HasMetCriteria && !now.HasMetCriteria)
            at["conditions"].Invalid("cannot disable the SuccessCriteriaMet=True condition");
        if (before.IsComplete && !before.HasMetCriteria && now.HasMetCriteria)
            at["conditions"].Invalid("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }

    private static bool Same(in JobState a, in JobState b, ReadOnlySpan<byte> field)
    {
        var one = a.Status[field];
        var other = b.Status[field];
        return one.IsNullOrUndefined ? other.IsNullOrUndefined || other.TryGetInt64(out long zero) && zero == 0 && field.SequenceEqual("active"u8) : one.DeepEquals(other);
    }

    private static DateTimeOffset? TimeOf(ApiNode time) =>
        DateTimeOffset.TryParse(time.AsString(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var value) ? value : null;

    private readonly struct JobState(ApiNode job)
    {
        internal ApiNode Job { get; } = job;

        internal ApiNode Spec { get; } = job["spec"u8];

        internal ApiNode Status { get; } = job["status"u8];

        internal bool IsComplete { get; } = IsTrue(job, "Complete"u8);

        internal bool IsFailed { get; } = IsTrue(job, "Failed"u8);

        internal bool IsFailureTarget { get; } = IsTrue(job, "FailureTarget"u8);

        internal bool HasMetCriteria { get; } = IsTrue(job, "SuccessCriteriaMet"u8);

        internal bool IsFinished => IsComplete || IsFailed;
    }
}
