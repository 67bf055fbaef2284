using System.Runtime.InteropServices;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Puts the names of files on disk: a flushed file may be gone after a power cut while the directory that names it, or one above, was
/// not flushed itself.
/// </summary>
internal static partial class DirectoryFlush
{
    /// <summary>Flushes the directory of a file and all directories above it. Cheap where nothing changed.</summary>
    /// <remarks>A directory that cannot be opened or flushed (read-only, another's) is passed over: it held its names before us.</remarks>
    public static void FlushAbove(string path)
    {
        for (string? directory = Path.GetDirectoryName(path); directory is not null; directory = Path.GetDirectoryName(directory)) Flush(directory);
    }

    private static void Flush(string directory)
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

    /// <summary>fsync(2). Returns 0 or -1.</summary>
    [LibraryImport("libc", EntryPoint = "fsync")]
    private static partial int FSync(int descriptor);

    /// <summary>closedir(3). Returns 0 or -1.</summary>
    [LibraryImport("libc", EntryPoint = "closedir")]
    private static partial int CloseDir(nint stream);
}
