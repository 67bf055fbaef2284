using System.Collections.Concurrent;
using System.Text.Json;
using Grpc.Core;
using K3sFast.ApiMachinery;
using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Volumes;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>Sees to it that a container's image is there: pull policy, credentials, back-off, and the events that tell about it.</summary>
internal sealed class ImageManager(CriClient cri, IObjectSource objects, EventRecorder events, TimeProvider time)
{
    // One pull at a time per registry connection is upstream's default; several images may come at once here, bounded.
    private const int MaxPulls = 4;

    private readonly BackOffTable _backOff = new(TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(300), time);
    private readonly ConcurrentDictionary<string, (DateTimeOffset At, string Error)> _failures = new();
    private readonly SemaphoreSlim _pulls = new(MaxPulls);

    /// <summary>The image, present on this machine.</summary>
    /// <exception cref="ContainerException">It is not, and the reason is the container's waiting reason.</exception>
    public async Task<Image> EnsureAsync(V1Pod pod, PodContainer container, PodSandboxConfig sandbox, CancellationToken cancellationToken)
    {
        var requested = container.Spec.Image ?? "";
        if (requested.Length == 0 || requested != requested.Trim())
        {
            var message = $"Failed to apply default image tag \"{requested}\": couldn't parse image name \"{requested}\": invalid reference format";
            Warning(pod, container, "InspectFailed", message);
            throw new ContainerException("InvalidImageName", message, isReported: true);
        }
        var spec = new ImageSpec { Image = ImageName.WithDefaultTag(requested) };
        var policy = container.Spec.ImagePullPolicy;
        if (string.IsNullOrEmpty(policy)) policy = ImageName.IsLatest(requested) ? "Always" : "IfNotPresent";
        if (policy != "Always")
        {
            var present = await InspectAsync(pod, container, spec, requested, cancellationToken).ConfigureAwait(false);
            if (present is not null)
            {
                events.Normal(
                    Resources.Pods, pod, "Pulled", $"Container image \"{requested}\" already present on machine and can be accessed by the pod", container.FieldPath);
                return present;
            }
            if (policy == "Never")
            {
                var message = $"Container image \"{requested}\" is not present with pull policy of Never";
                Warning(pod, container, "ErrImageNeverPull", message);
                throw new ContainerException("ErrImageNeverPull", message, isReported: true);
            }
        }
        return await PullAsync(pod, container, spec, requested, sandbox, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>When a pull that failed may be tried again; zero = now.</summary>
    public TimeSpan RetryDelay(V1Pod pod, string? image)
    {
        var key = Key(pod, image ?? "");
        return _failures.TryGetValue(key, out var failure) ? _backOff.Remaining(key, failure.At) : TimeSpan.Zero;
    }

    public void Forget(V1Pod pod)
    {
        _backOff.Forget(pod.Metadata.Uid + "_");
        foreach (var key in _failures.Keys)
        {
            if (key.StartsWith(pod.Metadata.Uid + "_", StringComparison.Ordinal)) _failures.TryRemove(key, out _);
        }
    }

    private async Task<Image?> InspectAsync(V1Pod pod, PodContainer container, ImageSpec spec, string requested, CancellationToken cancellationToken)
    {
        try
        {
            return await cri.ImageStatusAsync(spec, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException e)
        {
            var message = $"Failed to inspect image \"{requested}\": {e.Status.Detail}";
            Warning(pod, container, "InspectFailed", message);
            throw new ContainerException("ImageInspectError", message, isReported: true);
        }
    }

    private async Task<Image> PullAsync(
        V1Pod pod, PodContainer container, ImageSpec spec, string requested, PodSandboxConfig sandbox, CancellationToken cancellationToken)
    {
        var key = Key(pod, requested);
        if (_failures.TryGetValue(key, out var failure) && _backOff.Remaining(key, failure.At) > TimeSpan.Zero)
        {
            var message = $"Back-off pulling image \"{requested}\"";
            events.Normal(Resources.Pods, pod, "BackOff", message, container.FieldPath);
            throw new ContainerException("ImagePullBackOff", $"{message}: {failure.Error}", isReported: true);
        }
        events.Normal(Resources.Pods, pod, "Pulling", $"Pulling image \"{requested}\"", container.FieldPath);
        var started = time.GetTimestamp();
        await _pulls.WaitAsync(cancellationToken).ConfigureAwait(false);
        var pullStarted = time.GetTimestamp();
        try
        {
            await PullWithCredentialsAsync(pod, spec, sandbox, cancellationToken).ConfigureAwait(false);
        }
        catch (RpcException e) when (e.StatusCode != StatusCode.Cancelled)
        {
            var now = time.GetUtcNow();
            _backOff.Next(key, now);
            _failures[key] = (now, $"ErrImagePull: {e.Status.Detail}");
            Warning(pod, container, "Failed", $"Failed to pull image \"{requested}\": {e.Status.Detail}");
            throw new ContainerException("ErrImagePull", e.Status.Detail);
        }
        finally
        {
            _pulls.Release();
        }
        _failures.TryRemove(key, out _);
        var image = await InspectAsync(pod, container, spec, requested, cancellationToken).ConfigureAwait(false)
            ?? throw new ContainerException("ErrImagePull", $"image \"{requested}\" was pulled and is not there");
        events.Normal(
            Resources.Pods,
            pod,
            "Pulled",
            $"Successfully pulled image \"{requested}\" in {GoDuration.Format(time.GetElapsedTime(pullStarted))} ({GoDuration.Format(time.GetElapsedTime(started))} including waiting). Image size: {image.Size} bytes.",
            container.FieldPath);
        return image;
    }

    // Each matching credential is tried in turn; without any the registry is asked as nobody.
    private async Task PullWithCredentialsAsync(V1Pod pod, ImageSpec spec, PodSandboxConfig sandbox, CancellationToken cancellationToken)
    {
        var credentials = await CredentialsAsync(pod, ImageName.Registry(spec.Image), cancellationToken).ConfigureAwait(false);
        if (credentials.Count == 0) credentials.Add(null);
        for (var i = 0; i < credentials.Count; i++)
        {
            try
            {
                await cri.PullImageAsync(spec, credentials[i], sandbox, cancellationToken).ConfigureAwait(false);
                return;
            }
            catch (RpcException) when (i < credentials.Count - 1)
            {
                // The next credential may be the right one; the last one's refusal is the answer.
            }
        }
    }

    private async Task<List<AuthConfig?>> CredentialsAsync(V1Pod pod, string registry, CancellationToken cancellationToken)
    {
        var credentials = new List<AuthConfig?>();
        foreach (var reference in pod.Spec.ImagePullSecrets ?? [])
        {
            if (string.IsNullOrEmpty(reference.Name)) continue;
            var secret = await objects.FindSecretAsync(pod.Metadata.NamespaceProperty, reference.Name, cancellationToken).ConfigureAwait(false);
            if (secret?.Data is null)
            {
                events.Warning(
                    Resources.Pods, pod, "FailedToRetrieveImagePullSecret", $"Unable to retrieve some image pull secrets ({reference.Name}); attempting to pull the image may not succeed.");
                continue;
            }
            if (secret.Data.TryGetValue(".dockerconfigjson", out var config)) RegistryCredentials.Read(config, "auths", registry, credentials);
            else if (secret.Data.TryGetValue(".dockercfg", out var legacy)) RegistryCredentials.Read(legacy, null, registry, credentials);
        }
        return credentials;
    }

    private void Warning(V1Pod pod, PodContainer container, string reason, string message) =>
        events.Warning(Resources.Pods, pod, reason, message, container.FieldPath);

    private static string Key(V1Pod pod, string image) => $"{pod.Metadata.Uid}_{image}";
}
