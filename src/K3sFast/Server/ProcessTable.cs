using System.Collections;

namespace K3sFast.Server;

/// <summary>All processes at one moment, from /proc.</summary>
internal sealed class ProcessTable : IEnumerable<ProcessTable.Entry>
{
    private readonly List<Entry> _entries = [];

    /// <summary>One process; <paramref name="Name"/> is the file name of its first argument.</summary>
    internal sealed record Entry(int Pid, int Parent, string Name, string[] Arguments);

    /// <summary>Reads /proc once. Processes that end meanwhile are left out.</summary>
    public static ProcessTable Read()
    {
        var table = new ProcessTable();
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), out var pid))
                continue;
            try
            {
                var arguments = File.ReadAllText(directory + "/cmdline").Split('\0', StringSplitOptions.RemoveEmptyEntries);
                table._entries.Add(new(pid, ParentOf(pid), arguments.Length > 0 ? Path.GetFileName(arguments[0]) : "", arguments));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It is gone.
            }
        }
        return table;
    }

    /// <summary>False once the process is gone or only waits to be reaped.</summary>
    public static bool IsAlive(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[stat.LastIndexOf(')') + 2] != 'Z';
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Adds a process and all its descendants.</summary>
    public void CollectTree(int root, HashSet<int> tree)
    {
        if (!tree.Add(root))
            return;
        foreach (var entry in _entries)
        {
            if (entry.Parent == root)
                CollectTree(entry.Pid, tree);
        }
    }

    public IEnumerator<Entry> GetEnumerator() => _entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private static int ParentOf(int pid)
    {
        // proc(5): pid (comm) state ppid
        var stat = File.ReadAllText($"/proc/{pid}/stat");
        return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1]);
    }
}
