using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace K3sFast.Datastore;

/// <summary>
/// Puts files and their names on disk, and says so when that fails. <see cref="RandomAccess.FlushToDisk"/> and <see cref="FileStream.Flush(bool)"/>
/// do not: they pass over EIO.
/// </summary>
public static unsafe partial class FileFlush
{
    // Looked up in the whole program and not in the C library alone, as SQLite's own calls are: what is laid over them (LD_PRELOAD), to make a medium slow or
    // failing, is laid over these.
    private static readonly delegate* unmanaged<int, int> s_fsync = (delegate* unmanaged<int, int>)NativeLibrary.GetExport(NativeLibrary.GetMainProgramHandle(), "fsync");
    private static readonly delegate* unmanaged<int, int> s_fdatasync = (delegate* unmanaged<int, int>)NativeLibrary.GetExport(NativeLibrary.GetMainProgramHandle(), "fdatasync");

    // EIO
    private const int InputOutputError = 5;

    /// <summary>Flushes a file's bytes to the medium.</summary>
    /// <exception cref="IOException">They may not be there; the kernel will not try again by itself.</exception>
    public static void Flush(SafeFileHandle file)
    {
        if (Call(s_fsync, file) is var errno and not 0) throw new IOException($"fsync: {Marshal.GetPInvokeErrorMessage(errno)}");
    }

    /// <summary>Flushes a file's bytes, and of what is kept about it what reading them needs. Returns 0 or errno.</summary>
    internal static int TryFlushData(SafeFileHandle file) => Call(s_fdatasync, file);

    /// <summary>Flushes the directory of a file and all directories above it. Cheap where nothing changed.</summary>
    /// <remarks>
    /// A flushed file may be gone after a power cut while the directory that names it, or one above, was not flushed itself. A directory that cannot be
    /// opened or flushed (read-only, another's) is passed over: it held its names before us.
    /// </remarks>
    public static void FlushAbove(string path)
    {
        for (string? directory = Path.GetDirectoryName(path); directory is not null; directory = Path.GetDirectoryName(directory)) FlushDirectory(directory);
    }

    /// <summary>fsync(2) or fdatasync(2). Returns 0 or errno.</summary>
    private static int Call(delegate* unmanaged<int, int> flush, SafeFileHandle file)
    {
        bool isHeld = false;
        try
        {
            file.DangerousAddRef(ref isHeld);
            if (flush((int)file.DangerousGetHandle()) == 0) return 0;
            // Whatever else the thread did on its way back: a failure is never taken for success.
            return Marshal.GetLastSystemError() is var errno and not 0 ? errno : InputOutputError;
        }
        finally
        {
            if (isHeld) file.DangerousRelease();
        }
    }

    private static void FlushDirectory(string directory)
    {
        nint stream = OpenDir(directory);
        if (stream == 0) return;
        _ = FSync(DirFd(stream));
        _ = CloseDir(stream);
    }

    /// <summary>opendir(3). Returns a stream, or 0.</summary>
    [LibraryImport("libc", EntryPoint = "opendir", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint OpenDir(string path);

    /// <summary>dirfd(3). The descriptor belongs to the stream.</summary>
    [LibraryImport("libc", EntryPoint = "dirfd")]
    private static partial int DirFd(nint stream);

    /// <summary>fsync(2). Returns 0, or -1.</summary>
    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int FSync(int descriptor);

    /// <summary>closedir(3). Returns 0 or -1.</summary>
    [LibraryImport("libc", EntryPoint = "closedir")]
    private static partial int CloseDir(nint stream);
}
