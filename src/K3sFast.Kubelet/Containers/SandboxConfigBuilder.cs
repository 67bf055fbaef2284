using K3sFast.Kubelet.Cgroups;
using K3sFast.Kubelet.Cri;
using K3sFast.Kubelet.Pods;
using k8s.Models;

namespace K3sFast.Kubelet.Containers;

/// <summary>What the runtime is told about a pod's sandbox. A pure function of the pod and the node's options.</summary>
internal static class SandboxConfigBuilder
{
    public static PodSandboxConfig Build(V1Pod pod, uint attempt, KubeletOptions options, PodCgroups cgroups)
    {
        var metadata = pod.Metadata;
        var (hostname, domain) = Hostname(pod, options);
        var config = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = metadata.Name, Namespace = metadata.NamespaceProperty, Uid = metadata.Uid, Attempt = attempt },
            LogDirectory = options.PodLogDir(metadata.NamespaceProperty, metadata.Name, metadata.Uid),
            DnsConfig = PodDns.Build(pod, options),
            Linux = new LinuxPodSandboxConfig
            {
                CgroupParent = cgroups.PathOf(pod),
                SecurityContext = SecurityContextBuilder.ForSandbox(pod),
                Resources = Resources(pod),
                Overhead = new LinuxContainerResources(),
            },
        };
        if (!pod.IsHostNetwork()) config.Hostname = pod.Spec.SetHostnameAsFQDN == true && domain.Length > 0 ? $"{hostname}.{domain}" : hostname;
        foreach (var (name, value) in metadata.Labels ?? new Dictionary<string, string>()) config.Labels[name] = value;
        config.Labels[CriLabels.PodName] = metadata.Name;
        config.Labels[CriLabels.PodNamespace] = metadata.NamespaceProperty;
        config.Labels[CriLabels.PodUid] = metadata.Uid;
        foreach (var (name, value) in metadata.Annotations ?? new Dictionary<string, string>()) config.Annotations[name] = value;
        foreach (var sysctl in pod.Spec.SecurityContext?.Sysctls ?? []) config.Linux.Sysctls[sysctl.Name] = sysctl.Value;
        foreach (var container in PodContainer.Of(pod))
        {
            foreach (var port in container.Spec.Ports ?? [])
            {
                config.PortMappings.Add(new PortMapping
                {
                    Protocol = port.Protocol switch { "UDP" => Protocol.Udp, "SCTP" => Protocol.Sctp, _ => Protocol.Tcp },
                    ContainerPort = port.ContainerPort,
                    HostPort = pod.IsHostNetwork() ? 0 : port.HostPort ?? 0,
                    HostIp = port.HostIP ?? "",
                });
            }
        }
        return config;
    }

    /// <summary>Hostname of the pod and the domain that its subdomain gives it ("" without one).</summary>
    public static (string Hostname, string Domain) Hostname(V1Pod pod, KubeletOptions options)
    {
        if (!string.IsNullOrEmpty(pod.Spec.HostnameOverride)) return (pod.Spec.HostnameOverride, "");
        if (pod.IsHostNetwork()) return (Environment.MachineName, "");
        var hostname = string.IsNullOrEmpty(pod.Spec.Hostname) ? pod.Metadata.Name : pod.Spec.Hostname;
        // RFC 1123: a label has 63 characters at most, and does not end in a dash or dot.
        if (hostname.Length > 63) hostname = hostname[..63].TrimEnd('-', '.');
        var domain = string.IsNullOrEmpty(pod.Spec.Subdomain) ? "" : $"{pod.Spec.Subdomain}.{pod.Metadata.NamespaceProperty}.svc.{options.ClusterDomain}";
        return (hostname, domain);
    }

    /// <summary>Attempt number of the sandbox after the newest one.</summary>
    public static uint NextAttempt(PodRuntime runtime) => runtime.Sandbox is { } sandbox ? sandbox.Attempt + 1 : 0;

    private static LinuxContainerResources Resources(V1Pod pod) => new()
    {
        CpuPeriod = ResourceMath.QuotaPeriodUs,
        CpuShares = pod.QosClass() == "BestEffort" ? ResourceMath.MinShares : ResourceMath.CpuShares(pod.TotalRequest("cpu")),
        CpuQuota = ResourceMath.CpuQuotaUs(pod.TotalLimit("cpu")),
        MemoryLimitInBytes = (long)pod.TotalLimit("memory"),
    };
}
