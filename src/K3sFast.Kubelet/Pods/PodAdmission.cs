using System.Globalization;
using K3sFast.Kubelet.Status;
using k8s.Models;

namespace K3sFast.Kubelet.Pods;

/// <summary>The node's own last word on a pod that was bound to it: room, ports, sysctls. Pure.</summary>
internal static class PodAdmission
{
    // Sysctls that are namespaced and harm nobody else: upstream's safe list.
    private static readonly HashSet<string> s_safeSysctls =
    [
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    ];

    /// <summary>Why the pod may not run beside <paramref name="others"/>; null = it may.</summary>
    public static PodFailure? Check(V1Pod pod, IEnumerable<V1Pod> others, IReadOnlyDictionary<string, decimal> allocatable, KubeletOptions options)
    {
        var active = others.ToList();
        if (Resources(pod, active, allocatable) is { } shortage) return shortage;
        if (HostPorts(pod, active)) return Rejected("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
        foreach (var sysctl in pod.Spec.SecurityContext?.Sysctls ?? [])
        {
            if (!IsAllowed(sysctl.Name, options)) return Rejected("SysctlForbidden", $"forbidden sysctl: \"{sysctl.Name}\" not allowlisted");
        }
        return null;
    }

    private static PodFailure Rejected(string reason, string message) => new(reason, "Pod was rejected: " + message);

    private static PodFailure? Resources(V1Pod pod, List<V1Pod> others, IReadOnlyDictionary<string, decimal> allocatable)
    {
        foreach (var (name, capacity) in allocatable)
        {
            var requested = name == "pods" ? 1 : pod.TotalRequest(name);
            if (requested == 0) continue;
            var used = name == "pods" ? others.Count : others.Sum(other => other.TotalRequest(name));
            if (requested + used <= capacity) continue;
            // CPU is counted in thousandths, the rest in units.
            var unit = name == "cpu" ? 1000 : 1;
            return Rejected(
                $"OutOf{name}",
                string.Create(CultureInfo.InvariantCulture, $"Node didn't have enough resource: {name}, requested: {requested * unit:0}, used: {used * unit:0}, capacity: {capacity * unit:0}"));
        }
        return null;
    }

    private static bool HostPorts(V1Pod pod, List<V1Pod> others)
    {
        var wanted = Ports(pod).ToList();
        if (wanted.Count == 0) return false;
        foreach (var used in others.SelectMany(Ports))
        {
            foreach (var port in wanted)
            {
                var isSameAddress = port.IP == used.IP || port.IP == "0.0.0.0" || used.IP == "0.0.0.0";
                if (port.Port == used.Port && port.Protocol == used.Protocol && isSameAddress) return true;
            }
        }
        return false;
    }

    private static IEnumerable<(int Port, string Protocol, string IP)> Ports(V1Pod pod)
    {
        foreach (var container in PodContainer.Of(pod))
        {
            if (container.Role is not (ContainerRole.Main or ContainerRole.Sidecar)) continue;
            foreach (var port in container.Spec.Ports ?? [])
            {
                if (port.HostPort is > 0 and var number) yield return (number, port.Protocol ?? "TCP", string.IsNullOrEmpty(port.HostIP) ? "0.0.0.0" : port.HostIP);
            }
        }
    }

    private static bool IsAllowed(string name, KubeletOptions options)
    {
        name = name.Replace('/', '.');
        if (s_safeSysctls.Contains(name)) return true;
        foreach (var allowed in options.AllowedUnsafeSysctls)
        {
            if (allowed.EndsWith('*') ? name.StartsWith(allowed[..^1], StringComparison.Ordinal) : name == allowed) return true;
        }
        return false;
    }
}
