using System.Globalization;

namespace K3sFast.Host;

/// <summary>How much something is needed.</summary>
internal enum Need
{
    /// <summary>No node without it.</summary>
    Required,

    /// <summary>What stands beside it does not work without it.</summary>
    Optional,
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Group">Its heading.</param>
/// <param name="Name">What it is.</param>
/// <param name="State">What was found: enabled, enabled (as module), missing, or words.</param>
/// <param name="IsMet">It is as it should be.</param>
/// <param name="Need">How much it is needed.</param>
/// <param name="Use">What does not work without it.</param>
internal sealed record Check(string Group, string Name, string State, bool IsMet, Need Need, string Use);

/// <summary>
/// What a node needs of its machine: rights, limits, control groups, and parts of the kernel. Parts of the kernel are looked up in its configuration; where
/// there is none, the node's start says what is missing when it is used.
/// </summary>
/// <remarks>Reads files only; changes nothing.</remarks>
internal static class HostChecks
{
    private const string Necessary = "Generally Necessary", Optional = "Optional Features", Network = "Network Drivers", Storage = "Storage Drivers";

    private const string Rules = "services and policies";

    // linux/capability.h: numbers of what a node uses.
    private static readonly (int Number, string Name, Need Need, string Use)[] s_capabilities =
    [
        (12, "CAP_NET_ADMIN", Need.Required, "links, routes and rules"), (21, "CAP_SYS_ADMIN", Need.Required, "mounts and namespaces"),
        (0, "CAP_CHOWN", Need.Optional, "owners of volumes"), (13, "CAP_NET_RAW", Need.Optional, "ping from pods"), (18, "CAP_SYS_CHROOT", Need.Optional, "chroot in pods"),
        (24, "CAP_SYS_RESOURCE", Need.Optional, "pods that outlive others when memory is short"), (27, "CAP_MKNOD", Need.Optional, "devices of containers"),
    ];

    private static readonly (string Group, Need Need, string Use, string[] Names)[] s_options =
    [
        (Necessary, Need.Required, "containers", ["CONFIG_NAMESPACES", "CONFIG_NET_NS", "CONFIG_PID_NS", "CONFIG_IPC_NS", "CONFIG_UTS_NS", "CONFIG_CGROUPS", "CONFIG_MEMCG"]),
        // Kernels that know only the newer hierarchy of control groups are built without most of these.
        (Necessary, Need.Optional, "the older control groups", ["CONFIG_CGROUP_CPUACCT", "CONFIG_CGROUP_DEVICE", "CONFIG_CGROUP_FREEZER", "CONFIG_CGROUP_SCHED", "CONFIG_CPUSETS"]),
        (Necessary, Need.Optional, "session keys and message queues of containers", ["CONFIG_KEYS", "CONFIG_POSIX_MQUEUE"]),
        (Necessary, Need.Required, "pods' links", ["CONFIG_VETH"]),
        (Necessary, Need.Required, Rules, ["CONFIG_NETFILTER", "CONFIG_NF_CONNTRACK", "CONFIG_NF_CT_NETLINK", "CONFIG_NF_NAT", "CONFIG_NF_TABLES", "CONFIG_NF_TABLES_IPV4", "CONFIG_NFT_CT",
            "CONFIG_NFT_NAT", "CONFIG_NFT_MASQ", "CONFIG_NFT_REJECT", "CONFIG_NFT_FIB_IPV4", "CONFIG_NFT_NUMGEN", "CONFIG_NFT_LIMIT"]),
        (Optional, Need.Optional, "pods with user namespaces", ["CONFIG_USER_NS"]),
        (Optional, Need.Optional, "seccomp profiles", ["CONFIG_SECCOMP", "CONFIG_SECCOMP_FILTER"]),
        (Optional, Need.Optional, "limits of processes per pod", ["CONFIG_CGROUP_PIDS"]),
        (Optional, Need.Optional, "limits of CPU", ["CONFIG_CFS_BANDWIDTH", "CONFIG_FAIR_GROUP_SCHED"]),
        (Optional, Need.Optional, "huge pages in pods", ["CONFIG_CGROUP_HUGETLB"]),
        (Optional, Need.Optional, "IPv6 and dual stack", ["CONFIG_IPV6", "CONFIG_NF_TABLES_IPV6", "CONFIG_NFT_FIB_IPV6"]),
        (Optional, Need.Optional, "SCTP services", ["CONFIG_NF_CT_PROTO_SCTP"]),
        (Optional, Need.Optional, "policy logs", ["CONFIG_NFT_LOG", "CONFIG_NETFILTER_NETLINK_LOG"]),
        (Optional, Need.Optional, "bandwidth of pods", ["CONFIG_NET_SCH_TBF", "CONFIG_NET_SCH_INGRESS", "CONFIG_NET_CLS_U32", "CONFIG_NET_ACT_MIRRED", "CONFIG_IFB"]),
        (Optional, Need.Optional, "proxy-mode=ebpf", ["CONFIG_BPF_SYSCALL", "CONFIG_CGROUP_BPF", "CONFIG_NET_CLS_BPF", "CONFIG_NET_CLS_ACT", "CONFIG_NET_SCH_INGRESS"]),
        (Optional, Need.Optional, "proxy-mode=ipvs", ["CONFIG_IP_VS", "CONFIG_IP_VS_PROTO_TCP", "CONFIG_IP_VS_PROTO_UDP", "CONFIG_IP_VS_RR", "CONFIG_IP_VS_NFCT"]),
        (Network, Need.Optional, "flannel-backend=vxlan", ["CONFIG_VXLAN"]),
        (Network, Need.Optional, "flannel-backend=wireguard-native", ["CONFIG_WIREGUARD"]),
        (Storage, Need.Optional, "snapshotter=overlayfs", ["CONFIG_OVERLAY_FS"]),
    ];

