using K3sFast.Datastore.FailPoints;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;
using SQLitePCL;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Takes the head of a log away, beside the writer, once all of it is in the database, so that the log can begin anew without a flush of the new head. The
/// writer thread sets and lifts the seal; the flush between runs on a thread of the pool.
/// </summary>
/// <remarks>
/// SQLite begins a log anew over the frames of the generation before. Were a frame overwritten while the medium still had the old head, a power cut would leave an
/// old log that ends early, and its first pages, long since outdated, would be put over the newer ones of the database. So SQLite writes the new head and
/// flushes it before the first frame, in the transaction of whoever comes first: a write then waits for two flushes, a step of maintenance for one.
///
/// Here the old head is overwritten with words that are none, and that is flushed while nobody writes. A log without a head holds nothing for SQLite, whoever's, which is
/// right, as the database has all of it; that is the only time at which the seal may be set:
/// - Every frame is copied and the database was flushed after the last of them (<see cref="Checkpointer.IsWholeAt"/>).
/// - No flush of the log runs, no group is on its way.
///
/// On a sealed medium new frames may reach it in any order with the new head: either it has the new head, and what is whole behind that counts, or none, and
/// nothing does. The first transaction needs no flush but the one that makes it durable.
///
/// A write that comes while the seal is being flushed does not wait for it: the head is put back and the write is added to the log behind all others; its
/// own flush covers both. Until then the log may have no head on the medium, and lose nothing but what was not answered. For that the log must not begin anew by
/// itself: the checkpointer keeps a reader in it (<see cref="Checkpointer.Unpin"/>). Where another reader still is in it when it is to begin anew, SQLite adds to it too; so after
/// that transaction the head is looked at, and put back before anything is flushed.
/// </remarks>
internal sealed class LogSeal : IDisposable
{
    private const int NotBegun = 0;
    private const int Running = 1;
    private const int Ended = 2;
    private const int Failed = 3;

    private readonly string _database;
    private readonly SafeFileHandle _log;
    private readonly Action _onEnd;
    private readonly ILogger _logger;
    private readonly Lock _gate = new();

    // Guarded by _gate, which is held while the flush runs
    private bool _isDisposed;

    // Owned by the writer thread
    private readonly byte[] _head = new byte[LogCheck.HeaderBytes];
    private bool _isSet;

    // Written by whoever flushes, read by the writer thread
    private int _flush = NotBegun;

    private LogSeal(string database, SafeFileHandle log, Action onEnd, ILogger logger) => (_database, _log, _onEnd, _logger) = (database, log, onEnd, logger);

    // As long as a head, and in one sector as that.
    private static ReadOnlySpan<byte> Words => "k3sfast: all is in the database\n"u8;

    /// <summary>True = the log has no head.</summary>
    public bool IsSet => _isSet;

    /// <summary>True = it has none on the medium either.</summary>
    public bool IsSafe => _isSet && Volatile.Read(ref _flush) == Ended;

    /// <summary>True = a flush runs, be it of a seal that was lifted since.</summary>
    public bool IsFlushing => Volatile.Read(ref _flush) == Running;

    /// <summary>True = the first bytes of a log are a seal: whatever lies behind was in the database when it was set.</summary>
    public static bool IsSeal(ReadOnlySpan<byte> head) => head.SequenceEqual(Words);

    /// <summary>For the log of an open database; null = it cannot be opened.</summary>
    public static LogSeal? Open(string database, Action onEnd, ILogger logger)
    {
        try
        {
            return new LogSeal(database, File.OpenHandle($"{database}-wal", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite), onEnd, logger);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Takes the head away and begins the flush of that. All is in the database, nothing is on its way, no flush runs. Writer thread.</summary>
    public void Begin()
    {
        try
        {
            if (FailPoint.Reach(FailPointNames.LogBeforeSeal, _database) != FailPointError.None) throw new IOException("fail point");
            if (RandomAccess.Read(_log, _head, 0) != _head.Length || IsSeal(_head)) return;
            _isSet = true;
            Volatile.Write(ref _flush, Failed);
            RandomAccess.Write(_log, Words, 0);
        }
        catch (IOException error)
        {
            Log.SealFailed(_logger, _database, error.Message);
            return;
        }
        Volatile.Write(ref _flush, Running);
        ThreadPool.UnsafeQueueUserWorkItem(static seal => seal.Flush(), this, preferLocal: false);
    }

    /// <summary>
    /// Puts the head back unless there is a new one: before something is added to the log, and after what may have begun it anew. Throws <see cref="SqliteException"/>
    /// like a failed commit; then it is still to be done. Writer thread.
    /// </summary>
    public void Lift()
    {
        if (!_isSet) return;
        try
        {
            Span<byte> head = stackalloc byte[LogCheck.HeaderBytes];
            // Emptied meanwhile: nothing is in it.
            bool isEmpty = RandomAccess.Read(_log, head, 0) != head.Length;
            if (!isEmpty && IsSeal(head)) RandomAccess.Write(_log, _head, 0);
            _isSet = false;
        }
        catch (IOException error)
        {
            throw new SqliteException(raw.SQLITE_IOERR_WRITE, error.Message, $"put the head of {_database}-wal back");
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            _log.Dispose();
        }
    }

    private void Flush()
    {
        lock (_gate)
        {
            if (_isDisposed) return;
            const int InputOutputError = 5;
            int errno = FailPoint.Reach(FailPointNames.LogInSeal, _database) == FailPointError.None ? FileFlush.TryFlushData(_log) : InputOutputError;
            if (errno == 0) FailPoint.Reach(FailPointNames.LogAfterSeal, _database);
            // The next write puts the head back, which the kernel then writes once more.
            else Log.SealFailed(_logger, _database, System.Runtime.InteropServices.Marshal.GetPInvokeErrorMessage(errno));
            Volatile.Write(ref _flush, errno == 0 ? Ended : Failed);
        }
        _onEnd();
    }
}
