using System.Globalization;
using K3sFast.Configuration;

namespace K3sFast.Server;

/// <summary>Holds a data directory for one server, and tells others who holds it.</summary>
/// <remarks>The lock is the kernel's (flock on an open file), so a killed server leaves none behind. The file's text is the process id.</remarks>
internal sealed class InstanceLock : IDisposable
{
    private readonly FileStream _file;

    private InstanceLock(FileStream file) => _file = file;

    public static string PathOf(NodePaths paths) => Path.Combine(paths.ServerDir, "k3sfast.pid");

    /// <exception cref="ConfigurationException">Another server holds the directory.</exception>
    public static InstanceLock Take(NodePaths paths)
    {
        var path = PathOf(paths);
        try
        {
            var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            file.SetLength(0);
            file.Write(System.Text.Encoding.ASCII.GetBytes(Environment.ProcessId.ToString(CultureInfo.InvariantCulture) + "\n"));
            file.Flush();
            return new(file);
        }
        catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException))
        {
            throw new ConfigurationException($"another k3sfast server is using {paths.Data} ({path} is locked): stop it, or give another --data-dir", e);
        }
    }

    /// <summary>Process id of the server that holds the directory, or 0.</summary>
    public static int FindHolder(NodePaths paths)
    {
        var path = PathOf(paths);
        if (!File.Exists(path))
            return 0;
        try
        {
            using var free = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
            return 0;
        }
        catch (IOException)
        {
            // Held: reading needs a way in that takes no lock of its own.
            return int.TryParse(ReadUnlocked(path), out var pid) ? pid : 0;
        }
    }

    public void Dispose() => _file.Dispose();

    private static string ReadUnlocked(string path)
    {
        using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var buffer = new byte[32];
        return System.Text.Encoding.ASCII.GetString(buffer.AsSpan(0, RandomAccess.Read(handle, buffer, 0)));
    }
}
