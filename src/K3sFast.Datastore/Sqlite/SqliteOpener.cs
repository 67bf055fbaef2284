using System.Diagnostics;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// The checks at the door: takes the file for this process alone, tells a foreign, damaged, locked or unwritable file apart, and lays
/// out the table. Whatever fails, what is stored stays as it was.
/// </summary>
internal static class SqliteOpener
{
    // Smaller files are checked whole at the door, which takes about 0.3 s for 64 MiB, unless they are as they were closed: then beside the work, as larger
    // ones are when the last process did not close them.
    private const long CheckFirstBytes = 64L << 20;

    // Files that k3s made are rewritten once so that they can shrink; 256 MiB take about 3 s, and three times their size meanwhile.
    private const long MaxConvertBytes = 256L << 20;
    private const int ConvertSpaceFactor = 3;

    private const int ErrnoAgain = 11;
    private const int ErrnoNoSpace = 28;
    private const int ErrnoReadOnlyFileSystem = 30;

    /// <summary>Takes the file for this process: a lock that the kernel gives back however the process ends.</summary>
    /// <remarks>
    /// Must be taken before SQLite opens the file and closed after SQLite has closed it: closing any descriptor of a file drops all of
    /// the process's POSIX locks on it, which are SQLite's. This one is flock(2), which SQLite does not use.
    /// </remarks>
    public static FileStream TakeFile(string path)
    {
        if (!OperatingSystem.IsLinux()) throw new PlatformNotSupportedException("the embedded datastore runs on Linux");
        try
        {
            if (Path.GetDirectoryName(path) is { Length: > 0 } directory)
            {
                Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }
            return new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.OpenOrCreate,
                Access = FileAccess.ReadWrite,
                Share = FileShare.None,
                BufferSize = 0,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
        }
        catch (UnauthorizedAccessException error)
        {
            throw ReadOnly(path, error);
        }
        catch (IOException error) when (error.HResult == ErrnoReadOnlyFileSystem)
        {
            throw ReadOnly(path, error);
        }
        catch (IOException error) when (error.HResult == ErrnoNoSpace)
        {
            throw Full(path, error);
        }
        catch (IOException error) when (error.HResult == ErrnoAgain)
        {
            throw Locked(path, error);
        }
        catch (IOException error)
        {
            throw new DatastoreOpenException(DatastoreOpenFailure.Other, $"datastore {path} cannot be opened: {error.Message}", error);
        }
    }

    /// <summary>Opens the writing connection on a taken file: pragmas, checks, table.</summary>
    /// <returns>The connection, and when the file is checked whole.</returns>
    public static (SqliteConnection Connection, WholeCheck Check) OpenWriter(string path, FileStream taken, ILogger logger)
    {
        CheckHeader(path, taken);
        bool isNew = taken.Length == 0;
        bool wasKilled = File.Exists($"{path}-wal") && new FileInfo($"{path}-wal").Length > 0;
        bool isAsClosed = CloseMark.Take(path, taken) && !wasKilled;
        SqliteConnection? connection = null;
        try
        {
            if (wasKilled && LogCheck.FindDamage(path, taken) is { } damage) throw Corrupt(path, damage, null);
            if (wasKilled) LogRewriter.RewriteUnflushed(path);
            connection = SqliteConnection.Open(path, busyTimeoutMs: 5_000);
            if (isNew) connection.Execute("PRAGMA auto_vacuum = INCREMENTAL"u8);
            if (connection.QueryText("PRAGMA journal_mode = WAL"u8) is not "wal")
            {
                throw new DatastoreOpenException(
                    DatastoreOpenFailure.Other,
                    $"datastore {path}: the file system does not support shared memory files, which SQLite's write-ahead log needs; move the data directory to a local disk");
            }
            // Every commit is flushed to the medium before it is acknowledged.
            connection.CommitFlush = CommitFlush.All;
            // Checkpoints run beside the writer.
            connection.Execute("PRAGMA wal_autocheckpoint = 0"u8);
            connection.Execute("PRAGMA journal_size_limit = 16777216"u8);
            // Groups are committed whole: pages written into the log before their time would only be written twice.
            connection.Execute("PRAGMA cache_spill = OFF"u8);
            // Debian's build overwrites what is deleted, page by page; neither kine nor etcd do.
            connection.Execute("PRAGMA secure_delete = OFF"u8);
            bool isSmall = taken.Length <= CheckFirstBytes;
            if (!isNew) Check(path, connection, isSmall && !isAsClosed);
            LayOut(connection);
            CheckRevisions(path, connection);
            if (!isNew) MakeShrinkable(path, connection, taken.Length, logger);
            FileFlush.FlushAbove(path);
            connection.WatchFiles(isCheckpointer: false);
            return (connection, (isSmall, wasKilled) switch
            {
                (true, _) => isAsClosed ? WholeCheck.Later : WholeCheck.Done,
                (false, true) => WholeCheck.Beside,
                _ => WholeCheck.None,
            });
        }
        catch (SqliteException error)
        {
            connection?.Dispose();
            throw Translate(path, error);
        }
        catch (DatastoreOpenException)
        {
            connection?.Dispose();
            throw;
        }
    }

    /// <summary>SQLite's error in words that say what to do.</summary>
    public static DatastoreOpenException Translate(string path, SqliteException error)
    {
        if (error.IsNotADatabase) return NotADatabase(path, error);
        if (error.IsCorrupt) return Corrupt(path, error.Message, error);
        if (error.IsReadOnly) return ReadOnly(path, error);
        if (error.IsFull) return Full(path, error);
        if (error.IsBusy) return Locked(path, error);
        return new DatastoreOpenException(DatastoreOpenFailure.Other, $"datastore {path} cannot be opened: {error.Message}", error);
    }

