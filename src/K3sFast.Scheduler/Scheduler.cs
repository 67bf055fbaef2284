using K3sFast.Client;
using Microsoft.Extensions.Logging;

namespace K3sFast.Scheduler;

/// <summary>kube-scheduler's place: finds a node for each pending pod.</summary>
public sealed class Scheduler
{
    /// <summary>A scheduler that acts as system:kube-scheduler.</summary>
    public Scheduler(SchedulerOptions options, ApiClient client, ILoggerFactory loggers, TimeProvider? time = null)
    {
        _ = (options, client, loggers, time);
    }

    /// <summary>Runs until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => throw new NotSupportedException("the scheduler is not there yet");
}
