using Grpc.Core;
using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Probes;
using K3sFast.Kubelet.Volumes;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Containers;

/// <summary>Starts and stops single containers: image, config, create, start, postStart; preStop, stop. Tells about each step by an event.</summary>
internal sealed class ContainerRunner(
    CriClient cri, ImageManager images, ContainerConfigBuilder configs, LifecycleHooks hooks, EventRecorder events, TimeProvider time, ILogger logger)
{
    // However little grace is left, a container gets this long between the request to stop and the kill; upstream's bound.
    private const long MinGraceSeconds = 2;

    /// <summary>Starts the container in the sandbox.</summary>
    /// <exception cref="ContainerException">It does not run; the exception says why, an event was written.</exception>
    public async Task StartAsync(
        V1Pod pod,
        PodContainer container,
        PodRuntime runtime,
        string sandboxId,
        PodSandboxConfig sandbox,
        PodContext context,
        IReadOnlyDictionary<string, PodVolume> volumes,
        int restartCount,
        CancellationToken cancellationToken)
    {
        string id;
        try
        {
            var image = await images.EnsureAsync(pod, container, sandbox, cancellationToken).ConfigureAwait(false);
            var target = Target(container, runtime);
            var config = await configs.BuildAsync(pod, container, image, restartCount, target, context, volumes, cancellationToken).ConfigureAwait(false);
            id = await CreateAsync(sandboxId, config, sandbox, cancellationToken).ConfigureAwait(false);
            events.Normal(Resources.Pods, pod, "Created", "Container created", container.FieldPath);
            await StartCreatedAsync(id, cancellationToken).ConfigureAwait(false);
            events.Normal(Resources.Pods, pod, "Started", "Container started", container.FieldPath);
        }
        catch (ContainerException e)
        {
            if (!e.IsReported) events.Warning(Resources.Pods, pod, "Failed", "Error: " + (e.Reason is "ErrImagePull" ? e.Reason : e.Message), container.FieldPath);
            else if (e.Reason is "ErrImageNeverPull" or "ImagePullBackOff" or "InvalidImageName") events.Warning(Resources.Pods, pod, "Failed", "Error: " + e.Reason, container.FieldPath);
            throw;
        }
        if (container.Spec.Lifecycle?.PostStart is { } postStart)
        {
            try
            {
                await hooks.RunAsync(postStart, id, container.Spec, context.PodIPs.Count > 0 ? context.PodIPs[0] : "", cancellationToken).ConfigureAwait(false);
            }
            catch (HookException e)
            {
                events.Warning(Resources.Pods, pod, "FailedPostStartHook", "PostStartHook failed", container.FieldPath);
                Log.StoppingContainer(logger, pod.Describe(), container.Name, $"postStart hook failed: {e.Message}");
                var record = new ContainerRecord { Id = id, Name = container.Name, SandboxId = sandboxId, State = ContainerState.ContainerRunning, Hash = "" };
                await StopAsync(pod, container, record, "FailedPostStartHook", GraceSeconds(pod), null, cancellationToken).ConfigureAwait(false);
                throw new ContainerException("PostStartHookError", $"PostStartHook failed: {e.Message}", isReported: true);
            }
        }
    }

    /// <summary>
    /// Stops the container: preStop hook, then the stop signal, then the kill when <paramref name="graceSeconds"/> are over.
    /// <paramref name="container"/> is null when the pod's spec is not known any more.
    /// </summary>
    /// <param name="turn">Awaited between hook and signal, as long as grace lasts: the container's place in the order of stopping.</param>
    public async Task StopAsync(
        V1Pod? pod, PodContainer? container, ContainerRecord record, string? message, long graceSeconds, Func<TimeSpan, Task>? turn, CancellationToken cancellationToken)
    {
        if (pod is not null) events.Normal(Resources.Pods, pod, "Killing", message ?? $"Stopping container {record.Name}", container?.FieldPath);
        var started = time.GetTimestamp();
        if (pod is not null && container?.Spec.Lifecycle?.PreStop is { } preStop && graceSeconds > 0)
        {
            using var bound = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            bound.CancelAfter(TimeSpan.FromSeconds(graceSeconds));
            try
            {
                await hooks.RunAsync(preStop, record.Id, container.Spec, pod.Status?.PodIP ?? "", bound.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The hook took all the grace there was.
            }
            catch (HookException)
            {
                events.Warning(Resources.Pods, pod, "FailedPreStopHook", "PreStopHook failed", container.FieldPath);
            }
        }
        if (turn is not null) await turn(TimeSpan.FromSeconds(graceSeconds) - time.GetElapsedTime(started)).ConfigureAwait(false);
        var left = graceSeconds - (long)time.GetElapsedTime(started).TotalSeconds;
        await cri.StopContainerAsync(record.Id, Math.Max(left, MinGraceSeconds), cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Grace that a failing probe, or else the pod, gives the container.</summary>
    public static long GraceSeconds(V1Pod pod, PodContainer? container = null, ProbeType? probe = null)
    {
        var own = probe switch
        {
            ProbeType.Liveness => container?.Spec.LivenessProbe?.TerminationGracePeriodSeconds,
            ProbeType.Startup => container?.Spec.StartupProbe?.TerminationGracePeriodSeconds,
            _ => null,
        };
        return own ?? pod.Metadata.DeletionGracePeriodSeconds ?? pod.Spec.TerminationGracePeriodSeconds ?? 30;
    }

    private static string? Target(PodContainer container, PodRuntime runtime)
    {
        if (string.IsNullOrEmpty(container.Target)) return null;
        return runtime.Latest(container.Target) is { IsRunning: true } record
            ? record.Id
            : throw ContainerException.Config($"unable to find target container {container.Target}");
    }

    private async Task<string> CreateAsync(string sandboxId, ContainerConfig config, PodSandboxConfig sandbox, CancellationToken cancellationToken)
    {
        try
        {
            return await cri.CreateContainerAsync(sandboxId, config, sandbox, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            throw new ContainerException("CreateContainerError", e.Status.Detail);
        }
    }

    private async Task StartCreatedAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            await cri.StartContainerAsync(id, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            throw new ContainerException("RunContainerError", e.Status.Detail);
        }
    }
}
