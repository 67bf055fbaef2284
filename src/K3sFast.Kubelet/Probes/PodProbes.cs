using K3sFast.Client;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Probes;

/// <summary>
/// The probes of one pod's running containers. Owned by the pod's worker, which says after each look at the runtime which containers run;
/// a probe whose settled result changes wakes the worker.
/// </summary>
internal sealed class PodProbes(Prober prober, EventRecorder events, TimeProvider time, Action wake) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<(string ContainerId, ProbeType Type), Running> _running = [];
    private readonly CancellationTokenSource _stop = new();

    /// <summary>Starts probes of containers that run and have none yet, stops those of containers that do not run any more.</summary>
    /// <param name="isTerminating">A pod that is being stopped is asked for readiness only.</param>
    public void Update(V1Pod pod, IReadOnlyList<PodContainer> containers, PodRuntime runtime, string podIP, bool isTerminating)
    {
        var wanted = new HashSet<(string, ProbeType)>();
        foreach (var container in containers)
        {
            if (container.Role is ContainerRole.Init or ContainerRole.Ephemeral) continue;
            if (runtime.Latest(container.Name) is not { IsRunning: true } record) continue;
            foreach (var (type, probe) in ProbesOf(container.Spec))
            {
                if (isTerminating && type != ProbeType.Readiness && !HasStarted(record, type)) continue;
                wanted.Add((record.Id, type));
                Start(pod, container, record, type, probe, podIP);
            }
        }
        lock (_gate)
        {
            foreach (var (key, running) in _running)
            {
                if (wanted.Contains(key)) continue;
                running.Stop.Cancel();
                _running.Remove(key);
            }
        }
    }

    /// <summary>The settled result; null = the container has no such probe, or it has not begun.</summary>
    public ProbeResult? Result(string containerId, ProbeType type)
    {
        lock (_gate) return _running.TryGetValue((containerId, type), out var running) ? running.State.Result : null;
    }

    /// <summary>True once the container counts as started: it runs, and its startup probe, if any, has succeeded.</summary>
    public bool IsStarted(PodContainer container, ContainerRecord record) =>
        record.IsRunning && (container.Spec.StartupProbe is null || container.Role == ContainerRole.Init || Result(record.Id, ProbeType.Startup) == ProbeResult.Success);

    /// <summary>True when the container may get traffic.</summary>
    public bool IsReady(PodContainer container, ContainerRecord record) =>
        IsStarted(container, record) && (container.Spec.ReadinessProbe is null || Result(record.Id, ProbeType.Readiness) == ProbeResult.Success);

    public void Dispose()
    {
        _stop.Cancel();
        lock (_gate) _running.Clear();
    }

    // Over for long, and still what readiness rests on.
    private bool HasStarted(ContainerRecord record, ProbeType type) => type == ProbeType.Startup && Result(record.Id, type) == ProbeResult.Success;

    private static IEnumerable<(ProbeType Type, V1Probe Probe)> ProbesOf(V1Container spec)
    {
        if (spec.StartupProbe is { } startup) yield return (ProbeType.Startup, startup);
        if (spec.LivenessProbe is { } liveness) yield return (ProbeType.Liveness, liveness);
        if (spec.ReadinessProbe is { } readiness) yield return (ProbeType.Readiness, readiness);
    }

    private void Start(V1Pod pod, PodContainer container, ContainerRecord record, ProbeType type, V1Probe probe, string podIP)
    {
        lock (_gate)
        {
            if (_running.ContainsKey((record.Id, type))) return;
            var running = new Running(new ProbeState(type, probe), CancellationTokenSource.CreateLinkedTokenSource(_stop.Token));
            _running[(record.Id, type)] = running;
            _ = RunAsync(pod, container, record, type, probe, podIP, running);
        }
    }

    private async Task RunAsync(V1Pod pod, PodContainer container, ContainerRecord record, ProbeType type, V1Probe probe, string podIP, Running running)
    {
        var cancellationToken = running.Stop.Token;
        try
        {
            var firstAt = new DateTimeOffset(record.StartedAt, TimeSpan.Zero) + TimeSpan.FromSeconds(probe.InitialDelaySeconds ?? 0);
            var wait = firstAt - time.GetUtcNow();
            if (wait > TimeSpan.Zero) await Task.Delay(wait, time, cancellationToken).ConfigureAwait(false);
            else await Task.Yield();
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(Math.Max(probe.PeriodSeconds ?? 10, 1)), time);
            while (true)
            {
                if (MustProbe(container, record, type, running.State)) await ProbeOnceAsync(pod, container, record, type, probe, podIP, running, cancellationToken).ConfigureAwait(false);
                if (running.State.IsOnHold) return;
                if (type == ProbeType.Startup && running.State.Result == ProbeResult.Success) return;
                if (type == ProbeType.Readiness && container.Spec.StartupProbe is not null && Result(record.Id, ProbeType.Startup) is not ProbeResult.Success)
                {
                    // The startup probe's success shall show at once, not after a whole period.
                    await Task.Delay(TimeSpan.FromMilliseconds(100), time, cancellationToken).ConfigureAwait(false);
                    continue;
                }
                await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // The container or the pod is being stopped.
        }
    }

    // Until a container has started, only its startup probe says anything.
    private bool MustProbe(PodContainer container, ContainerRecord record, ProbeType type, ProbeState state) =>
        !state.IsOnHold && (type == ProbeType.Startup || IsStarted(container, record));

    private async Task ProbeOnceAsync(
        V1Pod pod, PodContainer container, ContainerRecord record, ProbeType type, V1Probe probe, string podIP, Running running, CancellationToken cancellationToken)
    {
        var (isSuccess, message) = await prober.ProbeAsync(probe, container.Spec, record.Id, podIP, cancellationToken).ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        if (!isSuccess) events.Warning(Resources.Pods, pod, "Unhealthy", $"{type} probe failed: {message}", container.FieldPath);
        bool hasChanged;
        lock (_gate) hasChanged = running.State.Add(isSuccess);
        if (hasChanged) wake();
    }

    private sealed record Running(ProbeState State, CancellationTokenSource Stop);
}
