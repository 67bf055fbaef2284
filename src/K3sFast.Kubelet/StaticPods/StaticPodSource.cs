using K3sFast.Client;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.StaticPods;

/// <summary>
/// Watches the manifest folder, tells which static pods there are, and keeps their mirrors in the API. The pods run whether or not the API is there.
/// </summary>
internal sealed class StaticPodSource(KubeletOptions options, StaticPodReader reader, PodManager pods, ApiClient client, TimeProvider time, ILogger logger)
{
    // Changes are seen by inotify; the folder is read this often in any case, as upstream.
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(20);

    // Several files written one after another are read together.
    private static readonly TimeSpan s_settle = TimeSpan.FromMilliseconds(50);

    private readonly SemaphoreSlim _signal = new(0);
    private IReadOnlyList<V1Pod> _current = [];

    /// <summary>Reads the folder once; what runs at our start is known before orphans are looked for.</summary>
    public void ReadNow()
    {
        var read = reader.Read();
        // The time at which a pod was first seen stays.
        _current = [.. read.Select(pod => _current.FirstOrDefault(known => known.Metadata.Uid == pod.Metadata.Uid) ?? pod)];
        pods.SetStaticPods(_current);
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        pods.WorkerGone += Wake;
        Directory.CreateDirectory(options.ManifestDir);
        using var watcher = new FileSystemWatcher(options.ManifestDir) { NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite | NotifyFilters.Size };
        watcher.Changed += (_, _) => Wake();
        watcher.Created += (_, _) => Wake();
        watcher.Deleted += (_, _) => Wake();
        watcher.Renamed += (_, _) => Wake();
        watcher.EnableRaisingEvents = true;
        while (true)
        {
            ReadNow();
            var isSettled = await MirrorAllAsync(cancellationToken).ConfigureAwait(false);
            // A mirror that could not be written is tried again soon.
            await _signal.WaitAsync(isSettled ? s_interval : TimeSpan.FromSeconds(1), cancellationToken).ConfigureAwait(false);
            await Task.Delay(s_settle, time, cancellationToken).ConfigureAwait(false);
            while (_signal.CurrentCount > 0) await _signal.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private void Wake()
    {
        if (_signal.CurrentCount == 0) _signal.Release();
    }

    private async Task<bool> MirrorAllAsync(CancellationToken cancellationToken)
    {
        var isSettled = true;
        foreach (var pod in _current) isSettled &= await TryAsync(pod, () => MirrorAsync(pod, cancellationToken)).ConfigureAwait(false);
        foreach (var mirror in pods.OrphanedMirrors()) isSettled &= await TryAsync(mirror, () => DeleteAsync(mirror, cancellationToken)).ConfigureAwait(false);
        return isSettled;
    }

    private async Task<bool> TryAsync(V1Pod pod, Func<Task> write)
    {
        try
        {
            await write().ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is ApiException or HttpRequestException or IOException)
        {
            Log.MirrorFailed(logger, pod.Describe(), e.Message);
            return false;
        }
    }

    private async Task MirrorAsync(V1Pod pod, CancellationToken cancellationToken)
    {
        var known = pods.Mirror(pod);
        var isCurrent = known is not null && known.Metadata.DeletionTimestamp is null && known.Annotation(CriLabels.ConfigMirror) == pod.Metadata.Uid;
        if (isCurrent) return;
        if (known is not null) await DeleteAsync(known, cancellationToken).ConfigureAwait(false);
        var mirror = ModelJson.Clone(pod);
        mirror.Metadata.Uid = null;
        mirror.Metadata.Annotations[CriLabels.ConfigMirror] = pod.Metadata.Uid;
        mirror.Status = null;
        var node = await client.FindAsync(Resources.Nodes, null, options.NodeName, cancellationToken).ConfigureAwait(false)
            ?? throw new IOException("the node is not registered yet");
        mirror.Metadata.OwnerReferences = [new V1OwnerReference { ApiVersion = "v1", Kind = "Node", Name = options.NodeName, Uid = node.Metadata.Uid, Controller = true }];
        try
        {
            pods.OnApiPod(await client.CreateAsync(Resources.Pods, mirror, cancellationToken).ConfigureAwait(false));
        }
        catch (ApiException e) when (e.IsAlreadyExists)
        {
            // Ours from before a restart: the watch brings it.
        }
    }

    private async Task DeleteAsync(V1Pod mirror, CancellationToken cancellationToken)
    {
        try
        {
            var options = new V1DeleteOptions { GracePeriodSeconds = 0, Preconditions = new V1Preconditions { Uid = mirror.Metadata.Uid } };
            await client.DeleteAsync(Resources.Pods, mirror.Metadata.NamespaceProperty, mirror.Metadata.Name, cancellationToken, options).ConfigureAwait(false);
        }
        catch (ApiException e) when (e.IsNotFound || e.Code == 409)
        {
        }
        pods.OnApiPodDeleted(mirror);
    }
}
