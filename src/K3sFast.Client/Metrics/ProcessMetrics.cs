using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace K3sFast.Client;

/// <summary>
/// What this process costs, under the names that every dashboard knows. The names of Go's runtime carry our runtime's figures: dashboards that are made for
/// Kubernetes ask for them.
/// </summary>
public static class ProcessMetrics
{
    // USER_HZ: the unit of utime and stime in /proc/self/stat, 100 on every Linux that we run on.
    private const double TicksPerSecond = 100;

    private static int s_isRegistered;

    /// <summary>Registers them in <see cref="MetricRegistry.Process"/>; once is enough.</summary>
    public static void Register()
    {
        if (Interlocked.Exchange(ref s_isRegistered, 1) == 1)
            return;
        var registry = MetricRegistry.Process;
        using var self = Process.GetCurrentProcess();
        var started = new DateTimeOffset(self.StartTime.ToUniversalTime()).ToUnixTimeMilliseconds() / 1000.0;
        Add(registry, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", () => started);
        Add(registry, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", static () => (Stat(13) + Stat(14)) / TicksPerSecond);
        Add(registry, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", static () => Stat(22));
        Add(registry, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", static () => Stat(23) * Environment.SystemPageSize);
        Add(registry, "process_open_fds", "gauge", "Number of open file descriptors.", static () => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count());
        Add(registry, "process_max_fds", "gauge", "Maximum number of open file descriptors.", static () => OpenFilesLimit());
        Add(registry, "process_network_receive_bytes_total", "counter", "Number of bytes received by the process over the network.", static () => Network("InOctets"));
        Add(registry, "process_network_transmit_bytes_total", "counter", "Number of bytes sent by the process over the network.", static () => Network("OutOctets"));
        Add(registry, "go_goroutines", "gauge", "Number of units of work that run or wait in the thread pool.", static () => ThreadPool.ThreadCount + ThreadPool.PendingWorkItemCount);
        Add(registry, "go_threads", "gauge", "Number of OS threads created.", static () => Stat(19));
        Add(registry, "go_memstats_alloc_bytes", "gauge", "Number of bytes of the managed heap that are in use.", static () => GC.GetTotalMemory(forceFullCollection: false));
        Add(registry, "go_memstats_heap_alloc_bytes", "gauge", "Number of bytes of the managed heap that are in use.", static () => GC.GetTotalMemory(forceFullCollection: false));
        Add(registry, "go_memstats_alloc_bytes_total", "counter", "Total number of bytes allocated on the managed heap until now, even if released already.", static () => GC.GetTotalAllocatedBytes());
        registry.Collected("go_info", "gauge", "Information about the runtime environment.", static text => text.Sample("go_info", $"version=\"{RuntimeInformation.FrameworkDescription}\"", 1));
        registry.Collected("go_gc_duration_seconds", "summary", "The time that the garbage collector has paused the process, in all and by collections.", static text =>
        {
            text.Sample("go_gc_duration_seconds_sum", "", GC.GetTotalPauseDuration().TotalSeconds);
            text.Sample("go_gc_duration_seconds_count", "", GC.CollectionCount(0));
        });
    }

    private static void Add(MetricRegistry registry, string name, string type, string help, Func<double> read) =>
        registry.Collected(name, type, help, text => text.Sample(name, "", read()));

    // Fields by proc(5), counted from 0; the name in parentheses may hold spaces.
    private static double Stat(int field)
    {
        var text = File.ReadAllText("/proc/self/stat");
        var rest = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        return double.Parse(rest[field - 2], CultureInfo.InvariantCulture);
    }

    private static double OpenFilesLimit()
    {
        foreach (var line in File.ReadLines("/proc/self/limits"))
        {
            if (line.StartsWith("Max open files", StringComparison.Ordinal))
                return double.TryParse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[3], CultureInfo.InvariantCulture, out var limit) ? limit : double.PositiveInfinity;
        }
        return 0;
    }

    // The second of two "IpExt:" lines has the values of the names in the first. As upstream's client: of the process' network namespace.
    private static double Network(string name)
    {
        string[]? names = null;
        foreach (var line in File.ReadLines("/proc/self/net/netstat"))
        {
            if (!line.StartsWith("IpExt:", StringComparison.Ordinal))
                continue;
            var cells = line.Split(' ');
            if (names is null)
                names = cells;
            else
                return Array.IndexOf(names, name) is var index and > 0 ? double.Parse(cells[index], CultureInfo.InvariantCulture) : 0;
        }
        return 0;
    }
}
