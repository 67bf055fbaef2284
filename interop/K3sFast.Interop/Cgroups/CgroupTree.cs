namespace K3sFast.Interop.Cgroups;

/// <summary>
/// The cgroup file systems of this machine: version 2 (one tree) or version 1 (one tree per controller). Paths are relative to the tree's
/// root and start with a slash; a version 1 path is made in every controller's tree.
/// </summary>
/// <remarks>
/// Any thread. Values are written as they are; which file a limit lives in is the caller's knowledge (<see cref="IsUnified"/>). A machine that
/// refuses a write (missing controller, missing privilege) answers false; the caller decides how loud that is.
/// </remarks>
public sealed class CgroupTree
{
    // Controllers that pods are accounted in, in kernel naming. cpu and cpuacct are often mounted together; then they are one tree.
    private static readonly string[] s_controllers = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb", "systemd"];

    private readonly string _mount;
    private readonly string[] _trees;

    // On a hybrid machine runtimes make their cgroups in the version 2 tree too, which carries no controllers.
    private readonly string? _hybrid;

    /// <summary>Looks at <paramref name="mount"/>, normally <c>/sys/fs/cgroup</c>.</summary>
    public CgroupTree(string mount = "/sys/fs/cgroup")
    {
        _mount = mount;
        IsUnified = File.Exists(Path.Combine(mount, "cgroup.controllers"));
        _hybrid = !IsUnified && File.Exists(Path.Combine(mount, "unified", "cgroup.procs")) ? Path.Combine(mount, "unified") : null;
        _trees = IsUnified
            ? [mount]
            : [.. s_controllers.Select(name => Path.Combine(mount, name)).Where(Directory.Exists).Select(Resolve).Distinct()];
    }

    /// <summary>True for version 2.</summary>
    public bool IsUnified { get; }

    /// <summary>Path in the file system of <paramref name="cgroup"/> under <paramref name="controller"/> (ignored for version 2).</summary>
    public string PathOf(string controller, string cgroup) =>
        IsUnified ? _mount + cgroup : Path.Combine(_mount, controller) + cgroup;

    /// <summary>Makes the cgroup and its parents in every tree; one that exists is left as it is.</summary>
    /// <exception cref="IOException">The kernel refuses.</exception>
    public void Create(string cgroup)
    {
        foreach (var tree in _trees)
        {
            if (IsUnified) EnableControllers(cgroup);
            var path = tree + cgroup;
            if (Directory.Exists(path)) continue;
            Directory.CreateDirectory(path);
            if (!IsUnified && tree.EndsWith("/cpuset", StringComparison.Ordinal)) InheritCpuset(tree, cgroup);
        }
    }

    /// <summary>True if the cgroup exists in every tree.</summary>
    public bool Exists(string cgroup) => Array.TrueForAll(_trees, tree => Directory.Exists(tree + cgroup));

    /// <summary>Writes one control file; false = no such file, or the kernel refuses the value.</summary>
    public bool TryWrite(string controller, string cgroup, string file, string value)
    {
        var path = Path.Combine(PathOf(controller, cgroup), file);
        if (!File.Exists(path)) return false;
        try
        {
            File.WriteAllText(path, value);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Reads one control file without its line end; null = no such file.</summary>
    public string? TryRead(string controller, string cgroup, string file)
    {
        try
        {
            return File.ReadAllText(Path.Combine(PathOf(controller, cgroup), file)).TrimEnd('\n');
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Processes in the cgroup and everything below it, in any tree.</summary>
    public IReadOnlySet<int> ProcessesBelow(string cgroup)
    {
        var processes = new HashSet<int>();
        foreach (var tree in _trees)
        {
            var root = tree + cgroup;
            if (!Directory.Exists(root)) continue;
            Collect(root, processes);
        }
        return processes;
    }

    /// <summary>Names of the cgroups right below <paramref name="cgroup"/>, in any tree.</summary>
    public IReadOnlySet<string> Children(string cgroup)
    {
        var names = new HashSet<string>();
        foreach (var tree in _trees)
        {
            if (!Directory.Exists(tree + cgroup)) continue;
            foreach (var child in Directory.EnumerateDirectories(tree + cgroup)) names.Add(Path.GetFileName(child));
        }
        return names;
    }

    /// <summary>Removes the cgroup and everything below it from every tree; false = something is still in it.</summary>
    public bool TryRemove(string cgroup)
    {
        var isGone = true;
        foreach (var tree in _trees) isGone &= TryRemoveBelow(tree + cgroup);
        if (_hybrid is not null) isGone &= TryRemoveBelow(_hybrid + cgroup);
        return isGone;
    }

    // A directory's control files vanish with it: only directories are removed, deepest first.
    private static bool TryRemoveBelow(string path)
    {
        if (!Directory.Exists(path)) return true;
        try
        {
            var isGone = true;
            foreach (var child in Directory.GetDirectories(path)) isGone &= TryRemoveBelow(child);
            if (!isGone) return false;
            Directory.Delete(path, recursive: false);
            return true;
        }
        catch (DirectoryNotFoundException)
        {
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static void Collect(string path, HashSet<int> processes)
    {
        try
        {
            foreach (var line in File.ReadLines(Path.Combine(path, "cgroup.procs")))
            {
                if (int.TryParse(line, out var pid)) processes.Add(pid);
            }
            foreach (var child in Directory.EnumerateDirectories(path)) Collect(child, processes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Removed while being read: nothing runs in it.
        }
    }

    // A new version 1 cpuset is empty and takes no process until both files are set.
    private static void InheritCpuset(string tree, string cgroup)
    {
        var path = tree;
        foreach (var part in cgroup.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            var parent = path;
            path = Path.Combine(path, part);
            foreach (var file in (ReadOnlySpan<string>)["cpuset.cpus", "cpuset.mems"])
            {
                var target = Path.Combine(path, file);
                if (!File.Exists(target) || File.ReadAllText(target).Trim().Length > 0) continue;
                File.WriteAllText(target, File.ReadAllText(Path.Combine(parent, file)).Trim());
            }
        }
    }

    // Version 2: a controller is there for children only when every ancestor hands it down.
    private void EnableControllers(string cgroup)
    {
        var path = _mount;
        foreach (var part in cgroup.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            foreach (var name in (ReadOnlySpan<string>)["cpu", "cpuset", "memory", "pids", "io", "hugetlb"])
            {
                try
                {
                    File.WriteAllText(Path.Combine(path, "cgroup.subtree_control"), "+" + name);
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    // The machine does not have or does not delegate this controller; its limits are then refused one by one.
                }
            }
            path = Path.Combine(path, part);
            Directory.CreateDirectory(path);
        }
    }

    private static string Resolve(string path) => new DirectoryInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path;
}
