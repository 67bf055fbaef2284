using System.Globalization;
using System.Security.Cryptography;
using K3sFast.Client;
using K3sFast.Kubelet.Cgroups;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Volumes;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>What the runtime is told about one container, and the files on the host that go with it (hosts file, termination message, log folder).</summary>
internal sealed class ContainerConfigBuilder(KubeletOptions options, EnvironmentBuilder environments, bool isUnifiedCgroup, long nodeMemoryBytes)
{
    private const string NodeHostsPath = "/etc/hosts";

    /// <summary>Everything but the image's own settings, which the runtime adds.</summary>
    /// <exception cref="ContainerException">The spec refers to something that is not there, or asks for what its image cannot give.</exception>
    public async Task<ContainerConfig> BuildAsync(
        V1Pod pod,
        PodContainer container,
        Image image,
        int restartCount,
        string? targetContainerId,
        PodContext context,
        IReadOnlyDictionary<string, PodVolume> volumes,
        CancellationToken cancellationToken)
    {
        var spec = container.Spec;
        var environment = await environments.BuildAsync(pod, container, context, cancellationToken).ConfigureAwait(false);
        var variables = new Dictionary<string, string>(environment, StringComparer.Ordinal);

        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = container.Name, Attempt = (uint)restartCount },
            Image = new ImageSpec { Image = image.Id, UserSpecifiedImage = spec.Image ?? "" },
            WorkingDir = spec.WorkingDir ?? "",
            LogPath = string.Create(CultureInfo.InvariantCulture, $"{container.Name}/{restartCount}.log"),
            Stdin = spec.Stdin ?? false,
            StdinOnce = spec.StdinOnce ?? false,
            Tty = spec.Tty ?? false,
            Linux = new LinuxContainerConfig
            {
                Resources = Resources(pod, spec),
                SecurityContext = SecurityContextBuilder.ForContainer(pod, container, image, options, targetContainerId),
            },
        };
        foreach (var word in spec.Command ?? []) config.Command.Add(VariableExpansion.Expand(word, variables.GetValueOrDefault));
        foreach (var word in spec.Args ?? []) config.Args.Add(VariableExpansion.Expand(word, variables.GetValueOrDefault));
        foreach (var (name, value) in environment) config.Envs.Add(new KeyValue { Key = name, Value = Google.Protobuf.ByteString.CopyFromUtf8(value) });

        config.Labels[CriLabels.PodName] = pod.Metadata.Name;
        config.Labels[CriLabels.PodNamespace] = pod.Metadata.NamespaceProperty;
        config.Labels[CriLabels.PodUid] = pod.Metadata.Uid;
        config.Labels[CriLabels.ContainerName] = container.Name;
        Annotate(config, pod, container, restartCount);

        AddVolumeMounts(config, pod, container, volumes, variables);
        AddHostsFile(config, pod, context);
        AddTerminationLog(config, pod, spec);
        Directory.CreateDirectory(Path.Combine(options.PodLogDir(pod.Metadata.NamespaceProperty, pod.Metadata.Name, pod.Metadata.Uid), container.Name));
        return config;
    }

    /// <summary>Weights and limits of a container.</summary>
    public LinuxContainerResources Resources(V1Pod pod, V1Container spec)
    {
        var request = spec.RequestOf("cpu");
        var isCritical = pod.Spec.Priority >= 2_000_000_000;
        var resources = new LinuxContainerResources
        {
            CpuShares = request > 0 ? ResourceMath.CpuShares(request) : ResourceMath.MinShares,
            CpuPeriod = ResourceMath.QuotaPeriodUs,
            CpuQuota = ResourceMath.CpuQuotaUs(spec.LimitOf("cpu")),
            MemoryLimitInBytes = (long)spec.LimitOf("memory"),
            OomScoreAdj = ResourceMath.OomScoreAdjust(pod.QosClass(), spec.RequestOf("memory"), nodeMemoryBytes, isCritical),
        };
        // Version 2: a container that runs out of memory dies whole, not by a random process of it.
        if (isUnifiedCgroup) resources.Unified["memory.oom.group"] = "1";
        return resources;
    }

    private static void Annotate(ContainerConfig config, V1Pod pod, PodContainer container, int restartCount)
    {
        var spec = container.Spec;
        config.Annotations[CriLabels.ContainerHash] = container.Hash;
        config.Annotations[CriLabels.RestartCount] = restartCount.ToString(CultureInfo.InvariantCulture);
        config.Annotations[CriLabels.TerminationMessagePath] = spec.TerminationMessagePath ?? "";
        config.Annotations[CriLabels.TerminationMessagePolicy] = spec.TerminationMessagePolicy ?? "";
        if (pod.Metadata.DeletionGracePeriodSeconds is { } deletion) config.Annotations[CriLabels.DeletionGracePeriod] = deletion.ToString(CultureInfo.InvariantCulture);
        if (pod.Spec.TerminationGracePeriodSeconds is { } grace) config.Annotations[CriLabels.TerminationGracePeriod] = grace.ToString(CultureInfo.InvariantCulture);
        if (spec.Lifecycle?.PreStop is { } preStop) config.Annotations[CriLabels.PreStopHandler] = System.Text.Encoding.UTF8.GetString(ModelJson.Serialize(preStop));
    }

    private void AddVolumeMounts(
        ContainerConfig config, V1Pod pod, PodContainer container, IReadOnlyDictionary<string, PodVolume> volumes, Dictionary<string, string> variables)
    {
        var mounts = container.Spec.VolumeMounts ?? [];
        for (var i = 0; i < mounts.Count; i++)
        {
            var mount = mounts[i];
            if (!volumes.TryGetValue(mount.Name, out var volume)) throw ContainerException.Config($"cannot find volume \"{mount.Name}\" to mount into container \"{container.Name}\"");
            var hostPath = volume.HostPath;
            var subPath = !string.IsNullOrEmpty(mount.SubPathExpr) ? ExpandSubPath(mount.SubPathExpr, variables) : mount.SubPath;
            if (!string.IsNullOrEmpty(subPath))
            {
                if (subPath[0] == '/' || subPath.Split('/').Contains("..")) throw ContainerException.Config($"failed to prepare subPath for volumeMount \"{mount.Name}\" of container \"{container.Name}\": subPath must be relative and must not contain '..'");
                try
                {
                    hostPath = SubPathBinder.Bind(options.PodDir(pod.Metadata.Uid), mount.Name, volume.HostPath, container.Name, i, subPath);
                }
                catch (Exception e) when (e is VolumeException or IOException or UnauthorizedAccessException)
                {
                    throw ContainerException.Config($"failed to prepare subPath for volumeMount \"{mount.Name}\" of container \"{container.Name}\": {e.Message}");
                }
            }
            config.Mounts.Add(new Mount
            {
                ContainerPath = mount.MountPath.StartsWith('/') ? mount.MountPath : "/" + mount.MountPath,
                HostPath = hostPath,
                Readonly = mount.ReadOnlyProperty == true || volume.IsReadOnly,
                Propagation = mount.MountPropagation switch
                {
                    "HostToContainer" => MountPropagation.PropagationHostToContainer,
                    "Bidirectional" => MountPropagation.PropagationBidirectional,
                    _ => MountPropagation.PropagationPrivate,
                },
            });
        }
    }

    private static string ExpandSubPath(string expression, Dictionary<string, string> variables)
    {
        var isComplete = true;
        var path = VariableExpansion.Expand(expression, name =>
        {
            var value = variables.GetValueOrDefault(name);
            isComplete &= value is not null;
            return value;
        });
        return isComplete ? path : throw ContainerException.Config($"missing value for \"{expression}\"");
    }

    private void AddHostsFile(ContainerConfig config, V1Pod pod, PodContext context)
    {
        foreach (var mount in config.Mounts)
        {
            if (mount.ContainerPath == "/etc/hosts") return;
        }
        if (context.PodIPs.Count == 0 && !pod.IsHostNetwork()) return;
        var path = Path.Combine(options.PodDir(pod.Metadata.Uid), "etc-hosts");
        Directory.CreateDirectory(options.PodDir(pod.Metadata.Uid));
        HostsFile.Write(path, pod, context, NodeHostsPath);
        config.Mounts.Add(new Mount { ContainerPath = "/etc/hosts", HostPath = path });
    }

    private void AddTerminationLog(ContainerConfig config, V1Pod pod, V1Container spec)
    {
        if (string.IsNullOrEmpty(spec.TerminationMessagePath)) return;
        var folder = Path.Combine(options.PodDir(pod.Metadata.Uid), "containers", spec.Name);
        Directory.CreateDirectory(folder);
        // A fresh file per start: the message of the last run is not this one's.
        var path = Path.Combine(folder, Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4)));
        File.WriteAllBytes(path, []);
        // 0666: whatever user the container runs as writes to it.
        VolumeOwnership.SetMode(path, 0x1B6);
        config.Mounts.Add(new Mount { ContainerPath = spec.TerminationMessagePath, HostPath = path });
    }
}
