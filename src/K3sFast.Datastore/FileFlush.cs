using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace K3sFast.Datastore;

/// <summary>
/// Puts files and their names on disk, and says so when that fails. <see cref="RandomAccess.FlushToDisk"/> and <see cref="FileStream.Flush(bool)"/>
/// do not: they pass over EIO.
/// </summary>
public static partial class FileFlush
{
    /// <summary>Flushes a file's bytes to the medium.</summary>
    /// <exception cref="IOException">They may not be there; the kernel will not try again by itself.</exception>
    public static void Flush(SafeFileHandle file)
    {
        if (FSync(file) != 0) throw new IOException($"fsync: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    /// <summary>Flushes the directory of a file and all directories above it. Cheap where nothing changed.</summary>
    /// <remarks>
    /// A flushed file may be gone after a power cut while the directory that names it, or one above, was not flushed itself. A directory that cannot be
    /// opened or flushed (read-only, another's) is passed over: it held its names before us.
    /// </remarks>
    public static void FlushAbove(string path)
    {
        for (string? directory = Path.GetDirectoryName(path); directory is not null; directory = Path.GetDirectoryName(directory)) FlushDirectory(directory);
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

    /// <summary>fsync(2). Returns 0, or -1 with errno.</summary>
    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int FSync(int descriptor);

    /// <summary>closedir(3). Returns 0 or -1.</summary>
    [LibraryImport("libc", EntryPoint = "closedir")]
    private static partial int CloseDir(nint stream);
}
