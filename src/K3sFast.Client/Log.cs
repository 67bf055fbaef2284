using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>Log events 5000-5999.</summary>
internal static partial class Log
{
    [LoggerMessage(5000, LogLevel.Debug, "watch of {Resource} expired, listing again: {Message}")]
    internal static partial void WatchExpired(ILogger logger, string resource, string message);

    [LoggerMessage(5001, LogLevel.Information, "watch of {Resource} failed, again in {DelayMs} ms: {Message}")]
    internal static partial void WatchFailed(ILogger logger, string resource, string message, double delayMs);

    [LoggerMessage(5002, LogLevel.Error, "informer of {Resource} faulted, listing again")]
    internal static partial void InformerFaulted(ILogger logger, string resource, Exception exception);

    [LoggerMessage(5003, LogLevel.Debug, "{Controller}: {Key} was changed by somebody else, trying again")]
    internal static partial void ReconcileConflict(ILogger logger, string controller, string key);

    [LoggerMessage(5004, LogLevel.Warning, "{Controller}: reconciling {Key} failed (attempt {Attempt})")]
    internal static partial void ReconcileFailed(ILogger logger, string controller, string key, int attempt, Exception exception);

    [LoggerMessage(5005, LogLevel.Warning, "too many events wait to be written: {Reason} about {Name} is dropped")]
    internal static partial void EventDropped(ILogger logger, string reason, string name);

    [LoggerMessage(5006, LogLevel.Information, "event {Reason} about {Name} could not be written: {Message}")]
    internal static partial void EventFailed(ILogger logger, string reason, string name, string message);

    [LoggerMessage(5010, LogLevel.Information, "leading {Lease} as {Identity}")]
    internal static partial void BecameLeader(ILogger logger, string lease, string identity);

    [LoggerMessage(5011, LogLevel.Warning, "no longer leading {Lease}, now held by \"{Holder}\": stopped, and waiting to lead again")]
    internal static partial void LostLeadership(ILogger logger, string lease, string holder);

    [LoggerMessage(5012, LogLevel.Warning, "asking for {Lease} failed: {Message}")]
    internal static partial void ElectionFailed(ILogger logger, string lease, string message);
}
