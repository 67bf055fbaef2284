using Grpc.Core;
using K3sFast.ApiMachinery;
using K3sFast.Client;
using K3sFast.Kubelet.Containers;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Probes;
using K3sFast.Kubelet.Status;
using K3sFast.Kubelet.Volumes;
using k8s.Models;

namespace K3sFast.Kubelet.Pods;

/// <summary>
/// One pod from its first sight to its last trace: compares what the pod asks for with what the runtime has, and does the difference. Everything
/// runs on the worker's own loop; others only say that something has changed (<see cref="Update"/>, <see cref="Remove"/>, <see cref="Wake"/>).
/// State that must survive a restart is in the runtime and on disk, none is here.
/// </summary>
internal sealed partial class PodWorker
{
    // A settled pod is looked at this often even if nothing seems to happen: upstream's sync frequency.
    private static readonly TimeSpan s_resync = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan s_firstRetry = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_lastRetry = TimeSpan.FromSeconds(20);

    // Immutable after construction
    private readonly PodServices _services;
    private readonly PodProbes _probes;
    private readonly SemaphoreSlim _signal = new(0);

    // Guarded by _gate
    private readonly Lock _gate = new();
    private V1Pod _pod;
    private bool _isRemoved;
    private CancellationTokenSource? _syncing;

    // Owned by the loop
    private readonly Dictionary<string, WaitReason> _waitReasons = new(StringComparer.Ordinal);
    private PodFailure? _failure;
    private V1PodStatus? _status;
    private TimeSpan _retry = s_firstRetry;
    private bool _isEnding;
    private bool _isCleanedUp;

    public PodWorker(PodServices services, V1Pod pod, bool isStatic)
    {
        _services = services;
        _pod = pod;
        _status = pod.Status;
        IsStatic = isStatic;
        _probes = new PodProbes(services.Prober, services.Events, services.Time, Wake);
    }

    /// <summary>True for a pod from a manifest on this node.</summary>
    public bool IsStatic { get; }

    /// <summary>UID in the API; of a static pod: its mirror's, "" while there is none.</summary>
    public string ApiUid { get; set; } = "";

    /// <summary>The newest spec. Shared: not to be changed.</summary>
    public V1Pod Pod
    {
        get
        {
            lock (_gate) return _pod;
        }
    }

    /// <summary>True until every container is stopped for good: the pod still counts for the node's room.</summary>
    public bool IsActive => !_isCleanedUp && !Pod.IsTerminal();

    /// <summary>What the runtime had at the last look.</summary>
    public PodRuntime Runtime { get; private set; } = PodRuntime.Empty;

    /// <summary>The pod with the newest status, which the API may not have yet.</summary>
    public V1Pod PodWithStatus
    {
        get
        {
            var pod = Pod;
            return new V1Pod { ApiVersion = "v1", Kind = "Pod", Metadata = pod.Metadata, Spec = pod.Spec, Status = _status ?? pod.Status };
        }
    }

    /// <summary>The pod has a newer spec (or deletion mark).</summary>
    public void Update(V1Pod pod)
    {
        lock (_gate)
        {
            var wasEnding = MustEnd(_pod);
            var oldGrace = _pod.Metadata.DeletionGracePeriodSeconds ?? long.MaxValue;
            _pod = pod;
            // What goes on is cut short: a start, because the pod shall end; an end, because it shall come sooner.
            if (MustEnd(pod) && (!wasEnding || (pod.Metadata.DeletionGracePeriodSeconds ?? long.MaxValue) < oldGrace)) _syncing?.Cancel();
        }
        Wake();
    }

    /// <summary>The pod is gone from its source: it is stopped, and all traces are removed.</summary>
    public void Remove()
    {
        lock (_gate)
        {
            if (_isRemoved) return;
            _isRemoved = true;
            if (!_isEnding) _syncing?.Cancel();
        }
        Wake();
    }

