using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Probes;
using k8s.Models;

namespace K3sFast.Kubelet.Pods;

/// <summary>A container that must be stopped, and why.</summary>
internal sealed record ContainerKill(PodContainer Container, ContainerRecord Record, string Message, ProbeType? Probe = null);

/// <summary>What has to be done so that the runtime has what the pod asks for. Made by <see cref="Compute"/>, carried out by the pod's worker.</summary>
internal sealed class PodPlan
{
    /// <summary>Everything has ended and nothing will start: the pod is over.</summary>
    public bool IsOver { get; private set; }

    /// <summary>A sandbox must be made; all containers of older ones are stopped first.</summary>
    public bool NeedsSandbox { get; private set; }

    /// <summary>Containers that must be stopped.</summary>
    public List<ContainerKill> Kills { get; } = [];

    /// <summary>Containers to start, in order.</summary>
    public List<PodContainer> Starts { get; } = [];

    /// <summary>Looks at what runs. Pure.</summary>
    public static PodPlan Compute(V1Pod pod, IReadOnlyList<PodContainer> containers, PodRuntime runtime, PodProbes probes)
    {
        var plan = new PodPlan();
        var policy = pod.RestartPolicyOrDefault();
        var hasSandbox = runtime.Sandbox is { IsReady: true } sandbox && (pod.IsHostNetwork() || sandbox.IPs.Count > 0);
        if (!hasSandbox)
        {
            plan.ForNewSandbox(containers, runtime, policy);
            return plan;
        }
        plan.Ephemeral(containers, runtime);
        var hasMain = containers.Any(container => container.Role == ContainerRole.Main && runtime.Latest(container.Name)?.SandboxId == runtime.Sandbox?.Id);
        var isInitialized = hasMain ? plan.Sidecars(containers, runtime, probes) : plan.Initialize(containers, runtime, policy, probes);
        if (isInitialized && !plan.IsOver) plan.Main(containers, runtime, policy, probes);
        return plan;
    }

    private void ForNewSandbox(IReadOnlyList<PodContainer> containers, PodRuntime runtime, string policy)
    {
        // A pod whose containers have all run, and none of which starts again, needs no new sandbox.
        var hasRunBefore = runtime.Containers.Count > 0;
        var isAnyLeft = false;
        foreach (var container in containers)
        {
            if (container.Role != ContainerRole.Main) continue;
            var record = runtime.Latest(container.Name);
            isAnyLeft |= record is null ? !hasRunBefore || policy != "Never" : !record.IsExited || container.RestartsAfter(record.ExitCode, policy);
        }
        if (!isAnyLeft)
        {
            IsOver = true;
            return;
        }
        NeedsSandbox = true;
        foreach (var container in containers)
        {
            if (runtime.Latest(container.Name) is { IsRunning: true } running) Kills.Add(new ContainerKill(container, running, "Pod sandbox changed, it will be killed and re-created."));
        }
        // A new sandbox begins with the first init container; without one, all that is to run starts.
        var first = containers.FirstOrDefault(container => container.IsInit);
        if (first is not null)
        {
            Starts.Add(first);
            return;
        }
        foreach (var container in containers)
        {
            if (container.Role != ContainerRole.Main) continue;
            if (runtime.Latest(container.Name) is not { IsExited: true } ended || container.RestartsAfter(ended.ExitCode, policy)) Starts.Add(container);
        }
    }

    private void Ephemeral(IReadOnlyList<PodContainer> containers, PodRuntime runtime)
    {
        foreach (var container in containers)
        {
            if (container.Role == ContainerRole.Ephemeral && runtime.Latest(container.Name) is null) Starts.Add(container);
        }
    }

    // Main containers run already: sidecars are kept running, init containers are history.
    private bool Sidecars(IReadOnlyList<PodContainer> containers, PodRuntime runtime, PodProbes probes)
    {
        foreach (var container in containers)
        {
            if (container.Role != ContainerRole.Sidecar) continue;
            var record = runtime.Latest(container.Name);
            if (record is not { IsRunning: true })
            {
                Starts.Add(container);
                continue;
            }
            KillIfNeeded(container, record, probes);
        }
        return true;
    }

    // True once main containers may start.
    private bool Initialize(IReadOnlyList<PodContainer> containers, PodRuntime runtime, string policy, PodProbes probes)
    {
        // What a former sandbox left behind does not count: a pod is initialized anew with each one.
        foreach (var container in containers)
        {
            if (!container.IsInit) continue;
            var record = runtime.Latest(container.Name);
            if (record is not null && record.SandboxId != runtime.Sandbox!.Id) record = null;
            if (record is null || record.State is ContainerState.ContainerCreated or ContainerState.ContainerUnknown)
            {
                Starts.Add(container);
                return false;
            }
            if (record.IsRunning)
            {
                if (container.Role == ContainerRole.Init) return false;
                if (KillIfNeeded(container, record, probes) || !probes.IsStarted(container, record)) return false;
                continue;
            }
            if (container.Role == ContainerRole.Init && record.ExitCode == 0) continue;
            if (container.RestartsAfter(record.ExitCode, policy)) Starts.Add(container);
            else IsOver = true;
            return false;
        }
        return true;
    }

    private void Main(IReadOnlyList<PodContainer> containers, PodRuntime runtime, string policy, PodProbes probes)
    {
        var active = 0;
        foreach (var container in containers)
        {
            if (container.Role != ContainerRole.Main) continue;
            var record = runtime.Latest(container.Name);
            if (record is { IsRunning: true })
            {
                active++;
                KillIfNeeded(container, record, probes);
                continue;
            }
            if (record is { IsExited: true } && !container.RestartsAfter(record.ExitCode, policy)) continue;
            active++;
            Starts.Add(container);
        }
        if (active > 0) return;
        IsOver = true;
        Starts.Clear();
    }

    private bool KillIfNeeded(PodContainer container, ContainerRecord record, PodProbes probes)
    {
        var word = container.IsInit ? "Init container" : "Container";
        ContainerKill? kill = null;
        if (record.Hash.Length > 0 && record.Hash != container.Hash) kill = new(container, record, $"{word} {container.Name} definition changed, will be restarted");
        else if (probes.Result(record.Id, ProbeType.Liveness) == ProbeResult.Failure) kill = new(container, record, $"{word} {container.Name} failed liveness probe, will be restarted", ProbeType.Liveness);
        else if (probes.Result(record.Id, ProbeType.Startup) == ProbeResult.Failure) kill = new(container, record, $"{word} {container.Name} failed startup probe, will be restarted", ProbeType.Startup);
        if (kill is null) return false;
        Kills.Add(kill);
        return true;
    }
}
