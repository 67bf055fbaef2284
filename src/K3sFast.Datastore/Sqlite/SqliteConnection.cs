using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using K3sFast.Datastore.FailPoints;
using SQLitePCL;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// The one file that speaks to SQLite: a connection and its kept statements, raw, without ADO.NET. Not thread-safe: the owner uses it
/// from one thread at a time. Errors are <see cref="SqliteException"/> with SQLite's extended code.
/// </summary>
internal sealed unsafe partial class SqliteConnection : IDisposable
{
    private readonly sqlite3 _db;
    private int* _logFrames;
    private CommitFlush? _commitFlush;

    static SqliteConnection() => raw.SetProvider(new SQLite3Provider_e_sqlite3());

    private SqliteConnection(sqlite3 db, string path)
    {
        _db = db;
        Path = path;
    }

    public string Path { get; }

    /// <summary>True inside BEGIN … COMMIT. Some errors (a full disk) end the transaction by themselves.</summary>
    public bool IsInTransaction => raw.sqlite3_get_autocommit(_db) == 0;

    /// <summary>Frames in the log after the newest commit of this connection; 0 = none yet, or <see cref="FollowLog"/> was not called.</summary>
    public int LogFrames => _logFrames == null ? 0 : *_logFrames;

    /// <summary>What this connection's commits flush by themselves. Set outside of transactions.</summary>
    public CommitFlush CommitFlush
    {
        get => _commitFlush ?? throw new InvalidOperationException("not set");
        set
        {
            if (_commitFlush == value) return;
            Execute(value switch
            {
                CommitFlush.Nothing => "PRAGMA synchronous = OFF"u8,
                CommitFlush.Head => "PRAGMA synchronous = NORMAL"u8,
                _ => "PRAGMA synchronous = FULL"u8,
            });
            _commitFlush = value;
        }
    }

    /// <summary>Opens or makes the file.</summary>
    public static SqliteConnection Open(string path, int busyTimeoutMs)
    {
        // NOMUTEX: each connection is used by one thread at a time, by construction.
        int code = raw.sqlite3_open_v2(path, out sqlite3 db, raw.SQLITE_OPEN_READWRITE | raw.SQLITE_OPEN_CREATE | raw.SQLITE_OPEN_NOMUTEX, null);
        if (code != raw.SQLITE_OK)
        {
            var error = new SqliteException(raw.sqlite3_extended_errcode(db), raw.sqlite3_errmsg(db).utf8_to_string(), "open");
            raw.sqlite3_close_v2(db);
            throw error;
        }
        raw.sqlite3_extended_result_codes(db, 1);
        raw.sqlite3_busy_timeout(db, busyTimeoutMs);
        return new SqliteConnection(db, path);
    }

    /// <summary>Compiles a statement that is kept for the connection's life.</summary>
    public Statement Prepare(ReadOnlySpan<byte> sql)
    {
        Check(raw.sqlite3_prepare_v3(_db, sql, raw.SQLITE_PREPARE_PERSISTENT, out sqlite3_stmt statement), "prepare");
        return new Statement(this, statement);
    }

    /// <summary>Runs a statement once, ignoring its rows.</summary>
    public void Execute(ReadOnlySpan<byte> sql)
    {
        using var statement = Prepare(sql);
        while (statement.Step())
        {
        }
    }

    /// <summary>Runs a statement once and reads the first column of its first row; null without one.</summary>
    public string? QueryText(ReadOnlySpan<byte> sql)
    {
        using var statement = Prepare(sql);
        return statement.Step() ? statement.Text(0) : null;
    }

    /// <summary>Runs a statement once and reads the first column of its first row; 0 without one.</summary>
    public long QueryInt64(ReadOnlySpan<byte> sql)
    {
        using var statement = Prepare(sql);
        return statement.Step() ? statement.Int64(0) : 0;
    }

    /// <summary>Copies the log into the database without waiting for anybody. Returns frames in the log and frames copied.</summary>
    public (int LogFrames, int CopiedFrames) Checkpoint(bool truncate)
    {
        int code = raw.sqlite3_wal_checkpoint_v2(
            _db, null!, truncate ? raw.SQLITE_CHECKPOINT_TRUNCATE : raw.SQLITE_CHECKPOINT_PASSIVE, out int logFrames, out int copied);
        if (code != raw.SQLITE_BUSY) Check(code, "checkpoint");
        return (logFrames, copied);
    }

    /// <summary>Pages that this connection has written to the log or the file since the last call.</summary>
    public int TakeWrittenPages()
    {
        raw.sqlite3_db_status(_db, raw.SQLITE_DBSTATUS_CACHE_WRITE, out int pages, out _, 1);
        return pages;
    }

    /// <summary>Takes note of the log's length at each commit. PRAGMA wal_autocheckpoint would end that.</summary>
    public void FollowLog()
    {
        _logFrames = (int*)NativeMemory.AllocZeroed(sizeof(int));
        WalHook(_db.DangerousGetHandle(), &OnCommit, _logFrames);
    }

    /// <summary>Puts fail points into this connection's writes and flushes, where the build has any. After the first read.</summary>
    public void WatchFiles(bool isCheckpointer)
    {
        if (FailPoint.IsAvailable) FileFaults.Watch(_db, Path, isCheckpointer);
    }

    /// <summary>Fails as SQLite does when a fail point says so.</summary>
    public void Reach(string failPoint)
    {
        if (FailPoint.Reach(failPoint, Path) is var error and not FailPointError.None)
            throw new SqliteException(error == FailPointError.NoSpace ? raw.SQLITE_FULL : raw.SQLITE_IOERR, $"fail point {failPoint}", "step");
    }

