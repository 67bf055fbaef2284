using Microsoft.Extensions.Logging;

namespace K3sFast.Scheduler;

/// <summary>Log events 7000-7999.</summary>
internal static partial class Log
{
    [LoggerMessage(7000, LogLevel.Information, "the scheduler runs: {Nodes} nodes, {Pods} pods placed, {Waiting} waiting")]
    internal static partial void Started(ILogger logger, int nodes, int pods, int waiting);

    [LoggerMessage(7001, LogLevel.Warning, "binding {Pod} to {Node} failed: {Message}")]
    internal static partial void BindFailed(ILogger logger, string pod, string node, string message);

    [LoggerMessage(7002, LogLevel.Error, "scheduling {Pod} failed")]
    internal static partial void CycleFailed(ILogger logger, string pod, Exception exception);

    [LoggerMessage(7003, LogLevel.Warning, "could not write the status of {Pod}: {Message}")]
    internal static partial void StatusFailed(ILogger logger, string pod, string message);

    [LoggerMessage(7004, LogLevel.Warning, "could not preempt {Pod}: {Message}")]
    internal static partial void PreemptionFailed(ILogger logger, string pod, string message);
}
