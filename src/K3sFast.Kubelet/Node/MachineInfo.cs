using System.Globalization;
using System.Runtime.InteropServices;

namespace K3sFast.Kubelet.Node;

/// <summary>What the machine is and has: CPUs, memory, disk, system. Read once at start, but for free space.</summary>
internal sealed class MachineInfo
{
    private MachineInfo(string rootDir, int maxPods)
    {
        Cpus = CountCpus();
        MemoryBytes = ReadMemory();
        var space = Interop.Processes.PosixFile.SpaceOf(rootDir);
        EphemeralStorageBytes = space.TotalBytes;
        Capacity = new Dictionary<string, decimal>
        {
            ["cpu"] = Cpus,
            ["memory"] = MemoryBytes,
            ["ephemeral-storage"] = EphemeralStorageBytes,
            ["pods"] = maxPods,
        };
        foreach (var (size, bytes) in ReadHugePages()) Capacity[$"hugepages-{size}"] = bytes;
        Allocatable = new Dictionary<string, decimal>(Capacity);
        // Hard eviction thresholds are kept back from pods, as upstream's defaults: memory.available < 100Mi, nodefs.available < 10 %.
        Allocatable["memory"] = Math.Max(0, MemoryBytes - (100L * 1024 * 1024));
        Allocatable["ephemeral-storage"] = EphemeralStorageBytes - (EphemeralStorageBytes / 10);
    }

    public int Cpus { get; }
    public long MemoryBytes { get; }
    public long EphemeralStorageBytes { get; }
    public Dictionary<string, decimal> Capacity { get; }
    public Dictionary<string, decimal> Allocatable { get; }
    public string MachineId { get; } = ReadText("/etc/machine-id");
    public string SystemUuid { get; } = ReadText("/sys/class/dmi/id/product_uuid") is { Length: > 0 } uuid ? uuid : ReadText("/etc/machine-id");
    public string BootId { get; } = ReadText("/proc/sys/kernel/random/boot_id");
    public string KernelVersion { get; } = ReadText("/proc/sys/kernel/osrelease");
    public string OsImage { get; } = ReadOsImage();

    public static string Architecture => RuntimeInformation.ProcessArchitecture switch
    {
        System.Runtime.InteropServices.Architecture.X64 => "amd64",
        System.Runtime.InteropServices.Architecture.Arm64 => "arm64",
        System.Runtime.InteropServices.Architecture.Arm => "arm",
        var other => other.ToString().ToLowerInvariant(),
    };

    public static MachineInfo Read(KubeletOptions options)
    {
        Directory.CreateDirectory(options.RootDir);
        return new MachineInfo(options.RootDir, options.MaxPods);
    }

    /// <summary>Bytes that programs can still get without swapping.</summary>
    public static long AvailableMemory() => ReadMeminfo("MemAvailable:");

    // All CPUs of the machine, not those that this process may use.
    private static int CountCpus()
    {
        var count = 0;
        foreach (var part in ReadText("/sys/devices/system/cpu/online").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            var range = part.Split('-');
            var first = int.Parse(range[0], CultureInfo.InvariantCulture);
            count += (range.Length > 1 ? int.Parse(range[1], CultureInfo.InvariantCulture) : first) - first + 1;
        }
        return count > 0 ? count : Environment.ProcessorCount;
    }

    private static long ReadMemory() => ReadMeminfo("MemTotal:");

    private static long ReadMeminfo(string name)
    {
        foreach (var line in File.ReadLines("/proc/meminfo"))
        {
            // "MemTotal:       24663320 kB"
            if (!line.StartsWith(name, StringComparison.Ordinal)) continue;
            return long.Parse(line.AsSpan(name.Length).Trim().ToString().Split(' ')[0], CultureInfo.InvariantCulture) * 1024;
        }
        return 0;
    }

    private static IEnumerable<(string Size, long Bytes)> ReadHugePages()
    {
        const string Root = "/sys/kernel/mm/hugepages";
        if (!Directory.Exists(Root)) yield break;
        foreach (var directory in Directory.EnumerateDirectories(Root))
        {
            // "hugepages-2048kB"
            var name = Path.GetFileName(directory);
            if (!name.StartsWith("hugepages-", StringComparison.Ordinal) || !long.TryParse(name.AsSpan(10, name.Length - 12), CultureInfo.InvariantCulture, out var kilobytes)) continue;
            var size = kilobytes >= 1024 * 1024 ? $"{kilobytes / 1024 / 1024}Gi" : kilobytes >= 1024 ? $"{kilobytes / 1024}Mi" : $"{kilobytes}Ki";
            var count = long.TryParse(ReadText(Path.Combine(directory, "nr_hugepages")), CultureInfo.InvariantCulture, out var pages) ? pages : 0;
            yield return (size, count * kilobytes * 1024);
        }
    }

    private static string ReadOsImage()
    {
        if (!File.Exists("/etc/os-release")) return "Linux";
        foreach (var line in File.ReadLines("/etc/os-release"))
        {
            if (line.StartsWith("PRETTY_NAME=", StringComparison.Ordinal)) return line["PRETTY_NAME=".Length..].Trim('"', '\'');
        }
        return "Linux";
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllText(path).Trim() : "";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
