using Microsoft.Extensions.Logging;

namespace K3sFast;

/// <summary>Log lines of the executable: event ids 11000 to 11999.</summary>
internal static partial class Log
{
    [LoggerMessage(11000, LogLevel.Information, "Starting k3sfast {Version}")]
    public static partial void Starting(this ILogger log, string version);

    [LoggerMessage(11001, LogLevel.Information, "Adopted running containerd, pid {Pid}")]
    public static partial void ContainerdAdopted(this ILogger log, int pid);

    [LoggerMessage(11002, LogLevel.Information, "Replacing containerd, pid {Pid}: its configuration changed or it does not answer; containers go on")]
    public static partial void ContainerdReplaced(this ILogger log, int pid);

    [LoggerMessage(11003, LogLevel.Information, "Running containerd, pid {Pid}, on {Socket}")]
    public static partial void ContainerdStarted(this ILogger log, int pid, string socket);

    [LoggerMessage(11004, LogLevel.Information, "containerd is now running (after {Milliseconds} ms)")]
    public static partial void ContainerdReady(this ILogger log, long milliseconds);

    [LoggerMessage(11005, LogLevel.Error, "containerd, pid {Pid}, ended; starting it again")]
    public static partial void ContainerdDied(this ILogger log, int pid);

    [LoggerMessage(11006, LogLevel.Error, "containerd could not be started again; trying on")]
    public static partial void ContainerdRestartFailed(this ILogger log, Exception exception);

    [LoggerMessage(11007, LogLevel.Debug, "containerd stays in our cgroup")]
    public static partial void ContainerdCgroupFailed(this ILogger log, Exception exception);

    [LoggerMessage(11010, LogLevel.Information, "Imported images from {Path}: {Images} (took {Milliseconds} ms)")]
    public static partial void ImagesImported(this ILogger log, string path, string images, long milliseconds);

    [LoggerMessage(11011, LogLevel.Error, "Failed to import images from {Path}")]
    public static partial void ImageImportFailed(this ILogger log, string path, Exception exception);

    [LoggerMessage(11012, LogLevel.Debug, "Images of {Path} are already imported")]
    public static partial void ImagesUnchanged(this ILogger log, string path);

    [LoggerMessage(11013, LogLevel.Warning, "{Path}: lists of images to pull (*.txt) do nothing yet in k3sfast")]
    public static partial void ImageListIgnored(this ILogger log, string path);

    [LoggerMessage(11020, LogLevel.Information, "Kube API server is now running (after {Milliseconds} ms)")]
    public static partial void ApiReady(this ILogger log, long milliseconds);

    [LoggerMessage(11021, LogLevel.Information, "Wrote kubeconfig {Path}")]
    public static partial void KubeconfigWritten(this ILogger log, string path);

    [LoggerMessage(11022, LogLevel.Information, "Shutdown: stopping; containers go on")]
    public static partial void Stopping(this ILogger log);

    [LoggerMessage(11023, LogLevel.Information, "Starting {Component}")]
    public static partial void ComponentStarting(this ILogger log, string component);

    [LoggerMessage(11024, LogLevel.Warning, "{Component} ended by itself; starting it again")]
    public static partial void ComponentEnded(this ILogger log, string component);

    [LoggerMessage(11025, LogLevel.Error, "{Component} failed; starting it again in {Seconds} s")]
    public static partial void ComponentFailed(this ILogger log, string component, long seconds, Exception exception);

    [LoggerMessage(11026, LogLevel.Warning, "{Text}")]
    public static partial void Warning(this ILogger log, string text);

    [LoggerMessage(11030, LogLevel.Information, "Joined the cluster of {Server} (after {Milliseconds} ms)")]
    public static partial void Joined(this ILogger log, string server, long milliseconds);

    [LoggerMessage(11031, LogLevel.Information, "Waiting for server {Server}: {Reason}")]
    public static partial void WaitingForServer(this ILogger log, string server, string reason);

    [LoggerMessage(11032, LogLevel.Warning, "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. Use the full token from the server's node-token file to enable Cluster CA validation.")]
    public static partial void CaNotPinned(this ILogger log);

    [LoggerMessage(11033, LogLevel.Warning, "Cluster CA certificate is trusted by the host CA bundle. Token CA hash will not be validated.")]
    public static partial void CaTrustedByHost(this ILogger log);

    [LoggerMessage(11034, LogLevel.Information, "Certificates renewed, good until {Until}")]
    public static partial void CertificatesRenewed(this ILogger log, string until);

    [LoggerMessage(11035, LogLevel.Information, "Servers are now {Servers}")]
    public static partial void ServersKnown(this ILogger log, string servers);

    [LoggerMessage(11036, LogLevel.Debug, "Server {Address} cannot be reached: {Reason}")]
    public static partial void ServerUnreachable(this ILogger log, string address, string reason);

    [LoggerMessage(11040, LogLevel.Warning, "{Address} asked for {Path} without a token of this cluster")]
    public static partial void AgentRefused(this ILogger log, string address, string path);

    [LoggerMessage(11041, LogLevel.Information, "Node {Node} joins from {Address}")]
    public static partial void NodeJoins(this ILogger log, string node, string address);

    [LoggerMessage(11042, LogLevel.Error, "Node password rejected, duplicate hostname: node {Node} is known by another password (Secret kube-system/{Secret})")]
    public static partial void NodePasswordRejected(this ILogger log, string node, string secret);

    [LoggerMessage(11043, LogLevel.Warning, "The password of node {Node} could not be verified, and the node is let in: {Reason}")]
    public static partial void NodePasswordUnverified(this ILogger log, string node, string reason);

    [LoggerMessage(11050, LogLevel.Information, "The datastore was empty: this server's authorities are the cluster's, and lie there for the others")]
    public static partial void ClusterFounded(this ILogger log);

    [LoggerMessage(11051, LogLevel.Information, "The cluster's authorities were taken from the datastore")]
    public static partial void ClusterJoined(this ILogger log);
}