    /// <summary>Something that the pod depends on has changed.</summary>
    public void Wake()
    {
        // More than one pending signal says nothing new.
        if (_signal.CurrentCount == 0) _signal.Release();
    }

    /// <summary>The pod is refused by this node: it fails without having run.</summary>
    public void Reject(PodFailure failure) => _failure = failure;

    /// <summary>Runs until the pod has left no trace, or until cancelled (containers then keep running).</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        try
        {
            var delay = TimeSpan.Zero;
            while (true)
            {
                if (delay > TimeSpan.Zero) await _signal.WaitAsync(delay, cancellationToken).ConfigureAwait(false);
                while (_signal.CurrentCount > 0) await _signal.WaitAsync(cancellationToken).ConfigureAwait(false);
                var (isGone, next) = await StepAsync(cancellationToken).ConfigureAwait(false);
                if (isGone) return;
                delay = next;
            }
        }
        finally
        {
            _probes.Dispose();
        }
    }

    private static bool MustEnd(V1Pod pod) => pod.Metadata.DeletionTimestamp is not null;

    private async Task<(bool IsGone, TimeSpan Next)> StepAsync(CancellationToken cancellationToken)
    {
        using var syncing = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        V1Pod pod;
        bool isRemoved;
        lock (_gate)
        {
            _syncing = syncing;
            (pod, isRemoved) = (_pod, _isRemoved);
        }
        try
        {
            var isEnding = isRemoved || MustEnd(pod) || _failure is not null || pod.IsTerminal() || _status?.Phase is "Succeeded" or "Failed";
            if (isEnding) return await EndAsync(pod, isRemoved, syncing.Token).ConfigureAwait(false) ? (true, default) : (false, EndDelay());
            var next = await SyncAsync(pod, syncing.Token).ConfigureAwait(false);
            _retry = s_firstRetry;
            return (false, next);
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            cancellationToken.ThrowIfCancellationRequested();
            // Cut short by an update: look again at once.
            return (false, TimeSpan.Zero);
        }
        catch (Exception e) when (e is RpcException or VolumeException or ApiException or HttpRequestException or IOException or UnauthorizedAccessException)
        {
            Log.PodSyncFailed(_services.Logger, pod.Describe(), _retry.TotalMilliseconds, e is RpcException rpc ? rpc.Status.Detail : e.Message);
            return (false, NextRetry());
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            // Our bug with this pod must not take the others down; it is tried again, slower each time.
            Log.PodSyncFaulted(_services.Logger, pod.Describe(), e);
            return (false, NextRetry());
        }
        finally
        {
            lock (_gate) _syncing = null;
        }
    }

    private TimeSpan NextRetry()
    {
        var retry = _retry;
        _retry = _retry * 2 < s_lastRetry ? _retry * 2 : s_lastRetry;
        return retry;
    }

    private async Task<TimeSpan> SyncAsync(V1Pod pod, CancellationToken cancellationToken)
    {
        var containers = PodContainer.Of(pod);
        _services.Objects.Register(pod);
        Runtime = await _services.Reader.ReadAsync(pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
        UpdateProbes(pod, containers, isTerminating: false);
        PublishStatus(pod, containers, isTerminal: false);
        if (IsPastDeadline(pod, out var untilDeadline))
        {
            _failure = new PodFailure("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
            _services.Events.Normal(Resources.Pods, pod, "DeadlineExceeded", _failure.Message);
            return TimeSpan.Zero;
        }
        var plan = PodPlan.Compute(pod, containers, Runtime, _probes);
        if (plan.IsOver || _status?.Phase is "Succeeded" or "Failed")
        {
            // What still runs (sidecars) ends with the pod.
            await EndAsync(pod, isRemoved: false, cancellationToken).ConfigureAwait(false);
            return TimeSpan.Zero;
        }
        if (!pod.IsHostNetwork() && plan.NeedsSandbox && _services.NetworkProblem() is { } problem)
        {
            _services.Events.Warning(Resources.Pods, pod, "NetworkNotReady", $"network is not ready: {problem}");
            return TimeSpan.FromSeconds(1);
        }
        _services.Cgroups.Apply(pod);
        MakeDirectories(pod);
        var context = Context(pod);
        var volumes = await MountVolumesAsync(pod, context, cancellationToken).ConfigureAwait(false);
        if (plan.Kills.Count == 0 && !plan.NeedsSandbox && plan.Starts.Count == 0) return await SettledAsync(pod, containers, untilDeadline, cancellationToken).ConfigureAwait(false);

        _services.ExpectChanges();
        await KillAsync(pod, plan, cancellationToken).ConfigureAwait(false);
        var (sandboxId, sandbox) = await EnsureSandboxAsync(pod, containers, plan, cancellationToken).ConfigureAwait(false);
        if (plan.NeedsSandbox)
        {
            context = Context(pod);
            // Addresses are known now: files and variables that show them are written with them.
            volumes = await MountVolumesAsync(pod, context, cancellationToken).ConfigureAwait(false);
        }
        var next = await StartAsync(pod, plan, sandboxId, sandbox, context, volumes, cancellationToken).ConfigureAwait(false);
        _services.ExpectChanges();
        Runtime = await _services.Reader.ReadAsync(pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
        UpdateProbes(pod, containers, isTerminating: false);
        PublishStatus(pod, containers, isTerminal: false);
        return Shorter(next, untilDeadline);
    }

    private async Task<TimeSpan> SettledAsync(V1Pod pod, IReadOnlyList<PodContainer> containers, TimeSpan untilDeadline, CancellationToken cancellationToken)
    {
        await PruneAsync(containers, cancellationToken).ConfigureAwait(false);
        var next = Shorter(s_resync, untilDeadline);
        if (_services.Tokens.NextRenewal(pod.Metadata.Uid) is { } renewal) next = Shorter(next, renewal - _services.Time.GetUtcNow());
        return next;
    }

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b)
    {
        var shorter = a < b ? a : b;
        // A moment that has just passed must not become a tight loop.
        return shorter < TimeSpan.FromMilliseconds(10) ? TimeSpan.FromMilliseconds(10) : shorter;
    }

    private bool IsPastDeadline(V1Pod pod, out TimeSpan left)
    {
        left = TimeSpan.MaxValue;
        if (pod.Spec.ActiveDeadlineSeconds is not { } seconds || _status?.StartTime is not { } started) return false;
        left = started.ToUniversalTime() + TimeSpan.FromSeconds(seconds) - _services.Time.GetUtcNow().UtcDateTime;
        return left <= TimeSpan.Zero;
    }

    private PodContext Context(V1Pod pod)
    {
        var (hostname, domain) = SandboxConfigBuilder.Hostname(pod, _services.Options);
        var podIPs = pod.IsHostNetwork() ? _services.HostIPs : Runtime.Sandbox?.IPs ?? [];
        return new PodContext(podIPs, _services.HostIPs, hostname, domain, _services.Machine.Allocatable);
    }

    private void MakeDirectories(V1Pod pod)
    {
        var directory = _services.Options.PodDir(pod.Metadata.Uid);
        foreach (var name in (ReadOnlySpan<string>)["volumes", "plugins", "containers"]) Directory.CreateDirectory(Path.Combine(directory, name));
        Directory.CreateDirectory(_services.Options.PodLogDir(pod.Metadata.NamespaceProperty, pod.Metadata.Name, pod.Metadata.Uid));
    }

    private async Task<Dictionary<string, PodVolume>> MountVolumesAsync(V1Pod pod, PodContext context, CancellationToken cancellationToken)
    {
        try
        {
            return await _services.Volumes.MountAsync(pod, context, cancellationToken).ConfigureAwait(false);
        }
        catch (VolumeException e)
        {
            _services.Events.Warning(Resources.Pods, pod, "FailedMount", e.Message);
            throw;
        }
    }

    private async Task KillAsync(V1Pod pod, PodPlan plan, CancellationToken cancellationToken)
    {
        var stops = new List<Task>();
        foreach (var kill in plan.Kills)
        {
            Log.StoppingContainer(_services.Logger, pod.Describe(), kill.Container.Name, kill.Message);
            var grace = ContainerRunner.GraceSeconds(pod, kill.Container, kill.Probe);
            stops.Add(_services.Runner.StopAsync(pod, kill.Container, kill.Record, kill.Message, grace, null, cancellationToken));
        }
        await Task.WhenAll(stops).ConfigureAwait(false);
    }

    private async Task<(string Id, PodSandboxConfig Config)> EnsureSandboxAsync(
        V1Pod pod, IReadOnlyList<PodContainer> containers, PodPlan plan, CancellationToken cancellationToken)
    {
        var options = _services.Options;
        if (!plan.NeedsSandbox) return (Runtime.Sandbox!.Id, SandboxConfigBuilder.Build(pod, Runtime.Sandbox.Attempt, options, _services.Cgroups));
        foreach (var old in Runtime.Sandboxes) await _services.Cri.StopSandboxAsync(old.Id, cancellationToken).ConfigureAwait(false);
        var config = SandboxConfigBuilder.Build(pod, SandboxConfigBuilder.NextAttempt(Runtime), options, _services.Cgroups);
        string id;
        try
        {
            id = await _services.Cri.RunSandboxAsync(config, "", cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            _services.Events.Warning(
                Resources.Pods, pod, "FailedCreatePodSandBox", $"Failed to create pod sandbox: rpc error: code = {e.StatusCode} desc = {e.Status.Detail}");
            throw;
        }
        Runtime = await _services.Reader.ReadAsync(pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
        PublishStatus(pod, containers, isTerminal: false);
        return (id, config);
    }

    private async Task<TimeSpan> StartAsync(
        V1Pod pod, PodPlan plan, string sandboxId, PodSandboxConfig sandbox, PodContext context, Dictionary<string, PodVolume> volumes, CancellationToken cancellationToken)
    {
        // Soon: a start that worked is followed by a look at what came of it.
        var next = s_resync;
        foreach (var container in plan.Starts)
        {
            var record = Runtime.Latest(container.Name);
            if (IsBackingOff(pod, container, record, out var wait))
            {
                next = Shorter(next, wait);
                continue;
            }
            try
            {
                if (IsUnstarted(record)) await RemoveAsync(record!, cancellationToken).ConfigureAwait(false);
                await _services.Runner.StartAsync(
                    pod, container, Runtime, sandboxId, sandbox, context, volumes, RestartCount(container, record), cancellationToken).ConfigureAwait(false);
                _waitReasons.Remove(container.Name);
            }
            catch (ContainerException e)
            {
                _waitReasons[container.Name] = new WaitReason(e.Reason, e.Message);
                var delay = e.Reason is "ErrImagePull" or "ImagePullBackOff" ? _services.Images.RetryDelay(pod, container.Spec.Image) : NextRetry();
                next = Shorter(next, delay < s_firstRetry ? s_firstRetry : delay);
            }
        }
        return next;
    }

    // After an exit, the second restart and later ones wait; the first does not.
    private bool IsBackingOff(V1Pod pod, PodContainer container, ContainerRecord? record, out TimeSpan wait)
    {
        wait = TimeSpan.Zero;
        if (record is not { IsExited: true }) return false;
        var key = $"{pod.Metadata.Uid}/{container.Name}/{container.Hash}";
        var ended = new DateTimeOffset(DateTime.SpecifyKind(record.FinishedAt, DateTimeKind.Utc));
        wait = _services.RestartBackOff.Remaining(key, ended);
        if (wait <= TimeSpan.Zero)
        {
            _services.RestartBackOff.Next(key, ended);
            return false;
        }
        if (!_waitReasons.TryGetValue(container.Name, out var known) || known.Reason != "CrashLoopBackOff")
        {
            _services.Events.Warning(
                Resources.Pods, pod, "BackOff", $"Back-off restarting failed container {container.Name} in pod {pod.Describe()}", container.FieldPath);
        }
        _waitReasons[container.Name] = new WaitReason(
            "CrashLoopBackOff",
            $"back-off {GoDuration.Format(_services.RestartBackOff.Current(key))} restarting failed container={container.Name} pod={pod.Describe()}");
        return true;
    }

    private int RestartCount(PodContainer container, ContainerRecord? record)
    {
        if (record is not null) return IsUnstarted(record) ? record.RestartCount : record.RestartCount + 1;
        var old = (container.IsInit ? _status?.InitContainerStatuses : _status?.ContainerStatuses)?.FirstOrDefault(status => status.Name == container.Name);
        if (old is null) return 0;
        return string.IsNullOrEmpty(old.ContainerID) && old.LastState?.Terminated is null ? 0 : old.RestartCount + (old.State?.Waiting is null ? 1 : 0);
    }

    // Made by a process that was killed before it could start it: not a run, so its place is taken by another of the same count.
    private static bool IsUnstarted(ContainerRecord? record) => record is { State: ContainerState.ContainerCreated };

    private async Task RemoveAsync(ContainerRecord record, CancellationToken cancellationToken)
    {
        await _services.Cri.RemoveContainerAsync(record.Id, cancellationToken).ConfigureAwait(false);
        _services.Reader.Forget(record);
    }

    private void UpdateProbes(V1Pod pod, IReadOnlyList<PodContainer> containers, bool isTerminating)
    {
        var ip = pod.IsHostNetwork() ? _services.Options.PrimaryIP : Runtime.Sandbox?.IPs is [var first, ..] ? first : _status?.PodIP ?? "";
        _probes.Update(pod, containers, Runtime, ip, isTerminating);
    }

    private void PublishStatus(V1Pod pod, IReadOnlyList<PodContainer> containers, bool isTerminal)
    {
        _status = PodStatusBuilder.Build(new PodStatusInput
        {
            Pod = pod,
            Containers = containers,
            Runtime = Runtime,
            Previous = _status,
            Probes = _probes,
            WaitReasons = _waitReasons,
            HostIPs = _services.HostIPs,
            Now = _services.Time.GetUtcNow().UtcDateTime,
            IsTerminal = isTerminal,
            IsStatic = IsStatic,
            Failure = _failure,
        });
        _services.Statuses.Set(pod, IsStatic ? ApiUid : pod.Metadata.Uid, _status);
    }

    // One ended run per container is kept for its log and last state, as upstream's collector does; what is older goes, with its log.
    private async Task PruneAsync(IReadOnlyList<PodContainer> containers, CancellationToken cancellationToken)
    {
        var kept = new HashSet<string>(StringComparer.Ordinal);
        var hasRemoved = false;
        foreach (var record in Runtime.Containers)
        {
            if (record.IsRunning) continue;
            var isCurrent = Runtime.Latest(record.Name)?.Id == record.Id;
            if (isCurrent || (record.IsExited && kept.Add(record.Name) && containers.Any(container => container.Name == record.Name))) continue;
            await RemoveAsync(record, cancellationToken).ConfigureAwait(false);
            if (record.LogPath.Length > 0) File.Delete(record.LogPath);
            hasRemoved = true;
        }
        foreach (var sandbox in Runtime.Sandboxes)
        {
            if (sandbox.IsReady || sandbox.Id == Runtime.Sandbox!.Id || Runtime.Containers.Any(record => record.SandboxId == sandbox.Id)) continue;
            await _services.Cri.RemoveSandboxAsync(sandbox.Id, cancellationToken).ConfigureAwait(false);
            hasRemoved = true;
        }
        if (hasRemoved) Runtime = await _services.Reader.ReadAsync(Pod.Metadata.Uid, cancellationToken).ConfigureAwait(false);
    }
}
