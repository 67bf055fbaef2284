using System.Globalization;
using K3sFast.Configuration;

namespace K3sFast.Server;

/// <summary>Holds a data directory for one server or agent, and tells others who holds it.</summary>
/// <remarks>
/// The lock is the kernel's (flock on an open file), so a killed server leaves none behind. The process id is in a file of its own, because the
/// locked one cannot be opened by others.
/// </remarks>
internal sealed class InstanceLock : IDisposable
{
    private readonly FileStream _file;

    private InstanceLock(FileStream file) => _file = file;

    /// <exception cref="ConfigurationException">Another process holds the directory.</exception>
    public static InstanceLock Take(NodePaths paths)
    {
        if (TryLock(paths) is not { } file)
            throw new ConfigurationException($"another k3sfast, pid {FindHolder(paths)}, is using {paths.Data}: stop it, or give another --data-dir");
        File.WriteAllText(PidPath(paths), Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n");
        return new(file);
    }

    /// <summary>Process id of the server or agent that holds the directory, or 0.</summary>
    public static int FindHolder(NodePaths paths)
    {
        if (!File.Exists(LockPath(paths)) || !File.Exists(PidPath(paths)))
            return 0;
        using var free = TryLock(paths);
        return free is null && int.TryParse(File.ReadAllText(PidPath(paths)), out var pid) ? pid : 0;
    }

    /// <summary>Removes both files of a server that is gone.</summary>
    public static void Forget(NodePaths paths)
    {
        if (!Directory.Exists(paths.Agent))
            return;
        File.Delete(PidPath(paths));
        File.Delete(LockPath(paths));
    }

    public void Dispose() => _file.Dispose();

    private static string LockPath(NodePaths paths) => Path.Combine(paths.Agent, "k3sfast.lock");

    private static string PidPath(NodePaths paths) => Path.Combine(paths.Agent, "k3sfast.pid");

    private static FileStream? TryLock(NodePaths paths)
    {
        try
        {
            return new(LockPath(paths), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        // EWOULDBLOCK of flock(2) is how .NET reports a sharing violation.
        catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException))
        {
            return null;
        }
    }
}
