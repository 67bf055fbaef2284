using K3sFast.Client;
using K3sFast.Kubelet.Containers;
using k8s.Models;

namespace K3sFast.Kubelet.Pods;

/// <summary>How a pod ends: containers stopped in order, sandbox, final status, volumes and cgroup, then the API's object and the last traces.</summary>
internal sealed partial class PodWorker
{
    /// <summary>One pass; every step finds done what an earlier pass did. True = no trace is left.</summary>
    private async Task<bool> EndAsync(V1Pod pod, bool isRemoved, CancellationToken cancellationToken)
    {
        _isEnding = true;
        var containers = PodContainer.Of(pod);
        if (!_isCleanedUp)
        {
            Runtime = await _services.Reader.ReadAsync(pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
            // What is final in the API already was written by us, with messages that may not be on disk any more.
            var isSettled = pod.IsTerminal() && !Runtime.HasRunning;
            if (Runtime.HasRunning)
            {
                UpdateProbes(pod, containers, isTerminating: true);
                PublishStatus(pod, containers, isTerminal: false);
                await ReportWhileAsync(StopContainersAsync(pod, containers, isRemoved, cancellationToken), pod, containers, cancellationToken).ConfigureAwait(false);
            }
            foreach (var sandbox in Runtime.Sandboxes)
            {
                if (sandbox.IsReady) await _services.Cri.StopSandboxAsync(sandbox.Id, cancellationToken).ConfigureAwait(false);
            }
            Runtime = await _services.Reader.ReadAsync(pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
            if (Runtime.HasRunning) return false;
            _probes.Update(pod, containers, Runtime, "", isTerminating: true);
            if (!isSettled) PublishStatus(pod, containers, isTerminal: true);
            _services.Objects.Unregister(pod.Metadata.Uid);
            _services.Tokens.Forget(pod.Metadata.Uid);
            _services.Images.Forget(pod);
            _services.RestartBackOff.Forget(pod.Metadata.Uid + "/");
            var isClean = _services.Volumes.TryCleanUp(pod.Metadata.Uid);
            isClean &= _services.Cgroups.TryRemove(pod.Metadata.Uid);
            if (!isClean) return false;
            _isCleanedUp = true;
        }
        if (!isRemoved)
        {
            // An ended pod stays, with its logs, until somebody deletes it.
            if (pod.Metadata.DeletionTimestamp is null) return false;
            await _services.Statuses.FlushAsync(pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
            await DeleteFromApiAsync(pod, cancellationToken).ConfigureAwait(false);
        }
        await RemoveTracesAsync(pod, cancellationToken).ConfigureAwait(false);
        return true;
    }

    // While something is in the way the end is tried again soon; an ended pod that stays waits to be woken.
    private TimeSpan EndDelay() => _isCleanedUp ? TimeSpan.FromHours(1) : NextRetry();

    // A pod may take minutes to end, and whether it is still ready concerns who sends it traffic.
    private async Task ReportWhileAsync(Task stopping, V1Pod pod, IReadOnlyList<PodContainer> containers, CancellationToken cancellationToken)
    {
        using var isOver = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        while (!stopping.IsCompleted)
        {
            var woken = _signal.WaitAsync(isOver.Token);
            if (await Task.WhenAny(stopping, woken).ConfigureAwait(false) == woken && woken.IsCompletedSuccessfully)
            {
                PublishStatus(pod, containers, isTerminal: false);
                continue;
            }
            await isOver.CancelAsync().ConfigureAwait(false);
            await woken.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            break;
        }
        // What was taken here may have been about something else as well.
        Wake();
        await stopping.ConfigureAwait(false);
    }

    private async Task StopContainersAsync(V1Pod pod, IReadOnlyList<PodContainer> containers, bool isRemoved, CancellationToken cancellationToken)
    {
        var grace = ContainerRunner.GraceSeconds(pod);
        // Forced away from the API: nobody waits for a clean end any more.
        if (isRemoved && !IsStatic && pod.Metadata.DeletionTimestamp is null) grace = Math.Min(grace, 1);
        var order = new StopOrder(containers, Runtime, _services.Time);
        var stops = new List<Task>();
        foreach (var record in Runtime.Containers)
        {
            if (!record.IsRunning) continue;
            var container = containers.FirstOrDefault(candidate => candidate.Name == record.Name);
            stops.Add(StopOneAsync(pod, container, record, grace, order, cancellationToken));
        }
        _services.ExpectChanges();
        await Task.WhenAll(stops).ConfigureAwait(false);
    }

    private async Task StopOneAsync(V1Pod pod, PodContainer? container, ContainerRecord record, long grace, StopOrder order, CancellationToken cancellationToken)
    {
        try
        {
            Func<TimeSpan, Task> turn = left => order.WaitForTurnAsync(record.Name, left, cancellationToken);
            await _services.Runner.StopAsync(pod, container, record, null, grace, turn, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            order.MarkStopped(record.Name);
        }
    }

    private async Task DeleteFromApiAsync(V1Pod pod, CancellationToken cancellationToken)
    {
        if (IsStatic) return;
        try
        {
            var options = new V1DeleteOptions { GracePeriodSeconds = 0, Preconditions = new V1Preconditions { Uid = pod.Metadata.Uid } };
            await _services.Client.DeleteAsync(Resources.Pods, pod.Metadata.NamespaceProperty, pod.Metadata.Name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException e) when (e.IsNotFound || e.Code == 409)
        {
            // Deleted already, or the name belongs to another pod by now.
        }
    }

    private async Task RemoveTracesAsync(V1Pod pod, CancellationToken cancellationToken)
    {
        foreach (var record in Runtime.Containers) await _services.Cri.RemoveContainerAsync(record.Id, cancellationToken).ConfigureAwait(false);
        foreach (var sandbox in Runtime.Sandboxes) await _services.Cri.RemoveSandboxAsync(sandbox.Id, cancellationToken).ConfigureAwait(false);
        _services.Reader.Forget(Runtime);
        _services.Statuses.Forget(pod.Metadata.Uid);
        var logs = _services.Options.PodLogDir(pod.Metadata.NamespaceProperty, pod.Metadata.Name, pod.Metadata.Uid);
        if (Directory.Exists(logs)) Directory.Delete(logs, recursive: true);
    }

    /// <summary>Sidecars stop after the main containers, the last started first; each waits for its turn as long as grace lasts.</summary>
    private sealed class StopOrder(IReadOnlyList<PodContainer> containers, PodRuntime runtime, TimeProvider time)
    {
        private readonly Dictionary<string, TaskCompletionSource> _stopped = containers
            .Where(container => runtime.Latest(container.Name) is { IsRunning: true })
            .ToDictionary(container => container.Name, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

        public void MarkStopped(string name)
        {
            if (_stopped.TryGetValue(name, out var stopped)) stopped.TrySetResult();
        }

        public async Task WaitForTurnAsync(string name, TimeSpan left, CancellationToken cancellationToken)
        {
            var before = new List<Task>();
            var isLater = false;
            foreach (var container in containers)
            {
                if (container.Name == name)
                {
                    if (container.Role != ContainerRole.Sidecar) return;
                    isLater = true;
                    continue;
                }
                var goesFirst = container.Role == ContainerRole.Main || (container.Role == ContainerRole.Sidecar && isLater);
                if (goesFirst && _stopped.TryGetValue(container.Name, out var stopped)) before.Add(stopped.Task);
            }
            if (before.Count == 0 || left <= TimeSpan.Zero) return;
            try
            {
                await Task.WhenAll(before).WaitAsync(left, time, cancellationToken).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                // Grace is over: its turn is now.
            }
        }
    }
}
