namespace K3sFast.ApiMachinery;

/// <summary>Validation of jobs and cron jobs.</summary>
internal static class JobValidation
{
    private const int MaxIndexedParallelism = 100_000;
    private const int MaxFailedIndexes = 100_000;
    private const int ManyCompletions = 100_000;
    private const int MaxOfMany = 10_000;
    private const int MaxCronJobName = 52; // 63 of a label less the 11 that the controller adds
    private static readonly TypeSchema s_metaType = Schema.BuiltIn.FindType("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")!;
    private static readonly TypeSchema s_specType = Schema.BuiltIn.FindType("io.k8s.api.batch.v1.JobSpec")!;

    internal static void Job(At at, ApiNode job)
    {
        var spec = job["spec"u8];
        if (!spec["manualSelector"u8].AsBool())
            GeneratedSelector(at, job);
        Spec(at["spec"], spec);
        SelectorAndTemplate(at["spec"], spec);
        HostnameOfLast(at["metadata"]["name"], job);
    }

    internal static void JobUpdate(At at, ApiNode job, ApiNode old)
    {
        var spec = job["spec"u8];
        var oldSpec = old["spec"u8];
        // The whole and then the spec again, as upstream's two layers do.
        Job(at, job);
        Spec(at["spec"], spec);
        SelectorAndTemplate(at["spec"], spec);
        bool isElastic = spec["completionMode"u8].Equals("Indexed"u8);
        if (!isElastic)
            at["spec"]["completions"].ImmutableMember(spec, oldSpec, "completions"u8, s_specType);
        else if (!spec["completions"u8].IsNullOrUndefined && !SemanticEquality.MemberEqual(spec, oldSpec, "completions"u8, s_specType)
            && spec["completions"u8].AsInt64() != spec["parallelism"u8].AsInt64())
            at["spec"]["completions"].Invalid(spec["completions"u8], "can only be modified in tandem with spec.parallelism");
        at["spec"]["selector"].ImmutableMember(spec, oldSpec, "selector"u8, s_specType);
        JobTemplateUpdate.Check(at["spec"]["template"], spec["template"u8], old);
        foreach (string field in (ReadOnlySpan<string>)["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"])
            at["spec"][field].ImmutableMember(spec, oldSpec, System.Text.Encoding.ASCII.GetBytes(field), s_specType);
    }

    internal static void CronJob(At at, ApiNode cronJob)
    {
        if (cronJob["metadata"u8]["name"u8].Utf8.Length > MaxCronJobName)
            at["metadata"]["name"].Invalid(cronJob["metadata"u8]["name"u8], $"must be no more than {MaxCronJobName} characters");
        CronJobSpec(at["spec"], cronJob["spec"u8], default);
    }

    internal static void CronJobUpdate(At at, ApiNode cronJob, ApiNode old) => CronJobSpec(at["spec"], cronJob["spec"u8], old["spec"u8]);

    private static void CronJobSpec(At at, ApiNode spec, ApiNode oldSpec)
    {
        string schedule = spec["schedule"u8].AsString();
        if (schedule.Length == 0)
            at["schedule"].Required();
        else
            Schedule(at["schedule"], schedule, oldSpec["schedule"u8].AsString().Contains("TZ", StringComparison.Ordinal), !spec["timeZone"u8].IsNullOrUndefined);
        at["startingDeadlineSeconds"].NonNegative(spec["startingDeadlineSeconds"u8]);
        if (!spec["timeZone"u8].Utf8.SequenceEqual(oldSpec["timeZone"u8].Utf8) || !oldSpec.IsDefined)
            TimeZone(at["timeZone"], spec["timeZone"u8]);
        at["concurrencyPolicy"].RequiredOneOf(spec["concurrencyPolicy"u8], ["Allow", "Forbid", "Replace"]);
        var job = spec["jobTemplate"u8]["spec"u8];
        var place = at["jobTemplate"]["spec"];
        Spec(place, job);
        if (!job["selector"u8].IsNullOrUndefined)
            place["selector"].InvalidMember(job, "selector", s_specType, "`selector` will be auto-generated");
        if (job["manualSelector"u8].AsBool())
            at.Check.Errors.AddRaw(FieldErrorType.NotSupported, place["manualSelector"].ToString(), "true", "supported values: \"nil\", \"false\"");
        at["successfulJobsHistoryLimit"].NonNegative(spec["successfulJobsHistoryLimit"u8]);
        at["failedJobsHistoryLimit"].NonNegative(spec["failedJobsHistoryLimit"u8]);
    }

