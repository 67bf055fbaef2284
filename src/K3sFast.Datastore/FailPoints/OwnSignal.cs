using System.Runtime.InteropServices;

namespace K3sFast.Datastore.FailPoints;

/// <summary>Signals that the process sends itself.</summary>
internal static partial class OwnSignal
{
    // signal(7): the same number on x86 and ARM.
    private const int SigStop = 19;

    /// <summary>Stops all threads; returns when somebody has sent SIGCONT.</summary>
    public static void Stop()
    {
        if (Kill(Environment.ProcessId, SigStop) != 0) throw new InvalidOperationException($"kill: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    /// <summary>kill(2). Returns 0, or -1 with errno.</summary>
    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int process, int signal);
}
