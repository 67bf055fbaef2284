using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>Security settings of sandboxes and containers: the container's own over the pod's.</summary>
internal static class SecurityContextBuilder
{
    // What a container may not see or change below /proc and /sys unless it asks for procMount Unmasked; the runtimes' common list.
    private static readonly string[] s_maskedPaths =
    [
        "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
        "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
    ];

    private static readonly string[] s_readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

    /// <summary>Which namespaces a container (or, with a null container, the sandbox) shares.</summary>
    public static NamespaceOption Namespaces(V1Pod pod, string? targetContainerId = null) => new()
    {
        Network = pod.Spec.HostNetwork == true ? NamespaceMode.Node : NamespaceMode.Pod,
        Ipc = pod.Spec.HostIPC == true ? NamespaceMode.Node : NamespaceMode.Pod,
        Pid = targetContainerId is not null ? NamespaceMode.Target
            : pod.Spec.HostPID == true ? NamespaceMode.Node
            : pod.Spec.ShareProcessNamespace == true ? NamespaceMode.Pod
            : NamespaceMode.Container,
        TargetId = targetContainerId ?? "",
    };

    public static LinuxSandboxSecurityContext ForSandbox(V1Pod pod)
    {
        var security = new LinuxSandboxSecurityContext
        {
            NamespaceOptions = Namespaces(pod),
            Privileged = PodContainer.Of(pod).Any(container => container.Spec.SecurityContext?.Privileged == true),
            Seccomp = new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.RuntimeDefault },
        };
        if (pod.Spec.SecurityContext is { } own)
        {
            if (own.RunAsUser is { } user) security.RunAsUser = new Int64Value { Value = user };
            if (own.RunAsGroup is { } group) security.RunAsGroup = new Int64Value { Value = group };
            security.SupplementalGroups.Add(SupplementalGroups(pod));
            security.SelinuxOptions = SelinuxOptions(own.SeLinuxOptions);
        }
        return security;
    }

    /// <summary>Settings of a container whose image runs as <paramref name="image"/> says.</summary>
    /// <exception cref="ContainerException">runAsNonRoot is asked for and the user is, or may be, root.</exception>
    public static LinuxContainerSecurityContext ForContainer(V1Pod pod, PodContainer container, Image image, KubeletOptions options, string? targetContainerId)
    {
        var own = container.Spec.SecurityContext;
        var shared = pod.Spec.SecurityContext;
        var user = own?.RunAsUser ?? shared?.RunAsUser;
        var group = own?.RunAsGroup ?? shared?.RunAsGroup;
        if (own?.RunAsNonRoot ?? shared?.RunAsNonRoot ?? false) VerifyNonRoot(pod, container, user, image);

        var security = new LinuxContainerSecurityContext
        {
            Privileged = own?.Privileged ?? false,
            ReadonlyRootfs = own?.ReadOnlyRootFilesystem ?? false,
            NoNewPrivs = own?.AllowPrivilegeEscalation == false,
            NamespaceOptions = Namespaces(pod, targetContainerId),
            SelinuxOptions = SelinuxOptions(own?.SeLinuxOptions ?? shared?.SeLinuxOptions),
            Seccomp = Seccomp(own?.SeccompProfile ?? shared?.SeccompProfile, options),
        };
        if (own?.Capabilities is { } capabilities)
        {
            security.Capabilities = new Capability();
            security.Capabilities.AddCapabilities.Add(capabilities.Add ?? []);
            security.Capabilities.DropCapabilities.Add(capabilities.Drop ?? []);
        }
        if (user is { } uid) security.RunAsUser = new Int64Value { Value = uid };
        else if (image.Uid is { } imageUid) security.RunAsUser = new Int64Value { Value = imageUid.Value };
        else if (!string.IsNullOrEmpty(image.Username)) security.RunAsUsername = image.Username;
        if (group is { } gid) security.RunAsGroup = new Int64Value { Value = gid };
        security.SupplementalGroups.Add(SupplementalGroups(pod));
        if (own?.ProcMount != "Unmasked")
        {
            security.MaskedPaths.Add(s_maskedPaths);
            security.ReadonlyPaths.Add(s_readonlyPaths);
        }
        if ((own?.AppArmorProfile ?? shared?.AppArmorProfile) is { } profile)
        {
            security.Apparmor = new SecurityProfile { ProfileType = ProfileType(profile.Type), LocalhostRef = profile.LocalhostProfile ?? "" };
        }
        return security;
    }

    private static IEnumerable<long> SupplementalGroups(V1Pod pod)
    {
        var shared = pod.Spec.SecurityContext;
        if (shared?.FsGroup is { } fsGroup) yield return fsGroup;
        foreach (var group in shared?.SupplementalGroups ?? [])
        {
            if (group is { } value) yield return value;
        }
    }

    private static void VerifyNonRoot(V1Pod pod, PodContainer container, long? user, Image image)
    {
        if (user is not null)
        {
            if (user == 0) throw ContainerException.Config($"container's runAsUser breaks non-root policy (pod: \"{pod.Describe()}\", container: {container.Name})");
            return;
        }
        if (image.Uid is { Value: not 0 }) return;
        if (image.Uid is null && !string.IsNullOrEmpty(image.Username))
        {
            throw ContainerException.Config(
                $"container has runAsNonRoot and image has non-numeric user ({image.Username}), cannot verify user is non-root (pod: \"{pod.Describe()}\", container: {container.Name})");
        }
        throw ContainerException.Config($"container has runAsNonRoot and image will run as root (pod: \"{pod.Describe()}\", container: {container.Name})");
    }

    private static SecurityProfile Seccomp(V1SeccompProfile? profile, KubeletOptions options) => profile is null
        ? new SecurityProfile { ProfileType = SecurityProfile.Types.ProfileType.Unconfined }
        : new SecurityProfile
        {
            ProfileType = ProfileType(profile.Type),
            LocalhostRef = profile.Type == "Localhost" ? Path.Combine(options.SeccompProfileRoot, profile.LocalhostProfile ?? "") : "",
        };

    private static SecurityProfile.Types.ProfileType ProfileType(string type) => type switch
    {
        "RuntimeDefault" => SecurityProfile.Types.ProfileType.RuntimeDefault,
        "Localhost" => SecurityProfile.Types.ProfileType.Localhost,
        _ => SecurityProfile.Types.ProfileType.Unconfined,
    };

    private static SELinuxOption? SelinuxOptions(V1SELinuxOptions? from) => from is null ? null : new SELinuxOption
    {
        User = from.User ?? "",
        Role = from.Role ?? "",
        Type = from.Type ?? "",
        Level = from.Level ?? "",
    };
}