    private static void CheckHeader(string path, FileStream taken)
    {
        Span<byte> header = stackalloc byte[16];
        int read = taken.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
        if (read > 0 && !header[..read].SequenceEqual("SQLite format 3\0"u8)) throw NotADatabase(path, null);
    }

    private static void Check(string path, SqliteConnection connection, bool isWhole)
    {
        bool hasTables = connection.QueryInt64("SELECT count(*) FROM sqlite_master WHERE type = 'table'"u8) > 0;
        bool hasKine = connection.QueryInt64("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'kine'"u8) > 0;
        if (hasTables && !hasKine) throw NotADatabase(path, null);
        if (!isWhole) return;
        string? finding = connection.QueryText("PRAGMA integrity_check(1)"u8);
        if (finding is not "ok") throw Corrupt(path, finding ?? "", null);
    }

    // A file that is laid out already is not written.
    private static void LayOut(SqliteConnection connection)
    {
        connection.Execute("BEGIN IMMEDIATE"u8);
        connection.Execute(KineSchema.CreateTable);
        if (connection.QueryInt64(KineSchema.HasChecksumColumn) == 0) connection.Execute(KineSchema.AddChecksumColumn);
        connection.Execute(KineSchema.CreateNameIdIndex);
        connection.Execute(KineSchema.DropNameIndex);
        connection.Execute(KineSchema.DropIdDeletedIndex);
        connection.Execute(KineSchema.DropPrevRevisionIndex);
        connection.Execute(KineSchema.DropNamePrevRevisionIndex);
        connection.Execute(KineSchema.DropCompactIndex);
        connection.Execute(KineSchema.InsertCompactRow);
        connection.Execute("COMMIT"u8);
    }

    // The row of the compacted revision has no checksum that kine would keep; the copy of ours and the sequence are its witnesses.
    private static void CheckRevisions(string path, SqliteConnection connection)
    {
        long compacted = connection.QueryInt64(KineSchema.SelectCompactRevision);
        long newest = Math.Max(connection.QueryInt64(KineSchema.SelectLastId), connection.QueryInt64(KineSchema.SelectSequence));
        long copy = connection.QueryInt64(KineSchema.SelectCompactRevisionCopy);
        if (compacted < copy) throw Corrupt(path, $"compacted up to revision {copy}, but {compacted} is written", null);
        if (compacted > newest) throw Corrupt(path, $"compacted up to revision {compacted}, but the newest is {newest}", null);
    }

    private static void MakeShrinkable(string path, SqliteConnection connection, long bytes, ILogger logger)
    {
        if (connection.QueryInt64("PRAGMA auto_vacuum"u8) == 2) return;
        if (bytes > MaxConvertBytes)
        {
            Log.NotConverted(logger, path, $"it is larger than {MaxConvertBytes >> 20} MiB");
            return;
        }
        if (SpaceGuard.FreeBytesOf(Path.GetDirectoryName(path)!) < bytes * ConvertSpaceFactor)
        {
            Log.NotConverted(logger, path, "there is not enough space for a copy");
            return;
        }
        long startedAt = Stopwatch.GetTimestamp();
        try
        {
            connection.Execute("PRAGMA auto_vacuum = INCREMENTAL"u8);
            connection.Execute("VACUUM"u8);
            connection.Checkpoint(truncate: true);
            Log.Converted(logger, path, (long)Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds);
        }
        catch (SqliteException error) when (!error.IsCorrupt)
        {
            Log.NotConverted(logger, path, error.Message);
        }
    }

    private static DatastoreOpenException NotADatabase(string path, Exception? inner) => new(
        DatastoreOpenFailure.NotADatabase,
        $"datastore {path}: the file is not a datastore of k3s: move it away, or point --data-dir elsewhere",
        inner);

    private static DatastoreOpenException Corrupt(string path, string finding, Exception? inner) => new(
        DatastoreOpenFailure.Corrupt,
        $"datastore {path} is damaged ({finding}): restore the directory {Path.GetDirectoryName(path)} from a backup, or recover with \"sqlite3 {path} .recover\"; nothing was changed",
        inner);

    private static DatastoreOpenException ReadOnly(string path, Exception inner) => new(
        DatastoreOpenFailure.ReadOnly,
        $"datastore {path} cannot be written: check the owner and mode of {Path.GetDirectoryName(path)} and that its file system is mounted read-write ({inner.Message})",
        inner);

    private static DatastoreOpenException Full(string path, Exception inner) => new(
        DatastoreOpenFailure.Full,
        $"datastore {path}: no space left on the device: free some in {Path.GetDirectoryName(path)} and start again",
        inner);

    private static DatastoreOpenException Locked(string path, Exception inner) => new(
        DatastoreOpenFailure.Locked,
        $"datastore {path} is in use by another process: stop the other server, or give this one its own --data-dir",
        inner);
}

/// <summary>When the structure of a file is gone through.</summary>
internal enum WholeCheck
{
    /// <summary>It was, before anything was served (or the file is new).</summary>
    Done,

    /// <summary>Beside the work, from the beginning on.</summary>
    Beside,

    /// <summary>Beside the work, when what a start brings is done.</summary>
    Later,

    /// <summary>Not in this life: it is long, and was closed in order.</summary>
    None,
}
