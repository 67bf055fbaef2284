using System.Globalization;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Logs;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Server;

/// <summary>GET /containerLogs/{namespace}/{pod}/{container}: what <c>kubectl logs</c> reads.</summary>
internal sealed class ContainerLogHandler(PodManager pods, PodServices services)
{
    public async Task HandleAsync(KubeletRequest request, string namespaceName, string podName, string containerName)
    {
        var options = ParseOptions(request, services.Time.GetUtcNow());
        var worker = pods.Find(namespaceName, podName) ?? throw new KubeletRequestException(404, $"pod \"{podName}\" does not exist");
        var pod = worker.PodWithStatus;
        if (!PodContainer.Of(pod).Any(container => container.Name == containerName))
        {
            throw new KubeletRequestException(404, $"container \"{containerName}\" not found in pod \"{podName}\"");
        }
        var runtime = await services.Reader.ReadAsync(pod.Metadata.Uid, request.Aborted).ConfigureAwait(false);
        var record = Choose(pod, runtime, podName, containerName, request.QueryFlag("previous"));
        if (!File.Exists(record.LogPath)) throw new KubeletRequestException(500, $"failed to try resolving symlinks in path \"{record.LogPath}\": no such file");
        request.StatusCode = 200;
        request.SetHeader("Content-Type", "text/plain");
        await request.Output.FlushAsync(request.Aborted).ConfigureAwait(false);
        var output = request.Output.AsStream(leaveOpen: true);
        await ContainerLogReader.CopyAsync(record.LogPath, options, IsRunningAsync, output, request.Aborted).ConfigureAwait(false);

        // What the worker saw last is fresh enough: it is woken when the container ends.
        Task<bool> IsRunningAsync(CancellationToken cancellationToken) =>
            Task.FromResult(worker.Runtime.Latest(containerName) is not { } latest || latest.Id != record.Id ? IsListedRunning() : latest.IsRunning);

        bool IsListedRunning() => worker.Runtime.Containers.Any(candidate => candidate.Id == record.Id && candidate.IsRunning);
    }

    private static ContainerRecord Choose(V1Pod pod, PodRuntime runtime, string podName, string containerName, bool isPrevious)
    {
        var latest = runtime.Latest(containerName);
        if (isPrevious)
        {
            // While a restart is being waited for, the run that has just ended is the previous one.
            var isWaiting = Status(pod, containerName)?.State?.Waiting is not null;
            var previous = latest is { IsExited: true } && isWaiting ? latest : runtime.PreviousExited(containerName, latest);
            return previous ?? throw new KubeletRequestException(400, $"previous terminated container \"{containerName}\" in pod \"{podName}\" not found");
        }
        if (latest is { State: ContainerState.ContainerRunning or ContainerState.ContainerExited }) return latest;
        if (runtime.PreviousExited(containerName, latest) is { } last) return last;
        var reason = Status(pod, containerName)?.State?.Waiting?.Reason;
        throw new KubeletRequestException(400, reason switch
        {
            "ErrImagePull" => $"container \"{containerName}\" in pod \"{podName}\" is waiting to start: image can't be pulled",
            "ImagePullBackOff" => $"container \"{containerName}\" in pod \"{podName}\" is waiting to start: trying and failing to pull image",
            null or "" => $"container \"{containerName}\" in pod \"{podName}\" is waiting to start - no logs yet",
            _ => $"container \"{containerName}\" in pod \"{podName}\" is waiting to start: {reason}",
        });
    }

    private static V1ContainerStatus? Status(V1Pod pod, string name)
    {
        var status = pod.Status;
        return (status?.ContainerStatuses ?? []).Concat(status?.InitContainerStatuses ?? []).Concat(status?.EphemeralContainerStatuses ?? [])
            .FirstOrDefault(candidate => candidate.Name == name);
    }

    private static ContainerLogOptions ParseOptions(KubeletRequest request, DateTimeOffset now)
    {
        var since = Number(request, "sinceSeconds") is { } seconds ? now - TimeSpan.FromSeconds(seconds) : (DateTimeOffset?)null;
        if (request.Query("sinceTime") is { Length: > 0 } text)
        {
            if (!DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)) throw new KubeletRequestException(400, $"invalid sinceTime: {text}");
            since = time;
        }
        return new ContainerLogOptions
        {
            IsFollowing = request.QueryFlag("follow"),
            WithTimestamps = request.QueryFlag("timestamps"),
            TailLines = Number(request, "tailLines"),
            LimitBytes = Number(request, "limitBytes"),
            Since = since,
            Stream = request.Query("stream") switch { "Stdout" => "stdout", "Stderr" => "stderr", _ => null },
        };
    }

    private static long? Number(KubeletRequest request, string name)
    {
        var text = request.Query(name);
        if (text.Length == 0) return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : throw new KubeletRequestException(400, $"invalid {name}: {text}");
    }
}