    // What other options bring along on kernels where they have no name of their own: the first name stands for the rest.
    private static readonly Dictionary<string, string> s_standIns = new(StringComparer.Ordinal)
    {
        ["CONFIG_NFT_FIB_IPV4"] = "CONFIG_NFT_FIB_INET", ["CONFIG_NFT_FIB_IPV6"] = "CONFIG_NFT_FIB_INET",
    };

    /// <summary>Everything, in the order in which it is told.</summary>
    /// <param name="config">How the kernel was built.</param>
    /// <param name="root">Where /proc and /sys are.</param>
    public static List<Check> All(KernelConfig config, string root = "/")
    {
        var checks = new List<Check>();
        AddRights(checks, root);
        AddLimits(checks, root);
        AddCgroups(checks, root);
        foreach (var (group, need, use, names) in s_options)
        {
            foreach (var name in names)
            {
                var value = config[name].Length > 0 ? config[name] : s_standIns.TryGetValue(name, out var other) ? config[other] : "";
                var isMet = config.IsUnknown || value is "y" or "m";
                var state = config.IsUnknown ? "unknown" : value switch { "y" => "enabled", "m" => "enabled (as module)", _ => "missing" };
                checks.Add(new(group, name, state, isMet, need, use));
            }
        }
        return checks;
    }

    /// <summary>What a node cannot start without, in one line; null = nothing is missing.</summary>
    /// <param name="checks">What was found.</param>
    /// <param name="hasRules">False: the node programs no nf_tables.</param>
    public static string? Missing(IEnumerable<Check> checks, bool hasRules = true)
    {
        var missing = checks.Where(check => check is { IsMet: false, Need: Need.Required } && (hasRules || check.Use != Rules)).Select(static check => $"{check.Name} ({check.Use})").ToList();
        return missing.Count == 0 ? null : $"this machine lacks what a node needs: {string.Join(", ", missing)}; k3sfast check-config tells more";
    }

    private static void AddRights(List<Check> checks, string root)
    {
        ulong? effective = null;
        foreach (var line in Lines(Path.Combine(root, "proc/self/status")))
        {
            if (line.StartsWith("CapEff:", StringComparison.Ordinal) && ulong.TryParse(line.AsSpan(7).Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var bits))
                effective = bits;
        }
        foreach (var (number, name, need, use) in s_capabilities)
        {
            var isHeld = effective is not { } set || ((set >> number) & 1) != 0;
            checks.Add(new("System", name, effective is null ? "unknown" : isHeld ? "held" : "not held", isHeld, need, use));
        }
        var hasSwap = Lines(Path.Combine(root, "proc/swaps")).Skip(1).Any(static line => line.Length > 0);
        checks.Add(new("System", "swap", hasSwap ? "should be disabled" : "disabled", !hasSwap, Need.Optional, "memory limits that hold"));
    }

    private static void AddLimits(List<Check> checks, string root)
    {
        var text = Lines(Path.Combine(root, "proc/sys/kernel/keys/root_maxkeys")).FirstOrDefault() ?? "";
        // Each container takes a key; the kernel's default for root holds a million.
        var isEnough = !int.TryParse(text, CultureInfo.InvariantCulture, out var keys) || keys >= 10_000;
        checks.Add(new("Limits", "/proc/sys/kernel/keys/root_maxkeys", text.Length == 0 ? "unknown" : text, isEnough, Need.Optional, "ten thousand containers"));
    }

    private static void AddCgroups(List<Check> checks, string root)
    {
        var unified = Path.Combine(root, "sys/fs/cgroup/cgroup.controllers");
        if (File.Exists(unified))
        {
            var held = (Lines(unified).FirstOrDefault() ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var missing = ((string[])["cpu", "cpuset", "memory", "pids"]).Except(held).ToList();
            checks.Add(new(Necessary, "cgroup hierarchy", missing.Count == 0 ? "cgroups V2 mounted, cpu|cpuset|memory|pids controllers: good" : $"cgroups V2 mounted, without {string.Join('|', missing)}",
                !missing.Exists(static name => name is "cpu" or "memory"), Need.Required, "containers"));
            return;
        }
        var controllers = Lines(Path.Combine(root, "proc/cgroups")).Where(static line => !line.StartsWith('#')).Select(static line => line.Split('\t')).Where(static words => words is [_, _, _, "1"])
            .Select(static words => words[0]).ToHashSet();
        var absent = ((string[])["cpu", "memory", "devices", "freezer"]).Except(controllers).ToList();
        var isMounted = Directory.Exists(Path.Combine(root, "sys/fs/cgroup/memory"));
        checks.Add(new(Necessary, "cgroup hierarchy", !isMounted ? "nonexistent" : absent.Count == 0 ? "cgroups V1 mounted: good" : $"cgroups V1 mounted, without {string.Join('|', absent)}",
            isMounted && absent.Count == 0, Need.Required, "containers"));
    }

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
