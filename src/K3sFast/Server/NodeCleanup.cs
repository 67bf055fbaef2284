using K3sFast.Configuration;
using K3sFast.Containerd;
using K3sFast.Interop.Cgroups;
using K3sFast.Interop.Mounts;
using K3sFast.Interop.Processes;
using K3sFast.Network;

namespace K3sFast.Server;

/// <summary>Removes what one node left in the kernel: processes, mounts, network namespaces, links, rules, cgroups. Data stays.</summary>
/// <remarks>Only what belongs to this node's directories is touched, so nodes beside it on the machine go on.</remarks>
internal sealed class NodeCleanup(NodeConfig config, string kubeconfig, TextWriter output)
{
    private const int Sigterm = 15, Sigkill = 9;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly NodePaths _paths = config.Paths;
    private readonly CgroupTree _cgroups = new();

    /// <summary>Runs all steps; each is safe to repeat, and a failing one does not stop the next.</summary>
    /// <returns>True when nothing is left.</returns>
    public bool Run()
    {
        var isClean = true;
        isClean &= Try("stop the server", StopServer);
        isClean &= Try("stop containerd and pods", StopRuntime);
        isClean &= Try("unmount", Unmount);
        isClean &= Try("remove network state", RemoveNetwork);
        isClean &= Try("remove cgroups", RemoveCgroups);
        isClean &= Try("remove run-time files", RemoveRunFiles);
        return isClean;
    }

    /// <summary>Deletes the node's files as well: for uninstalling, after <see cref="Run"/> left nothing in the kernel.</summary>
    /// <returns>True when all are gone.</returns>
    public bool Purge() => Try("delete files", () =>
    {
        // By name, so that a --data-dir that is somebody's home loses only what is ours.
        foreach (var name in (string[])["server", "agent", "data", "storage"])
            DeleteTree(Path.Combine(_paths.Data, name));
        DeleteTree(_paths.KubeletRoot);
        DeleteTree(_paths.PodLogs);
        // An agent has none, nor its folder.
        if (File.Exists(kubeconfig))
            File.Delete(kubeconfig);
        if (Directory.Exists(_paths.Data) && !Directory.EnumerateFileSystemEntries(_paths.Data).Any())
            Directory.Delete(_paths.Data);
        output.WriteLine($"Deleted {_paths.Data}, {_paths.KubeletRoot} and {_paths.PodLogs}");
    });

    private static void DeleteTree(string path)
    {
        if (!Directory.Exists(path))
            return;
        // What is mounted there is somebody's data, not ours to delete.
        if (MountPoint.ReadAll().FirstOrDefault(mount => mount == path || mount.StartsWith(path + "/", StringComparison.Ordinal)) is { } mounted)
            throw new IOException($"{mounted} is still mounted; unmount it first");
        Directory.Delete(path, recursive: true);
    }

