using System.Runtime.InteropServices;

namespace K3sFast.Interop.Processes;

/// <summary>
/// How long a thread runs before the kernel looks who else wants its core (sched_setattr(2), since Linux 6.12). It says nothing of how much a thread gets,
/// only in what pieces: who asks for short ones is let in sooner when it wakes.
/// </summary>
/// <remarks>A thread's, and of those that it starts afterwards; processes inherit it too.</remarks>
public static unsafe partial class SchedulerSlice
{
    // The kernel takes 0.1 to 100 ms. By itself it gives some milliseconds, a request takes some tens of microseconds.
    private static readonly TimeSpan s_short = TimeSpan.FromMicroseconds(200);

    // linux/sched.h: those whose pieces can be chosen.
    private const uint SchedNormal = 0, SchedBatch = 3;

    /// <summary>Asks for short pieces for the calling thread. False = the kernel knows no such wish, or the thread is scheduled in another way.</summary>
    public static bool TryShorten() => TrySet(s_short);

    /// <summary>Goes back to the kernel's own; for a thread that is about to start somebody else's program. True = it had asked for other ones.</summary>
    public static bool TryReset() => Of(0) == s_short && TrySet(TimeSpan.Zero);

    /// <summary>That of a thread (0 = the calling one) or of a process' first; zero where the kernel does not tell.</summary>
    internal static TimeSpan Of(int thread) => TryRead(thread, out var attributes) ? TimeSpan.FromMicroseconds(attributes.sched_runtime / 1e3) : TimeSpan.Zero;

    private static bool TrySet(TimeSpan slice)
    {
        // All else stays as it is: whoever started us may have chosen it.
        if (!TryRead(0, out var attributes) || attributes.sched_policy is not (SchedNormal or SchedBatch)) return false;
        attributes.sched_runtime = (ulong)slice.Ticks * 100;
        // Safe because: syscall(2) takes only integer registers, which a fixed signature fills like the variadic one.
        if (Syscall(Number(314, 274), 0, (nint)(&attributes), 0, 0) != 0) return false;
        return slice == TimeSpan.Zero || Of(0) == slice;
    }

    private static bool TryRead(int thread, out sched_attr attributes)
    {
        sched_attr read = default;
        read.size = (uint)sizeof(sched_attr);
        // Safe because: as above; the kernel writes no more than the size that it is told.
        var isRead = Syscall(Number(315, 275), thread, (nint)(&read), sizeof(sched_attr), 0) == 0;
        attributes = read;
        return isRead;
    }

    private static nint Number(nint amd64, nint arm64) => RuntimeInformation.ProcessArchitecture == Architecture.X64 ? amd64 : arm64;

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Syscall(nint number, nint a, nint b, nint c, nint d);
}

/// <summary>linux/sched/types.h, its first version: what came later is for wishes that nobody has here.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct sched_attr
{
    internal uint size;
    internal uint sched_policy;
    internal ulong sched_flags;
    internal int sched_nice;
    internal uint sched_priority;
    internal ulong sched_runtime;
    internal ulong sched_deadline;
    internal ulong sched_period;
}