    /// <summary>Ends the statement that runs with an error. Any thread.</summary>
    public void Interrupt() => raw.sqlite3_interrupt(_db);

    public void Dispose()
    {
        raw.sqlite3_close_v2(_db);
        NativeMemory.Free(_logFrames);
        _logFrames = null;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int OnCommit(void* logFrames, nint db, byte* schema, int frames)
    {
        *(int*)logFrames = frames;
        return raw.SQLITE_OK;
    }

    /// <summary>sqlite3_wal_hook. The hook runs within COMMIT, after it.</summary>
    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_wal_hook")]
    private static partial void* WalHook(nint db, delegate* unmanaged[Cdecl]<void*, nint, byte*, int, int> hook, void* state);

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_step")]
    private static partial int NativeStep(nint statement);

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_column_int64")]
    private static partial long NativeInt64(nint statement, int column);

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_column_type")]
    private static partial int NativeType(nint statement, int column);

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_column_blob")]
    private static partial void* NativeBlob(nint statement, int column);

    [LibraryImport("e_sqlite3", EntryPoint = "sqlite3_column_bytes")]
    private static partial int NativeBytes(nint statement, int column);

    private void Check(int code, string operation)
    {
        if (code != raw.SQLITE_OK) throw new SqliteException(raw.sqlite3_extended_errcode(_db), raw.sqlite3_errmsg(_db).utf8_to_string(), operation);
    }

    /// <summary>A kept statement. Columns are valid until the next <see cref="Step"/> or <see cref="Reset"/>.</summary>
    internal sealed class Statement(SqliteConnection owner, sqlite3_stmt handle) : IDisposable
    {
        // Counted references to a handle for each column cost more than the column; whoever reads holds the statement anyway, to dispose it.
        private readonly nint _statement = handle.DangerousGetHandle();

        public Statement Bind(int index, long value)
        {
            owner.Check(raw.sqlite3_bind_int64(handle, index, value), "bind");
            return this;
        }

        public Statement BindText(int index, ReadOnlySpan<byte> utf8)
        {
            owner.Check(raw.sqlite3_bind_text(handle, index, utf8), "bind");
            return this;
        }

        public Statement BindBlob(int index, ReadOnlySpan<byte> bytes)
        {
            owner.Check(raw.sqlite3_bind_blob(handle, index, bytes), "bind");
            return this;
        }

        public Statement BindNull(int index)
        {
            owner.Check(raw.sqlite3_bind_null(handle, index), "bind");
            return this;
        }

        /// <summary>Steps to the next row; false = done.</summary>
        public bool Step()
        {
            int code = NativeStep(_statement);
            if (code == raw.SQLITE_ROW) return true;
            if (code == raw.SQLITE_DONE) return false;
            throw StepError();
        }

        /// <summary>Runs to the end and makes the statement ready for its next use, also when it fails.</summary>
        public void Run()
        {
            try
            {
                while (Step())
                {
                }
            }
            finally
            {
                Reset();
            }
        }

        /// <summary>Makes the statement ready for its next use. The error of a failed step is not raised again.</summary>
        public void Reset() => raw.sqlite3_reset(handle);

        public long Int64(int column) => NativeInt64(_statement, column);

        // Safe because: SQLite's memory of the row, valid until the statement steps on; the pointer is asked for first, since that may convert the value.
        public ReadOnlySpan<byte> Blob(int column)
        {
            void* bytes = NativeBlob(_statement, column);
            return new ReadOnlySpan<byte>(bytes, bytes == null ? 0 : NativeBytes(_statement, column));
        }

        public bool IsNull(int column) => NativeType(_statement, column) == raw.SQLITE_NULL;

        public string Text(int column) => raw.sqlite3_column_text(handle, column).utf8_to_string() ?? "";

        public void Dispose() => raw.sqlite3_finalize(handle);

        private SqliteException StepError() =>
            new(raw.sqlite3_extended_errcode(owner._db), raw.sqlite3_errmsg(owner._db).utf8_to_string(), "step");
    }
}

/// <summary>What a commit into the write-ahead log flushes (sqlite.org/pragma.html#pragma_synchronous).</summary>
internal enum CommitFlush
{
    /// <summary>Nothing. Only into a log whose frames of an earlier generation nobody would read after a power cut (<see cref="LogSeal"/>).</summary>
    Nothing,

    /// <summary>Where the log begins anew, its head, before a frame of the generation before is overwritten.</summary>
    Head,

    /// <summary>The head, and the log after each commit.</summary>
    All,
}

/// <summary>An error of SQLite's with its extended code.</summary>
internal sealed class SqliteException(int extendedCode, string message, string operation)
    : Exception($"sqlite {operation}: {message} (code {extendedCode})")
{
    public int ExtendedCode { get; } = extendedCode;

    public int Code => ExtendedCode & 0xff;

    public bool IsFull => Code == raw.SQLITE_FULL;

    public bool IsBusy => Code is raw.SQLITE_BUSY or raw.SQLITE_LOCKED;

    public bool IsCorrupt => Code == raw.SQLITE_CORRUPT;

    public bool IsNotADatabase => Code == raw.SQLITE_NOTADB;

    public bool IsReadOnly => Code is raw.SQLITE_READONLY or raw.SQLITE_PERM or raw.SQLITE_AUTH;
}