    private bool Try(string step, Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidOperationException or NotSupportedException)
        {
            output.WriteLine($"failed to {step}: {e.Message}");
            return false;
        }
    }

    private void StopServer()
    {
        if (InstanceLock.FindHolder(_paths) is not (> 0 and var pid) || pid == Environment.ProcessId)
            return;
        output.WriteLine($"Stopping k3sfast, pid {pid}");
        ChildProcess.Signal(pid, Sigterm);
        if (!WaitGone([pid]))
            ChildProcess.Signal(pid, Sigkill);
        WaitGone([pid]);
    }

    private void StopRuntime()
    {
        var socket = _paths.ContainerdSocket;
        var containerd = ContainerdProcess.ReadPidFile(_paths.ContainerdPid) ?? ContainerdProcess.FindListener(socket);
        var processes = ProcessTable.Read();
        // containerd first, or it would start cleaning up after the shims.
        if (containerd is not null)
        {
            output.WriteLine($"Stopping containerd, pid {containerd.Pid}");
            ChildProcess.Signal(containerd.Pid, Sigterm);
            if (!WaitGone([containerd.Pid]))
                ChildProcess.Signal(containerd.Pid, Sigkill);
        }

        var doomed = new HashSet<int>();
        foreach (var process in processes)
        {
            if (process.Name.StartsWith("containerd-shim", StringComparison.Ordinal) && process.Arguments.Contains(socket))
                processes.CollectTree(process.Pid, doomed);
        }
        foreach (var cgroup in (string[])[PodsCgroup, ContainerdSupervisor.ContainerdCgroup(_paths)])
            doomed.UnionWith(_cgroups.ProcessesBelow(cgroup));
        doomed.Remove(Environment.ProcessId);
        doomed.Remove(0);
        if (doomed.Count == 0)
            return;
        output.WriteLine($"Stopping {doomed.Count} processes of pods");
        foreach (var pid in doomed)
            ChildProcess.Signal(pid, Sigkill);
        WaitGone(doomed);
    }

    private string PodsCgroup => CgroupRootOf(config).TrimEnd('/') + "/kubepods";

    /// <summary>Where the node's pods are, by flag or by data directory.</summary>
    public static string CgroupRootOf(NodeConfig config) => config.KubeletArgs.Text("cgroup-root", config.Paths.CgroupRoot);

    private void Unmount()
    {
        string[] roots = [_paths.Run, _paths.Data, _paths.KubeletRoot];
        var mounts = MountPoint.ReadAll();
        var count = 0;
        // Latest first: what is mounted inside another goes before it. The roots themselves may be the user's own mounts.
        for (var i = mounts.Count - 1; i >= 0; i--)
        {
            if (Array.Exists(roots, root => mounts[i].StartsWith(root + "/", StringComparison.Ordinal)) && MountPoint.Unmount(mounts[i], isLazy: true))
                count++;
        }
        if (count > 0)
            output.WriteLine($"Unmounted {count} file systems");
    }

    private void RemoveNetwork()
    {
        var removed = NetworkCleanup.RemoveAll();
        if (removed.Count > 0)
            output.WriteLine($"Removed {removed.Count} tables, links and routes");
    }

    private void RemoveCgroups()
    {
        // A killed process leaves its cgroup a moment after it is gone.
        var isGone = false;
        for (var i = 0; i < 50 && !isGone; i++)
        {
            isGone = _cgroups.TryRemove(PodsCgroup) & _cgroups.TryRemove(ContainerdSupervisor.ContainerdCgroup(_paths))
                & (CgroupRootOf(config) == "/" || _cgroups.TryRemove(CgroupRootOf(config)));
            if (!isGone)
                Pause();
        }
        if (!isGone)
            throw new IOException("a cgroup is still in use");
    }

    private void RemoveRunFiles()
    {
        RemoveCniResults();
        // Sockets of killed shims lie outside our directory, under names that only the bundles know.
        var bundles = Path.Combine(_paths.ContainerdState, "io.containerd.runtime.v2.task");
        if (Directory.Exists(bundles))
        {
            foreach (var address in Directory.EnumerateFiles(bundles, "address", SearchOption.AllDirectories))
            {
                var socket = File.ReadAllText(address).Trim();
                if (socket.StartsWith("unix:///run/containerd/s/", StringComparison.Ordinal))
                    File.Delete(socket["unix://".Length..]);
            }
        }
        if (_paths.IsDefaultData)
            if (File.Exists(NodeNetwork.DefaultSubnetFile))
                File.Delete(NodeNetwork.DefaultSubnetFile);
        if (Directory.Exists(_paths.Run))
            Directory.Delete(_paths.Run, recursive: true);
        InstanceLock.Forget(_paths);
    }

    // containerd keeps the answer of each CNI call until the pod is taken down in order; a killed pod's stay behind.
    private void RemoveCniResults()
    {
        const string Results = "/var/lib/cni/results";
        var attachments = Path.Combine(NodeNetwork.StateDir(config), "pods");
        if (!Directory.Exists(Results) || !Directory.Exists(attachments))
            return;
        foreach (var attachment in Directory.EnumerateFiles(attachments, "*@*.json"))
        {
            var container = Path.GetFileName(attachment).Split('@')[0];
            foreach (var result in Directory.EnumerateFiles(Results, $"*-{container}-*"))
                File.Delete(result);
        }
    }

    private static bool WaitGone(IReadOnlyCollection<int> pids)
    {
        var until = Environment.TickCount64 + (long)s_patience.TotalMilliseconds;
        while (pids.Any(ProcessTable.IsAlive))
        {
            if (Environment.TickCount64 > until)
                return false;
            Pause();
        }
        return true;
    }

    // A command-line tool with one thread and nothing to do meanwhile: waiting is what it is for.
    private static void Pause() => new ManualResetEventSlim().Wait(20);
}
