using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet;

/// <summary>All that the node agent logs; event ids 8000 to 8999.</summary>
internal static partial class Log
{
    [LoggerMessage(8000, LogLevel.Information, "kubelet of node {Node} starting, runtime {Runtime} {Version}, cgroup v{CgroupVersion}")]
    internal static partial void Starting(ILogger logger, string node, string runtime, string version, int cgroupVersion);

    [LoggerMessage(8001, LogLevel.Warning, "container runtime is not answering yet: {Reason}")]
    internal static partial void RuntimeNotReady(ILogger logger, string reason);

    [LoggerMessage(8002, LogLevel.Warning, "log rotation failed: {Reason}")]
    internal static partial void LogRotationFailed(ILogger logger, string reason);

    [LoggerMessage(8003, LogLevel.Warning, "cgroup file {File} of {Cgroup} does not take {Value}: this limit is not enforced on this machine")]
    internal static partial void CgroupRefused(ILogger logger, string file, string cgroup, string value);

    [LoggerMessage(8004, LogLevel.Warning, "pod directory {Directory} cannot be removed yet: {Reason}")]
    internal static partial void PodDirectoryBusy(ILogger logger, string directory, string reason);

    [LoggerMessage(8005, LogLevel.Warning, "pod {Pod}: sync failed, tried again in {DelayMs} ms: {Reason}")]
    internal static partial void PodSyncFailed(ILogger logger, string pod, double delayMs, string reason);

    [LoggerMessage(8006, LogLevel.Error, "pod {Pod}: sync faulted")]
    internal static partial void PodSyncFaulted(ILogger logger, string pod, Exception exception);

    [LoggerMessage(8007, LogLevel.Warning, "pod {Pod}: status not written, tried again: {Reason}")]
    internal static partial void StatusWriteFailed(ILogger logger, string pod, string reason);

    [LoggerMessage(8008, LogLevel.Warning, "runtime cannot be listed: {Reason}")]
    internal static partial void RelistFailed(ILogger logger, string reason);

    [LoggerMessage(8009, LogLevel.Information, "cleaning up pod {PodUid}, which is not known any more")]
    internal static partial void CleaningOrphan(ILogger logger, string podUid);

    [LoggerMessage(8010, LogLevel.Warning, "clean-up of pod {PodUid} failed, tried again: {Reason}")]
    internal static partial void OrphanCleanupFailed(ILogger logger, string podUid, string reason);

    [LoggerMessage(8011, LogLevel.Information, "node {Node} registered")]
    internal static partial void NodeRegistered(ILogger logger, string node);

    [LoggerMessage(8012, LogLevel.Warning, "node {Node}: {What} failed, tried again: {Reason}")]
    internal static partial void NodeWriteFailed(ILogger logger, string node, string what, string reason);

    [LoggerMessage(8013, LogLevel.Warning, "static pod manifest {Path} is not used: {Reason}")]
    internal static partial void ManifestRefused(ILogger logger, string path, string reason);

    [LoggerMessage(8014, LogLevel.Warning, "mirror pod of {Pod} not written, tried again: {Reason}")]
    internal static partial void MirrorFailed(ILogger logger, string pod, string reason);

    [LoggerMessage(8015, LogLevel.Information, "kubelet API on {Address}:{Port}")]
    internal static partial void Listening(ILogger logger, string address, int port);

    [LoggerMessage(8016, LogLevel.Warning, "kubelet API request {Method} {Path} failed: {Reason}")]
    internal static partial void RequestFailed(ILogger logger, string method, string path, string reason);

    [LoggerMessage(8017, LogLevel.Error, "kubelet API request {Method} {Path} faulted")]
    internal static partial void RequestFaulted(ILogger logger, string method, string path, Exception exception);

    [LoggerMessage(8018, LogLevel.Warning, "garbage collection failed: {Reason}")]
    internal static partial void GarbageCollectionFailed(ILogger logger, string reason);

    [LoggerMessage(8019, LogLevel.Error, "{Loop} faulted and is started again")]
    internal static partial void LoopFaulted(ILogger logger, string loop, Exception exception);

    [LoggerMessage(8020, LogLevel.Information, "pod {Pod}: container {Container} is stopped: {Reason}")]
    internal static partial void StoppingContainer(ILogger logger, string pod, string container, string reason);

    [LoggerMessage(8021, LogLevel.Warning, "node runs short of {Resource} and eviction is not there yet: {Detail}")]
    internal static partial void PressureWithoutEviction(ILogger logger, string resource, string detail);

    [LoggerMessage(8022, LogLevel.Information, "runtime sends container events")]
    internal static partial void RuntimeEvents(ILogger logger);

    [LoggerMessage(8023, LogLevel.Information, "image {Image} of {SizeBytes} bytes removed: the disk is nearly full and nobody uses it")]
    internal static partial void ImageRemoved(ILogger logger, string image, ulong sizeBytes);
}
