using System.Globalization;

namespace K3sFast.EndToEnd.Tests;

/// <summary>A memory cgroup with a limit, in the first or the second version's tree.</summary>
internal sealed class MemoryLimit : IDisposable
{
    private const string First = "/sys/fs/cgroup/memory", Second = "/sys/fs/cgroup";

    private readonly string _folder;
    private readonly bool _isFirst;

    private MemoryLimit(string folder, bool isFirst) => (_folder, _isFirst) = (folder, isFirst);

    /// <summary>Why there can be none here, or null.</summary>
    internal static string? Absence =>
        File.Exists($"{First}/memory.limit_in_bytes") || (File.Exists($"{Second}/cgroup.subtree_control") && File.ReadAllText($"{Second}/cgroup.subtree_control").Contains("memory", StringComparison.Ordinal))
            ? null : "no memory controller is mounted at /sys/fs/cgroup";

    /// <summary>A process that writes its id here is limited from then on.</summary>
    internal string Door => $"{_folder}/cgroup.procs";

    /// <summary>Processes that live in it.</summary>
    internal IEnumerable<int> Processes => File.ReadLines(Door).Select(static line => int.Parse(line, CultureInfo.InvariantCulture));

    /// <summary>How often the kernel killed for want of memory in it.</summary>
    internal long Kills => long.Parse(
        File.ReadLines($"{_folder}/{(_isFirst ? "memory.oom_control" : "memory.events")}").Single(static line => line.StartsWith("oom_kill ", StringComparison.Ordinal))["oom_kill ".Length..], CultureInfo.InvariantCulture);

    internal static MemoryLimit Create(string name, long bytes)
    {
        var isFirst = File.Exists($"{First}/memory.limit_in_bytes");
        var folder = $"{(isFirst ? First : Second)}/{name}";
        Directory.CreateDirectory(folder);
        File.WriteAllText($"{folder}/{(isFirst ? "memory.limit_in_bytes" : "memory.max")}", bytes.ToString(CultureInfo.InvariantCulture));
        // Nor may it flee into swap, where there is any.
        var swap = $"{folder}/{(isFirst ? "memory.memsw.limit_in_bytes" : "memory.swap.max")}";
        if (File.Exists(swap)) File.WriteAllText(swap, isFirst ? bytes.ToString(CultureInfo.InvariantCulture) : "0");
        return new MemoryLimit(folder, isFirst);
    }

    /// <remarks>A process that has ended may be counted here for a moment yet.</remarks>
    public void Dispose() => Assert.True(SpinWait.SpinUntil(TryRemove, TimeSpan.FromSeconds(60)), $"{_folder} is in use");

    private bool TryRemove()
    {
        try
        {
            Directory.Delete(_folder);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