    private static void Schedule(At at, string schedule, bool hadZone, bool hasTimeZone)
    {
        bool hasZone = schedule.Contains("TZ", StringComparison.Ordinal);
        if (CronSchedule.Problem(schedule) is { } problem)
            at.Invalid(schedule, problem);
        if (hadZone && hasZone && hasTimeZone)
            at.Invalid(schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        else if (!hadZone && hasZone)
            at.Invalid(schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    }

    private static void TimeZone(At at, ApiNode timeZone)
    {
        if (timeZone.IsNullOrUndefined)
            return;
        string name = timeZone.AsString();
        if (name.Length == 0)
            at.Invalid(name, "timeZone must be nil or non-empty string");
        else if (name.Equals("Local", StringComparison.OrdinalIgnoreCase))
            at.Invalid(name, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
        else if (name.Split('/').Any(static part => part is "." or ".." || part.StartsWith('-') || part.Length == 0) || !TimeZoneInfo.TryFindSystemTimeZoneById(name, out _))
            at.Invalid(name, $"unknown time zone {name}");
    }

    // Pods of an indexed job are named after it and their index.
    private static void HostnameOfLast(At at, ApiNode job)
    {
        if (!job["spec"u8]["completionMode"u8].Equals("Indexed"u8) || !job["spec"u8]["completions"u8].TryGetInt64(out long completions) || completions <= 0)
            return;
        string hostname = $"{job["metadata"u8]["name"u8].AsString()}-{completions - 1}";
        if (Formats.Problems(Format.Dns1123Label, hostname).Count > 0)
            at.Invalid(job["metadata"u8]["name"u8], $"will not able to create pod with invalid DNS label: {hostname}");
    }

    private static void GeneratedSelector(At at, ApiNode job)
    {
        var uid = job["metadata"u8]["uid"u8];
        var labels = job["spec"u8]["template"u8]["metadata"u8]["labels"u8];
        Label(at, labels, "batch.kubernetes.io/controller-uid", uid);
        Label(at, labels, "controller-uid", uid);
        Label(at, labels, "batch.kubernetes.io/job-name", job["metadata"u8]["name"u8]);
        Label(at, labels, "job-name", job["metadata"u8]["name"u8]);
        if (!SelectsOwnPods(job, job["spec"u8]["selector"u8]))
            at["spec"]["selector"].InvalidMember(job["spec"u8], "selector", s_specType, "`selector` not auto-generated");
    }

    // A generated selector asks for nothing but the labels that the job gives its pods.
    private static bool SelectsOwnPods(ApiNode job, ApiNode selector)
    {
        foreach (var label in selector["matchLabels"u8].Members)
        {
            bool isUid = label.Name.SequenceEqual("batch.kubernetes.io/controller-uid"u8) || label.Name.SequenceEqual("controller-uid"u8);
            bool isName = label.Name.SequenceEqual("batch.kubernetes.io/job-name"u8) || label.Name.SequenceEqual("job-name"u8);
            if (!isUid && !isName || !label.Value.Utf8.SequenceEqual(job["metadata"u8][isUid ? "uid"u8 : "name"u8].Utf8))
                return false;
        }
        return selector.Kind == NodeKind.Object;
    }

    private static void Label(At at, ApiNode labels, string key, ApiNode wanted)
    {
        var value = labels[System.Text.Encoding.ASCII.GetBytes(key)];
        var place = at["spec"]["template"]["metadata"]["labels"].Key(key);
        if (!value.IsDefined)
            place.Required($"must be '{wanted.AsString()}'");
        else if (!value.Utf8.SequenceEqual(wanted.Utf8))
            place.Invalid(labels, $"must be '{wanted.AsString()}'");
    }

    private static void SelectorAndTemplate(At at, ApiNode spec)
    {
        var selector = spec["selector"u8];
        var labels = spec["template"u8]["metadata"u8]["labels"u8];
        if (selector.Kind != NodeKind.Object)
            at["selector"].Required();
        else
            SelectorValidation.LabelSelector(at["selector"], selector);
        // No selector selects nothing.
        if (selector.Kind != NodeKind.Object || !SelectorValidation.Matches(selector, labels))
            at["template"]["metadata"]["labels"].InvalidMember(spec["template"u8]["metadata"u8], "labels", s_metaType, "`selector` does not match template `labels`");
    }

    private static void Indexed(At at, ApiNode spec, bool hasPerIndex, bool hasMaxFailed, long maxFailed)
    {
        bool hasCompletions = spec["completions"u8].TryGetInt64(out long completions);
        long parallelism = spec["parallelism"u8].AsInt64();
        if (!hasCompletions)
            at["completions"].Required("when completion mode is Indexed");
        if (parallelism > MaxIndexedParallelism)
            at["parallelism"].Invalid(parallelism, $"must be less than or equal to {MaxIndexedParallelism} when completion mode is Indexed");
        if (hasCompletions && hasMaxFailed && maxFailed > completions)
            at["maxFailedIndexes"].Invalid(maxFailed, "must be less than or equal to completions");
        if (hasMaxFailed && maxFailed > MaxFailedIndexes)
            at["maxFailedIndexes"].Invalid(maxFailed, $"must be less than or equal to {MaxFailedIndexes}");
        if (completions <= ManyCompletions || !hasPerIndex)
            return;
        string detail = $"when completions are above {ManyCompletions} and used with backoff limit per index";
        if (!hasMaxFailed)
            at["maxFailedIndexes"].Required($"must be specified when completions is above {ManyCompletions}");
        if (parallelism > MaxOfMany)
            at["parallelism"].Invalid(parallelism, $"must be less than or equal to {MaxOfMany} {detail}");
        if (hasMaxFailed && maxFailed > MaxOfMany)
            at["maxFailedIndexes"].Invalid(maxFailed, $"must be less than or equal to {MaxOfMany} {detail}");
    }

    private static void Spec(At at, ApiNode spec)
    {
        foreach (string field in (ReadOnlySpan<string>)["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes"])
            at[field].NonNegative(spec[System.Text.Encoding.ASCII.GetBytes(field)]);
        bool hasPerIndex = !spec["backoffLimitPerIndex"u8].IsNullOrUndefined;
        bool hasMaxFailed = spec["maxFailedIndexes"u8].TryGetInt64(out long maxFailed);
        if (hasMaxFailed && !hasPerIndex)
            at["backoffLimitPerIndex"].Required("when maxFailedIndexes is specified");
        if (!spec["managedBy"u8].IsNullOrUndefined)
        {
            NetworkingValidation.DomainPrefixedPath(at["managedBy"], spec["managedBy"u8]);
            if (spec["managedBy"u8].Utf8.Length > 63)
                at["managedBy"].TooLong(63);
        }
        at["completionMode"].OptionalOneOf(spec["completionMode"u8], ["NonIndexed", "Indexed"]);
        bool isIndexed = spec["completionMode"u8].Equals("Indexed"u8);
        if (isIndexed)
            Indexed(at, spec, hasPerIndex, hasMaxFailed, maxFailed);
        else if (spec["completionMode"u8].IsNullOrUndefined || spec["completionMode"u8].Equals("NonIndexed"u8))
        {
            if (hasPerIndex)
                at["backoffLimitPerIndex"].Invalid(spec["backoffLimitPerIndex"u8].AsInt64(), "requires indexed completion mode");
            if (hasMaxFailed)
                at["maxFailedIndexes"].Invalid(maxFailed, "requires indexed completion mode");
        }
        bool hasFailurePolicy = !spec["podFailurePolicy"u8].IsNullOrUndefined;
        if (hasFailurePolicy)
            JobPolicyValidation.Failure(at["podFailurePolicy"], spec);
        if (!spec["successPolicy"u8].IsNullOrUndefined)
        {
            if (isIndexed)
                JobPolicyValidation.Success(at["successPolicy"], spec);
            else
                at["successPolicy"].InvalidMember(spec, "successPolicy", s_specType, "requires indexed completion mode");
        }
        if (hasFailurePolicy)
            at["podReplacementPolicy"].OptionalOneOf(spec["podReplacementPolicy"u8], ["Failed"]);
        else
            at["podReplacementPolicy"].OptionalOneOf(spec["podReplacementPolicy"u8], ["Failed", "TerminatingOrFailed"]);
        PodValidation.Template(at["template"], spec["template"u8]);
        var restart = spec["template"u8]["spec"u8]["restartPolicy"u8];
        var place = at["template"]["spec"]["restartPolicy"];
        if (restart.Utf8.IsEmpty || restart.Equals("Always"u8))
            place.Required("valid values: \"OnFailure\", \"Never\"");
        else if (!restart.Equals("OnFailure"u8) && !restart.Equals("Never"u8))
            place.NotSupported(restart, ["OnFailure", "Never"]);
        else if (hasFailurePolicy && !restart.Equals("Never"u8))
            place.Invalid(restart, "only \"Never\" is supported when podFailurePolicy is specified");
    }
}
