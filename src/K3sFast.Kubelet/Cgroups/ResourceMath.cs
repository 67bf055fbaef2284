namespace K3sFast.Kubelet.Cgroups;

/// <summary>From Kubernetes' quantities to the kernel's numbers. Bounds are the kernel's, as upstream applies them.</summary>
internal static class ResourceMath
{
    // sched(7), cgroup v1: one CPU is 1024 shares, 2 is the least and 262144 the most the kernel takes.
    public const long MinShares = 2;
    public const long MaxShares = 262144;
    public const long SharesPerCpu = 1024;

    // CFS period in microseconds, and the least quota the kernel takes.
    public const long QuotaPeriodUs = 100_000;
    public const long MinQuotaUs = 1000;

    /// <summary>cpu.shares of a request in cores.</summary>
    public static long CpuShares(decimal cores) => Math.Clamp((long)(cores * 1000) * SharesPerCpu / 1000, MinShares, MaxShares);

    /// <summary>CFS quota of a limit in cores; 0 = no limit.</summary>
    public static long CpuQuotaUs(decimal cores) => cores <= 0 ? 0 : Math.Max((long)decimal.Ceiling(cores * 1000) * QuotaPeriodUs / 1000, MinQuotaUs);

    /// <summary>cpu.weight (1..10000) of cpu.shares (2..262144): linear, as runc maps it.</summary>
    public static long CpuWeight(long shares) => 1 + ((Math.Clamp(shares, MinShares, MaxShares) - 2) * 9999 / 262142);

    /// <summary>
    /// How ready the kernel is to kill the container when memory is short: Guaranteed last, BestEffort first, others by their share of memory.
    /// </summary>
    public static long OomScoreAdjust(string qosClass, decimal memoryRequest, long nodeMemoryBytes, bool isNodeCritical)
    {
        // Values of upstream's qos policy: kubelet and critical pods -997/-999, best effort 1000.
        if (isNodeCritical || qosClass == "Guaranteed") return -997;
        if (qosClass == "BestEffort") return 1000;
        var adjust = 1000 - (long)(1000 * memoryRequest / Math.Max(nodeMemoryBytes, 1));
        // Never better than a guaranteed pod, never as bad as best effort.
        return Math.Clamp(adjust, 1000 - 997, 999);
    }
}
