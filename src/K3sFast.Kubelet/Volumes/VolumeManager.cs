using K3sFast.Client;
using K3sFast.Interop.Mounts;
using K3sFast.Kubelet.Containers;
using K3sFast.Kubelet.Pods;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Volumes;

/// <summary>A volume that is ready to be mounted into containers.</summary>
internal sealed record PodVolume(string HostPath, bool IsReadOnly = false);

/// <summary>
/// Makes the volumes of pods ready, keeps their content current, and takes them down. State is on disk only, under the pod's directory and in
/// upstream's layout (<c>volumes/kubernetes.io~&lt;plugin&gt;/&lt;name&gt;</c>), so that a restart finds everything where it was.
/// </summary>
internal sealed class VolumeManager(KubeletOptions options, ApiClient client, PayloadBuilder payloads, TimeProvider time, ILogger logger)
{
    /// <summary>Every volume of the pod by its name. Called at each sync: what is there already is only brought up to date.</summary>
    /// <exception cref="VolumeException">Some volume is not ready; the message is the event's.</exception>
    public async Task<Dictionary<string, PodVolume>> MountAsync(V1Pod pod, PodContext context, CancellationToken cancellationToken)
    {
        var ready = new Dictionary<string, PodVolume>(StringComparer.Ordinal);
        foreach (var volume in pod.Spec.Volumes ?? [])
        {
            try
            {
                ready[volume.Name] = await MountOneAsync(pod, volume, context, cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is VolumeException or IOException or UnauthorizedAccessException or ContainerException or ApiException or HttpRequestException)
            {
                throw new VolumeException($"MountVolume.SetUp failed for volume \"{volume.Name}\" : {e.Message}");
            }
        }
        return ready;
    }

    /// <summary>Takes down everything of the pod and removes its directory. False = something is still in use; try again.</summary>
    public bool TryCleanUp(string podUid)
    {
        var directory = options.PodDir(podUid);
        if (!Directory.Exists(directory)) return true;
        try
        {
            var mounts = MountPoint.ReadAll();
            // Last mounted, first unmounted.
            for (var i = mounts.Count - 1; i >= 0; i--)
            {
                if (mounts[i].StartsWith(directory + "/", StringComparison.Ordinal)) MountPoint.Unmount(mounts[i], isLazy: true);
            }
            Directory.Delete(directory, recursive: true);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Log.PodDirectoryBusy(logger, directory, e.Message);
            return false;
        }
    }

    /// <summary>UIDs of pods that have a directory.</summary>
    public IReadOnlyList<string> ListPods()
    {
        var root = Path.Combine(options.RootDir, "pods");
        return Directory.Exists(root) ? [.. Directory.EnumerateDirectories(root).Select(Path.GetFileName)!] : [];
    }

    private async Task<PodVolume> MountOneAsync(V1Pod pod, V1Volume volume, PodContext context, CancellationToken cancellationToken)
    {
        if (volume.EmptyDir is { } emptyDir) return MountEmptyDir(pod, volume.Name, emptyDir);
        if (volume.HostPath is { } hostPath)
        {
            HostPathVolume.Prepare(hostPath);
            return new PodVolume(hostPath.Path);
        }
        if (volume.PersistentVolumeClaim is { } claim)
        {
            return await MountClaimAsync(pod, claim.ClaimName, claim.ReadOnlyProperty == true, cancellationToken).ConfigureAwait(false);
        }
        if (volume.Ephemeral is not null)
        {
            return await MountClaimAsync(pod, $"{pod.Metadata.Name}-{volume.Name}", isReadOnly: false, cancellationToken).ConfigureAwait(false);
        }
        if (await payloads.BuildAsync(pod, volume, context, cancellationToken).ConfigureAwait(false) is { } files) return MountPayload(pod, volume, files);
        throw new VolumeException("no volume plugin matched: this kind of volume is not supported by this node");
    }

    private PodVolume MountPayload(V1Pod pod, V1Volume volume, Dictionary<string, PayloadFile> files)
    {
        var plugin = volume.ConfigMap is not null ? "configmap" : volume.Secret is not null ? "secret" : volume.DownwardAPI is not null ? "downward-api" : "projected";
        var path = PathOf(pod.Metadata.Uid, plugin, volume.Name);
        if (!Directory.Exists(path))
        {
            Directory.CreateDirectory(path);
            // Secrets never touch the disk. What is no secret needs no mount of its own.
            if (plugin is "secret" or "projected") MountPoint.MountTmpfs(path, 0, "mode=0777");
            // 0777: every user of the pod's containers may look up names; the files have their own modes.
            VolumeOwnership.SetMode(path, 0x1FF);
        }
        AtomicWriter.Write(path, files, pod.Spec.SecurityContext?.FsGroup, time.GetUtcNow());
        return new PodVolume(path, IsReadOnly: true);
    }

    private PodVolume MountEmptyDir(V1Pod pod, string name, V1EmptyDirVolumeSource source)
    {
        var path = PathOf(pod.Metadata.Uid, "empty-dir", name);
        var marker = Path.Combine(options.PodDir(pod.Metadata.Uid), "plugins", "kubernetes.io~empty-dir", name, "ready");
        if (File.Exists(marker)) return new PodVolume(path);
        Directory.CreateDirectory(path);
        switch (source.Medium)
        {
            case null or "":
                break;
            case "Memory":
                if (!MountPoint.ReadAll().Contains(path)) MountPoint.MountTmpfs(path, TmpfsSize(pod, source));
                break;
            default:
                throw new VolumeException($"emptyDir medium {source.Medium} is not supported by this node");
        }
        VolumeOwnership.SetMode(path, 0x1FF);
        if (pod.Spec.SecurityContext?.FsGroup is { } fsGroup) VolumeOwnership.Apply(path, fsGroup, isReadOnly: false);
        // Written last: a start that was cut off is done again.
        Directory.CreateDirectory(Path.GetDirectoryName(marker)!);
        File.WriteAllBytes(marker, []);
        return new PodVolume(path);
    }

    // The volume's limit or the pod's memory limit, whichever is less: beyond it the pod would be killed anyway.
    private static long TmpfsSize(V1Pod pod, V1EmptyDirVolumeSource source)
    {
        var limit = (long)pod.TotalLimit("memory");
        var size = source.SizeLimit is { } own ? (long)own.ToDecimal() : 0;
        if (size <= 0) return limit;
        return limit > 0 ? Math.Min(size, limit) : size;
    }

    private async Task<PodVolume> MountClaimAsync(V1Pod pod, string claimName, bool isReadOnly, CancellationToken cancellationToken)
    {
        var claim = await client.FindAsync(Resources.PersistentVolumeClaims, pod.Metadata.NamespaceProperty, claimName, cancellationToken).ConfigureAwait(false)
            ?? throw new VolumeException($"persistentvolumeclaim \"{claimName}\" not found");
        if (claim.Status?.Phase != "Bound" || string.IsNullOrEmpty(claim.Spec.VolumeName)) throw new VolumeException($"PVC {pod.Metadata.NamespaceProperty}/{claimName} is not bound");
        var volume = await client.FindAsync(Resources.PersistentVolumes, null, claim.Spec.VolumeName, cancellationToken).ConfigureAwait(false)
            ?? throw new VolumeException($"persistentvolume \"{claim.Spec.VolumeName}\" not found");
        string path;
        if (volume.Spec.HostPath is { } hostPath)
        {
            HostPathVolume.Prepare(hostPath);
            path = hostPath.Path;
        }
        else if (volume.Spec.Local is { } local)
        {
            if (!Directory.Exists(local.Path)) throw new VolumeException($"path \"{local.Path}\" does not exist");
            path = local.Path;
        }
        else
        {
            throw new VolumeException($"no volume plugin matched: the kind of persistent volume {volume.Metadata.Name} is not supported by this node");
        }
        if (pod.Spec.SecurityContext?.FsGroup is { } fsGroup && !isReadOnly && volume.Spec.Local is not null)
        {
            VolumeOwnership.Apply(path, fsGroup, isReadOnly: false, onRootMismatch: pod.Spec.SecurityContext.FsGroupChangePolicy == "OnRootMismatch");
        }
        return new PodVolume(path, isReadOnly);
    }

    private string PathOf(string podUid, string plugin, string name) => Path.Combine(options.PodDir(podUid), "volumes", "kubernetes.io~" + plugin, name);
}
