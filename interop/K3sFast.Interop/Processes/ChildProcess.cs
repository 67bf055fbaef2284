using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace K3sFast.Interop.Processes;

/// <summary>Starting and replacing programs without the shell, the terminal handling and the pipes of a managed process class.</summary>
/// <remarks>Any thread. Failures throw <see cref="IOException"/> with operation, path and the kernel's reason. glibc's names.</remarks>
public static unsafe partial class ChildProcess
{
    // spawn.h: the child leads a session of its own (setsid), starts with default signal dispositions and an empty mask.
    private const short PosixSpawnSetsigdef = 0x04, PosixSpawnSetsigmask = 0x08, PosixSpawnSetsid = 0x80;
    // fcntl.h
    private const int OWronly = 1, OCreat = 0x40, OAppend = 0x400, ORdonly = 0;
    // sys/wait.h
    private const int Wnohang = 1;
    // Room for posix_spawnattr_t (336 bytes on glibc x86-64), posix_spawn_file_actions_t (80) and sigset_t (128), rounded up.
    private const int OpaqueBytes = 512;

    /// <summary>execve(2): this process becomes the program. Returns only by throwing.</summary>
    public static void Replace(string path, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        using var argv = new StringVector(arguments);
        using var envp = new StringVector(environment);
        ResetSignals();
        Execve(path, argv.Pointer, envp.Pointer);
        throw new IOException($"exec {path}: {Reason(Marshal.GetLastPInvokeError())}");
    }

    /// <summary>Starts a program in a session of its own, standard input from /dev/null, output appended to <paramref name="logPath"/>.</summary>
    /// <returns>Its process id. It outlives us; the caller reaps it with <see cref="TryReap"/> while it lives.</returns>
    public static int StartDetached(string path, IReadOnlyList<string> arguments, IReadOnlyList<string> environment, string logPath)
    {
        using var argv = new StringVector(arguments);
        using var envp = new StringVector(environment);
        var attributes = stackalloc byte[OpaqueBytes];
        var actions = stackalloc byte[OpaqueBytes];
        var signals = stackalloc byte[OpaqueBytes];
        PosixSpawnattrInit(attributes);
        PosixSpawnFileActionsInit(actions);
        // Children inherit it, and theirs: containers are not in our haste.
        var wasShort = SchedulerSlice.TryReset();
        try
        {
            Sigemptyset(signals);
            PosixSpawnattrSetsigmask(attributes, signals);
            Sigfillset(signals);
            PosixSpawnattrSetsigdefault(attributes, signals);
            PosixSpawnattrSetflags(attributes, PosixSpawnSetsid | PosixSpawnSetsigdef | PosixSpawnSetsigmask);
            PosixSpawnFileActionsAddopen(actions, 0, "/dev/null", ORdonly, 0);
            PosixSpawnFileActionsAddopen(actions, 1, logPath, OWronly | OCreat | OAppend, 0x1A4 /* 0644 */);
            PosixSpawnFileActionsAdddup2(actions, 1, 2);
            int pid;
            var errno = PosixSpawn(&pid, path, actions, attributes, argv.Pointer, envp.Pointer);
            return errno == 0 ? pid : throw new IOException($"start {path}: {Reason(errno)}");
        }
        finally
        {
            if (wasShort)
                SchedulerSlice.TryShorten();
            PosixSpawnFileActionsDestroy(actions);
            PosixSpawnattrDestroy(attributes);
        }
    }

    /// <summary>waitpid(2) without waiting. False while the child runs, or when <paramref name="pid"/> is not our child.</summary>
    public static bool TryReap(int pid)
    {
        int status;
        return Waitpid(pid, &status, Wnohang) == pid;
    }

    /// <summary>kill(2). False when there is no such process.</summary>
    public static bool Signal(int pid, int signal) => Kill(pid, signal) == 0;

    private static string Reason(int errno) => new Win32Exception(errno).Message;

    // An ignored signal stays ignored over execve: the program must start as from a shell.
    private static void ResetSignals()
    {
        const int Sigpipe = 13;
        _ = SignalDisposition(Sigpipe, 0);
    }

    [LibraryImport("libc", EntryPoint = "execve", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Execve(string path, byte** argv, byte** envp);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SignalDisposition(int signal, nint handler);

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int PosixSpawn(int* pid, string path, byte* actions, byte* attributes, byte** argv, byte** envp);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_init")]
    private static partial int PosixSpawnattrInit(byte* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_destroy")]
    private static partial int PosixSpawnattrDestroy(byte* attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setflags")]
    private static partial int PosixSpawnattrSetflags(byte* attributes, short flags);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigmask")]
    private static partial int PosixSpawnattrSetsigmask(byte* attributes, byte* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigdefault")]
    private static partial int PosixSpawnattrSetsigdefault(byte* attributes, byte* signals);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_init")]
    private static partial int PosixSpawnFileActionsInit(byte* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_destroy")]
    private static partial int PosixSpawnFileActionsDestroy(byte* actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int PosixSpawnFileActionsAddopen(byte* actions, int descriptor, string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_adddup2")]
    private static partial int PosixSpawnFileActionsAdddup2(byte* actions, int from, int to);

    [LibraryImport("libc", EntryPoint = "sigemptyset")]
    private static partial int Sigemptyset(byte* signals);

    [LibraryImport("libc", EntryPoint = "sigfillset")]
    private static partial int Sigfillset(byte* signals);

    [LibraryImport("libc", EntryPoint = "waitpid", SetLastError = true)]
    private static partial int Waitpid(int pid, int* status, int options);

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int pid, int signal);

    /// <summary>A null-terminated array of C strings in native memory.</summary>
    private sealed class StringVector : IDisposable
    {
        private readonly int _count;

        public StringVector(IReadOnlyList<string> strings)
        {
            _count = strings.Count;
            Pointer = (byte**)NativeMemory.AllocZeroed((nuint)(_count + 1), (nuint)sizeof(byte*));
            for (var i = 0; i < _count; i++)
            {
                var bytes = Encoding.UTF8.GetBytes(strings[i]);
                Pointer[i] = (byte*)NativeMemory.AllocZeroed((nuint)bytes.Length + 1);
                bytes.CopyTo(new Span<byte>(Pointer[i], bytes.Length));
            }
        }

        public byte** Pointer { get; }

        public void Dispose()
        {
            for (var i = 0; i < _count; i++)
                NativeMemory.Free(Pointer[i]);
            NativeMemory.Free(Pointer);
        }
    }
}
