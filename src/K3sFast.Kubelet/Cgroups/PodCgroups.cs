using System.Globalization;
using K3sFast.Interop.Cgroups;
using K3sFast.Kubelet.Pods;
using k8s.Models;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Cgroups;

/// <summary>
/// The tree <c>kubepods/{burstable,besteffort}/pod&lt;uid&gt;</c> with its weights and limits, under the cgroupfs driver's names. The runtime puts
/// containers below a pod's cgroup. What the machine refuses is logged once and lived without: a pod without a limit is better than no pod.
/// </summary>
internal sealed class PodCgroups(CgroupTree tree, KubeletOptions options, ILogger logger)
{
    private readonly string _root = options.CgroupRoot.TrimEnd('/') + "/kubepods";
    private readonly HashSet<string> _refused = [];
    private readonly Lock _gate = new();

    public bool IsUnified => tree.IsUnified;

    public CgroupTree Tree => tree;

    /// <summary>Path of a pod's cgroup, as the runtime wants it.</summary>
    public string PathOf(V1Pod pod) => PathOf(pod.Metadata.Uid, pod.QosClass());

    /// <summary>Makes the classes' cgroups and gives kubepods what the node has to give.</summary>
    public void CreateRoot(decimal allocatableCpus, long allocatableMemoryBytes)
    {
        foreach (var path in (ReadOnlySpan<string>)[_root, _root + "/burstable", _root + "/besteffort"]) tree.Create(path);
        WriteShares(_root, ResourceMath.CpuShares(allocatableCpus));
        WriteMemoryLimit(_root, allocatableMemoryBytes);
        WriteShares(_root + "/besteffort", ResourceMath.MinShares);
    }

    /// <summary>Weights the burstable class by what its pods ask for together.</summary>
    public void SetBurstableRequest(decimal cores) => WriteShares(_root + "/burstable", ResourceMath.CpuShares(cores));

    /// <summary>Makes the pod's cgroup and sets or updates its weight and limits.</summary>
    /// <exception cref="IOException">The machine lets no cgroup be made at all.</exception>
    public void Apply(V1Pod pod)
    {
        var path = PathOf(pod);
        tree.Create(path);
        var qosClass = pod.QosClass();
        WriteShares(path, qosClass == "BestEffort" ? ResourceMath.MinShares : ResourceMath.CpuShares(pod.TotalRequest("cpu")));
        WriteQuota(path, ResourceMath.CpuQuotaUs(pod.TotalLimit("cpu")));
        WriteMemoryLimit(path, (long)pod.TotalLimit("memory"));
        if (options.PodPidsLimit > 0) Write("pids", path, "pids.max", options.PodPidsLimit.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>UIDs of pods that have a cgroup.</summary>
    public IReadOnlySet<string> ListPods()
    {
        var pods = new HashSet<string>();
        foreach (var parent in (ReadOnlySpan<string>)[_root, _root + "/burstable", _root + "/besteffort"])
        {
            foreach (var child in tree.Children(parent))
            {
                if (child.StartsWith("pod", StringComparison.Ordinal)) pods.Add(child[3..]);
            }
        }
        return pods;
    }

    /// <summary>Removes the pod's cgroup, killing what is left in it. False = try again.</summary>
    public bool TryRemove(string podUid)
    {
        var isGone = true;
        foreach (var qosClass in (ReadOnlySpan<string>)["Guaranteed", "Burstable", "BestEffort"])
        {
            var path = PathOf(podUid, qosClass);
            if (tree.TryRemove(path)) continue;
            foreach (var pid in tree.ProcessesBelow(path)) Kill(pid);
            isGone &= tree.TryRemove(path);
        }
        return isGone;
    }

    private string PathOf(string podUid, string qosClass) => qosClass switch
    {
        "Guaranteed" => $"{_root}/pod{podUid}",
        "Burstable" => $"{_root}/burstable/pod{podUid}",
        _ => $"{_root}/besteffort/pod{podUid}",
    };

    private void Kill(int pid)
    {
        try
        {
            using var process = System.Diagnostics.Process.GetProcessById(pid);
            process.Kill();
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // Gone meanwhile.
            _ = logger;
        }
    }

    private void WriteShares(string path, long shares)
    {
        if (tree.IsUnified) Write("cpu", path, "cpu.weight", ResourceMath.CpuWeight(shares).ToString(CultureInfo.InvariantCulture));
        else Write("cpu", path, "cpu.shares", shares.ToString(CultureInfo.InvariantCulture));
    }

    private void WriteQuota(string path, long quotaUs)
    {
        if (tree.IsUnified)
        {
            Write("cpu", path, "cpu.max", string.Create(CultureInfo.InvariantCulture, $"{(quotaUs > 0 ? quotaUs : "max")} {ResourceMath.QuotaPeriodUs}"));
            return;
        }
        Write("cpu", path, "cpu.cfs_period_us", ResourceMath.QuotaPeriodUs.ToString(CultureInfo.InvariantCulture));
        Write("cpu", path, "cpu.cfs_quota_us", (quotaUs > 0 ? quotaUs : -1).ToString(CultureInfo.InvariantCulture));
    }

    private void WriteMemoryLimit(string path, long bytes)
    {
        var file = tree.IsUnified ? "memory.max" : "memory.limit_in_bytes";
        Write("memory", path, file, bytes > 0 ? bytes.ToString(CultureInfo.InvariantCulture) : tree.IsUnified ? "max" : "-1");
    }

    private void Write(string controller, string path, string file, string value)
    {
        if (tree.TryRead(controller, path, file) == value || tree.TryWrite(controller, path, file, value)) return;
        lock (_gate)
        {
            if (!_refused.Add(file)) return;
        }
        Log.CgroupRefused(logger, file, path, value);
    }
}
