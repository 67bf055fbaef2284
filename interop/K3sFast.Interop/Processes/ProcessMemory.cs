using System.Globalization;
using System.Runtime.InteropServices;

namespace K3sFast.Interop.Processes;

/// <summary>What a process can tell the C library and the kernel about its memory. Nothing here can fail in a way that matters: at worst memory is not saved.</summary>
public static unsafe partial class ProcessMemory
{
    // malloc.h
    private const int MTrimThreshold = -1, MMmapThreshold = -3, MArenaMax = -8;

    // asm-generic/mman-common.h
    private const int MadvDontneed = 4;

    /// <summary>
    /// Few arenas and a fixed bound above which blocks are mappings of their own, which go back to the system when they are freed: left alone, the C
    /// library raises the bound with the first big block that is freed, and keeps an arena per thread. Before the first threads.
    /// </summary>
    public static void KeepAllocatorSmall()
    {
        Mallopt(MArenaMax, 2);
        Mallopt(MMmapThreshold, 128 * 1024);
        Mallopt(MTrimThreshold, 128 * 1024);
    }

    /// <summary>Gives what the C library holds free back to the system. Some milliseconds.</summary>
    public static void TrimAllocator() => MallocTrim(0);

    /// <summary>
    /// Lets go of the pages of this executable's file that were needed to start: what runs again comes back from the page cache, without a read.
    /// Mappings with pages that were ever written to are left alone. Returns the bytes of the mappings.
    /// </summary>
    public static long ReleaseStartPages() => ReleaseStartPages(File.ReadLines("/proc/self/smaps"), Environment.ProcessPath ?? "");

    /// <summary>As above, of a table in the form of /proc/PID/smaps (proc(5)); for tests.</summary>
    internal static long ReleaseStartPages(IEnumerable<string> smaps, string executable, Func<nint, nuint, bool>? release = null)
    {
        release ??= static (start, length) => Madvise(start, length, MadvDontneed) == 0;
        long released = 0;
        (nint Start, nuint Length) mapping = default;
        foreach (var line in smaps)
        {
            if (mapping.Length > 0 && line.StartsWith("Private_Dirty:", StringComparison.Ordinal))
            {
                if (line.EndsWith(" 0 kB", StringComparison.Ordinal) && release(mapping.Start, mapping.Length)) released += (long)mapping.Length;
                mapping = default;
            }
            else if (TryReadMapping(line, executable, out var found))
            {
                mapping = found;
            }
        }
        return released;
    }

    // "55d0c0000000-55d0c1000000 r-xp 00001000 fe:01 1234   /usr/local/bin/k3sfast"; of the file's mappings only those that cannot be written to.
    private static bool TryReadMapping(string line, string executable, out (nint Start, nuint Length) mapping)
    {
        mapping = default;
        var dash = line.IndexOf('-', StringComparison.Ordinal);
        var blank = line.IndexOf(' ', StringComparison.Ordinal);
        if (dash <= 0 || blank < dash || executable.Length == 0 || !line.EndsWith(' ' + executable, StringComparison.Ordinal)) return false;
        var rights = line.AsSpan(blank + 1, 4);
        if (rights is not ("r-xp" or "r--p")) return false;
        if (!nuint.TryParse(line.AsSpan(0, dash), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var start)) return false;
        if (!nuint.TryParse(line.AsSpan(dash + 1, blank - dash - 1), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var end) || end <= start) return false;
        mapping = ((nint)start, end - start);
        return true;
    }

    /// <summary>mallopt(3). Returns 1 when the value was taken.</summary>
    [LibraryImport("libc", EntryPoint = "mallopt")]
    private static partial int Mallopt(int parameter, int value);

    /// <summary>malloc_trim(3).</summary>
    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int MallocTrim(nuint pad);

    /// <summary>madvise(2). Returns 0, or -1.</summary>
    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Madvise(nint address, nuint length, int advice);
}
