using System.Globalization;
using K3sFast.Client;
using k8s.Models;

namespace K3sFast.Controllers;

/// <summary>Starts jobs by a schedule, one at a time or side by side as told, and keeps the last few of them. It sleeps until the next start.</summary>
internal sealed class CronJobController : Controller
{
    // More missed starts than this and the clock is suspected (upstream).
    private const int MaxMissed = 100;

    private readonly ControllerContext _context;
    private readonly ApiClient _client;
    private readonly EventRecorder _events;
    private readonly Informer<V1CronJob> _crons;
    private readonly Informer<V1Job> _jobs;
    private readonly WorkQueue<ObjectKey> _queue;

    internal CronJobController(ControllerContext context) : base("cronjob-controller")
    {
        (_context, _client, _queue) = (context, context.ClientFor(Name), context.Queue<ObjectKey>());
        _events = context.Recorder(_client, Name);
        _crons = context.Informers.Get(Resources.CronJobs);
        _crons.AddHandler(cron => _queue.Add(ObjectKey.Of(cron)));
        _jobs = context.Informers.Get(Resources.Jobs);
        _jobs.AddIndex(PodIndex.ByController, Owners.ControllerKeys);
        _jobs.AddHandler(job =>
        {
            if (Owners.Resolve(_crons, job.Metadata.NamespaceProperty, Owners.ControllerOf(job)) is { } owner) _queue.Add(ObjectKey.Of(owner));
        });
    }

    internal override Task RunAsync(CancellationToken cancellationToken) => _context.ReconcileAsync(Name, _queue, ReconcileAsync, 2, cancellationToken);

    private async ValueTask ReconcileAsync(ObjectKey key, CancellationToken cancellationToken)
    {
        if (_crons.Get(key) is not { } cron) return;
        var jobs = _jobs.ByIndex(PodIndex.ByController, cron.Metadata.Uid);
        await CleanUpAsync(cron, jobs, cancellationToken).ConfigureAwait(false);
        var status = Observe(cron, jobs);
        if (cron.Metadata.DeletionTimestamp is null && cron.Spec.Suspend != true)
        {
            status = await StartAsync(key, cron, status, cancellationToken).ConfigureAwait(false);
        }
        if (cron.Status is not null && ModelJson.Serialize(cron.Status).AsSpan().SequenceEqual(ModelJson.Serialize(status))) return;
        await _client.UpdateStatusAsync(Resources.CronJobs, cron with { Status = status }, cancellationToken).ConfigureAwait(false);
    }

    // Which of its jobs run, and when one last succeeded.
    private V1CronJobStatus Observe(V1CronJob cron, List<V1Job> jobs)
    {
        var status = cron.Status ?? new V1CronJobStatus();
        var active = new List<V1ObjectReference>();
        var lastSuccess = status.LastSuccessfulTime;
        foreach (var job in jobs.OrderBy(static job => job.Metadata.Name, StringComparer.Ordinal))
        {
            var end = Finished(job);
            if (end is null)
            {
                active.Add(EventRecorder.Reference(Resources.Jobs, job) with { ResourceVersion = null });
                continue;
            }
            if (cron.Status?.Active?.Any(reference => reference.Uid == job.Metadata.Uid) == true)
            {
                _events.Normal(Resources.CronJobs, cron, "SawCompletedJob", $"Saw completed job: {job.Metadata.Name}, condition: {end.Type}");
            }
            if (end.Type == "Complete" && job.Status.CompletionTime is { } completed && (lastSuccess is null || completed > lastSuccess)) lastSuccess = completed;
        }
        return status with { Active = active.Count == 0 ? null : active, LastSuccessfulTime = lastSuccess };
    }

