using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using K3sFast.Datastore.FailPoints;
using SQLitePCL;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Fail points inside SQLite's own writing and flushing: puts itself between SQLite and the methods of one connection's files. Only where
/// <see cref="FailPoint.IsAvailable"/>; the published product has none of it.
/// </summary>
/// <remarks>
/// A file object begins with a pointer to its methods (sqlite3_io_methods: an int version, then function pointers in fixed order). The
/// pointer is turned to a copy in which write and sync are ours. The copy outlives the connection by being kept for the process's life.
/// </remarks>
internal static unsafe partial class FileFaults
{
    // SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER: in write-ahead mode the latter is the log.
    private const int DatabaseFile = 7;
    private const int LogFile = 28;

    // Slots of sqlite3_io_methods: version, close, read, write, truncate, sync, ... 19 with version 3.
    private const int SlotWrite = 3;
    private const int SlotSync = 5;
    private const int Slots = 19;

    private static readonly ConcurrentDictionary<nint, Patched> s_files = new();

    /// <summary>Watches the log of a writing connection, and of a checkpointing one the database too. The connection must have read something.</summary>
    public static void Watch(sqlite3 db, string path, bool isCheckpointer)
    {
        if (!FailPoint.IsAvailable) return;
        Patch(FileOf(db, LogFile), path, isCheckpointer ? null : FailPointNames.CommitInWrite, isCheckpointer ? FailPointNames.CheckpointInFlush : FailPointNames.CommitInFlush);
        if (isCheckpointer) Patch(FileOf(db, DatabaseFile), path, FailPointNames.CheckpointInWrite, FailPointNames.CheckpointInFlush);
    }

    private static nint* FileOf(sqlite3 db, int which)
    {
        nint* file = null;
        fixed (byte* main = "main\0"u8)
        {
            int code = FileControl(db.DangerousGetHandle(), main, which, &file);
            if (code != raw.SQLITE_OK) throw new SqliteException(code, "the file's methods cannot be reached", "file control");
        }
        return file;
    }

    private static void Patch(nint* file, string path, string? write, string sync)
    {
        nint* methods = (nint*)*file;
        // A log that was not opened yet has no methods.
        if (methods == null) return;
        nint* copy = (nint*)NativeMemory.Alloc(Slots, (nuint)sizeof(nint));
        new ReadOnlySpan<nint>(methods, Slots).CopyTo(new Span<nint>(copy, Slots));
        // A file at an address that another one had before replaces its entry.
        s_files[(nint)file] = new Patched(
            path, write, sync, (delegate* unmanaged[Cdecl]<nint, void*, int, long, int>)copy[SlotWrite], (delegate* unmanaged[Cdecl]<nint, int, int>)copy[SlotSync]);
        copy[SlotWrite] = (nint)(delegate* unmanaged[Cdecl]<nint, void*, int, long, int>)&Write;
        copy[SlotSync] = (nint)(delegate* unmanaged[Cdecl]<nint, int, int>)&Sync;
        *file = (nint)copy;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Write(nint file, void* buffer, int length, long offset)
    {
        var patched = s_files[file];
        int code = patched.Write is null ? raw.SQLITE_OK : CodeOf(FailPoint.Reach(patched.Write, patched.Path), raw.SQLITE_IOERR_WRITE);
        return code != raw.SQLITE_OK ? code : patched.OriginalWrite(file, buffer, length, offset);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Sync(nint file, int flags)
    {
        var patched = s_files[file];
        int code = CodeOf(FailPoint.Reach(patched.Sync, patched.Path), raw.SQLITE_IOERR_FSYNC);
        return code != raw.SQLITE_OK ? code : patched.OriginalSync(file, flags);
    }

    private static int CodeOf(FailPointError error, int ioError) => error switch
    {
        FailPointError.Io => ioError,
        FailPointError.NoSpace => raw.SQLITE_FULL,
        _ => raw.SQLITE_OK,
    };

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_file_control")]
    private static partial int FileControl(nint db, byte* schema, int operation, void* argument);

    private sealed class Patched(
        string path, string? write, string sync, delegate* unmanaged[Cdecl]<nint, void*, int, long, int> originalWrite, delegate* unmanaged[Cdecl]<nint, int, int> originalSync)
    {
        public string Path { get; } = path;

        public string? Write { get; } = write;

        public string Sync { get; } = sync;

        public delegate* unmanaged[Cdecl]<nint, void*, int, long, int> OriginalWrite { get; } = originalWrite;

        public delegate* unmanaged[Cdecl]<nint, int, int> OriginalSync { get; } = originalSync;
    }
}
