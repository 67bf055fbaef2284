namespace K3sFast.Interop.Namespaces;

/// <summary>Which network namespaces there are on the whole machine: for who takes away what a namespace left that is gone.</summary>
public static class NamespaceCensus
{
    // PROC_PID_INIT_INO of linux/proc_ns.h: who is in another one does not see everybody.
    private const string FirstPidNamespace = "pid:[4026531836]";
    private const string Prefix = "net:[";

    // Where the first process is a sandbox's it may hide. It lives where the kernel's threads do, which do not.
    private const string FirstProcess = "/proc/1";

    // A process that ends gives its namespaces back a little before it says that it has ended; on a machine that is busy, not so little.
    private static readonly TimeSpan s_ending = TimeSpan.FromSeconds(5);

    /// <summary>False: from here not everybody is to be seen, whoever asks.</summary>
    public static bool IsPossible => TargetOf("/proc/self/ns/pid") == FirstPidNamespace;

    /// <summary>
    /// The numbers, as <see cref="NamespacePaths.NameOf"/> tells them, of all network namespaces that a thread lives in, a descriptor is open on, or a mount keeps;
    /// null = not everybody can be seen from here, so that none is known to be gone.
    /// </summary>
    /// <remarks>
    /// Any thread; some system calls for each thread and each descriptor on the machine. What changes hands meanwhile may be missed: who is about to act on an absence
    /// takes it twice.
    /// </remarks>
    public static IReadOnlySet<string>? Take()
    {
        if (!IsPossible) return null;
        var found = new HashSet<string>();
        var mountNamespaces = new HashSet<string>();
        foreach (var process in EntriesOf("/proc"))
        {
            if (!char.IsAsciiDigit(Path.GetFileName(process)[0])) continue;
            var isSeen = false;
            foreach (var thread in EntriesOf(process + "/task")) isSeen |= Add(found, TargetOf(thread + "/ns/net"));
            // One that has ended has no namespace any more; one that hides it may be in any.
            if (!isSeen && process != FirstProcess && !SpinWait.SpinUntil(() => HasEnded(process), s_ending)) return null;
            foreach (var descriptor in EntriesOf(process + "/fd")) Add(found, TargetOf(descriptor));
            if (TargetOf(process + "/ns/mnt") is { } mounts && mountNamespaces.Add(mounts)) AddMounts(found, process + "/mountinfo");
        }
        return found;
    }

    private static bool Add(HashSet<string> found, string? target)
    {
        if (target is null || !target.StartsWith(Prefix, StringComparison.Ordinal)) return false;
        found.Add(target[Prefix.Length..^1]);
        return true;
    }

    // proc(5): id parent major:minor root ...; the root of a mount of a namespace is its name.
    private static void AddMounts(HashSet<string> found, string path)
    {
        try
        {
            foreach (var line in File.ReadLines(path))
            {
                var fields = line.Split(' ', 5);
                if (fields.Length == 5) Add(found, fields[3]);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It ended; others of its mount namespace have been or will be asked.
        }
    }

    private static IEnumerable<string> EntriesOf(string directory)
    {
        try
        {
            return Directory.GetFileSystemEntries(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static string? TargetOf(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    // The state follows the name, which stands in parentheses and may hold some itself.
    private static bool HasEnded(string process)
    {
        try
        {
            var stat = File.ReadAllText(process + "/stat");
            return stat[(stat.LastIndexOf(')') + 2)..] is ['Z' or 'X', ..];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return !Directory.Exists(process);
        }
    }
}
