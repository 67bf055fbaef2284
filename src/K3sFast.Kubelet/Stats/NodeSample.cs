using System.Globalization;
using K3sFast.Interop.Processes;
using K3sFast.Kubelet.Node;

namespace K3sFast.Kubelet.Stats;

/// <summary>What the whole node uses, from the kernel's own counters.</summary>
internal sealed record NodeSample(DateTimeOffset At, ulong CpuNanoseconds, long AvailableMemoryBytes, long WorkingSetBytes, FileSystemSpace Disk)
{
    // USER_HZ: the unit of /proc/stat on every Linux architecture that we run on.
    private const ulong NanosecondsPerTick = 10_000_000;

    public static NodeSample Read(MachineInfo machine, string rootDir, TimeProvider time)
    {
        var available = MachineInfo.AvailableMemory();
        return new NodeSample(time.GetUtcNow(), ReadCpu() * NanosecondsPerTick, available, machine.MemoryBytes - available, PosixFile.SpaceOf(rootDir));
    }

    // proc(5): cpu user nice system idle iowait irq softirq steal guest guest_nice
    private static ulong ReadCpu()
    {
        var line = File.ReadLines("/proc/stat").First();
        var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var busy = 0UL;
        for (var i = 1; i <= 8 && i < fields.Length; i++)
        {
            if (i is not (4 or 5)) busy += ulong.Parse(fields[i], CultureInfo.InvariantCulture);
        }
        return busy;
    }
}