    private async Task<V1CronJobStatus> StartAsync(ObjectKey key, V1CronJob cron, V1CronJobStatus status, CancellationToken cancellationToken)
    {
        CronSchedule schedule;
        try
        {
            schedule = CronSchedule.Parse(cron.Spec.Schedule, cron.Spec.TimeZone);
        }
        catch (FormatException wrong)
        {
            _events.Warning(Resources.CronJobs, cron, "UnparseableSchedule", $"unparseable schedule: {cron.Spec.Schedule} : {wrong.Message}");
            return status;
        }
        var now = _context.Now;
        var earliest = status.LastScheduleTime ?? cron.Metadata.CreationTimestamp ?? now;
        if (cron.Spec.StartingDeadlineSeconds is { } deadline && now.AddSeconds(-deadline) > earliest) earliest = now.AddSeconds(-deadline);
        DateTime? due = null;
        var missed = 0;
        for (var time = schedule.Next(earliest); time <= now && missed <= MaxMissed; time = schedule.Next(time.Value)) (due, missed) = (time, missed + 1);
        if (missed > MaxMissed)
        {
            _events.Warning(Resources.CronJobs, cron, "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
            // Only the latest is made up for, found from shortly before now.
            for (var time = schedule.Next(now.AddDays(-1)); time <= now; time = schedule.Next(time.Value)) due = time;
        }
        if (schedule.Next(now) is { } next) _queue.AddAfter(key, next - _context.Time.GetUtcNow().UtcDateTime + TimeSpan.FromMilliseconds(100));
        if (due is not { } scheduled) return status;
        if (status.Active is { Count: > 0 } active)
        {
            if (cron.Spec.ConcurrencyPolicy == "Forbid")
            {
                _events.Normal(Resources.CronJobs, cron, "JobAlreadyActive", "Not starting job because prior execution is running and concurrency policy is Forbid");
                return status;
            }
            if (cron.Spec.ConcurrencyPolicy == "Replace")
            {
                foreach (var job in active) await DeleteAsync(cron, key.Namespace, job.Name, cancellationToken).ConfigureAwait(false);
                status = status with { Active = null };
            }
        }
        var created = await CreateAsync(cron, scheduled, cancellationToken).ConfigureAwait(false);
        if (created is null) return status;
        var references = (status.Active ?? []).Where(reference => reference.Uid != created.Metadata.Uid);
        return status with { Active = [.. references, EventRecorder.Reference(Resources.Jobs, created) with { ResourceVersion = null }], LastScheduleTime = scheduled };
    }

    private async Task<V1Job?> CreateAsync(V1CronJob cron, DateTime scheduled, CancellationToken cancellationToken)
    {
        // The scheduled minute is part of the name: a start is made once, whoever tries.
        var minute = (long)(scheduled - DateTime.UnixEpoch).TotalMinutes;
        var template = cron.Spec.JobTemplate;
        var annotations = new Dictionary<string, string>(template.Metadata?.Annotations ?? new Dictionary<string, string>())
        {
            ["batch.kubernetes.io/cronjob-scheduled-timestamp"] = scheduled.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture),
        };
        var job = new V1Job
        {
            Metadata = new V1ObjectMeta
            {
                Name = string.Create(CultureInfo.InvariantCulture, $"{cron.Metadata.Name}-{minute}"),
                NamespaceProperty = cron.Metadata.NamespaceProperty,
                Labels = template.Metadata?.Labels,
                Annotations = annotations,
                CreationTimestamp = null,
                OwnerReferences = [Owners.Reference(Resources.CronJobs, cron)],
            },
            Spec = template.Spec,
        };
        try
        {
            var created = await _client.CreateAsync(Resources.Jobs, job, cancellationToken).ConfigureAwait(false);
            _events.Normal(Resources.CronJobs, cron, "SuccessfulCreate", $"Created job {created.Metadata.Name}");
            return created;
        }
        catch (ApiException exists) when (exists.IsAlreadyExists)
        {
            var other = await _client.FindAsync(Resources.Jobs, cron.Metadata.NamespaceProperty, job.Metadata.Name, cancellationToken).ConfigureAwait(false);
            return other is not null && Owners.IsControlledBy(other, cron) ? other : null;
        }
        catch (ApiException refused) when (refused.IsNamespaceTerminating)
        {
            return null;
        }
        catch (ApiException refused)
        {
            _events.Warning(Resources.CronJobs, cron, "FailedCreate", $"Error creating job: {refused.Message}");
            throw;
        }
    }

    private async Task CleanUpAsync(V1CronJob cron, List<V1Job> jobs, CancellationToken cancellationToken)
    {
        foreach (var (type, limit) in ((string, int?)[])[("Complete", cron.Spec.SuccessfulJobsHistoryLimit), ("Failed", cron.Spec.FailedJobsHistoryLimit)])
        {
            if (limit is not { } kept) continue;
            var ended = jobs.Where(job => Finished(job)?.Type == type && job.Metadata.DeletionTimestamp is null)
                .OrderBy(static job => job.Status.StartTime).ThenBy(static job => job.Metadata.Name, StringComparer.Ordinal).ToList();
            foreach (var job in ended.Take(Math.Max(0, ended.Count - kept)))
            {
                await DeleteAsync(cron, job.Metadata.NamespaceProperty, job.Metadata.Name, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private async Task DeleteAsync(V1CronJob cron, string namespaceName, string name, CancellationToken cancellationToken)
    {
        try
        {
            var options = new V1DeleteOptions { ApiVersion = "v1", Kind = "DeleteOptions", PropagationPolicy = "Background" };
            await _client.DeleteAsync(Resources.Jobs, namespaceName, name, cancellationToken, options).ConfigureAwait(false);
            _events.Normal(Resources.CronJobs, cron, "SuccessfulDelete", $"Deleted job {name}");
        }
        catch (ApiException gone) when (gone.IsNotFound)
        {
            // That was the aim.
        }
    }

    private static V1JobCondition? Finished(V1Job job) =>
        job.Status?.Conditions?.FirstOrDefault(static condition => condition is { Type: "Complete" or "Failed", Status: "True" });
}
