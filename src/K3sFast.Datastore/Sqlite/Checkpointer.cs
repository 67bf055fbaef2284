using K3sFast.Datastore.FailPoints;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Copies the write-ahead log into the database beside the writer, on a connection of its own, so that no append waits for it. The
/// log starts anew by itself at the first write that finds everything copied.
/// </summary>
/// <remarks>
/// A checkpoint never begins while the log is wholly copied: SQLite before 3.51.3 can take the frames of a log that a writer starts anew at
/// that very moment for copied ones. So it begins only after a transaction that itself began when the last checkpoint had ended.
/// </remarks>
internal sealed class Checkpointer(string path, SafeFileHandle database, int maxLogPages, WriterStatistics statistics, Action onEnd, ILogger logger) : IDisposable
{
    // SQLite's own default: 1000 pages, 4 MiB of log.
    private const int StartPages = 1000;

    // Maintenance waits while so much is to be copied.
    private const int BehindPages = 4 * StartPages;

    // Under writes that never pause, copying never ends: from 64 MiB of log on, writes are held back once so that the log can start anew. Before that, what
    // came meanwhile is copied beside them again and again, until what is left takes about a millisecond, and what was copied is flushed.
    internal const int MaxLogPages = 16 * 1024;
    private const int MaxAwaitedPages = 128;
    private const int MaxPasses = 8;

    private readonly Lock _gate = new();
    // Guarded by _gate
    private SqliteConnection? _connection;
    private SqliteConnection? _pin;
    private bool _isPinned;
    private bool _isDisposed;

    // Written by the writer thread and by the running checkpoint
    private int _pages;
    private int _isRunning;
    private int _whole;
    private bool _isLogTooLong;
    private int _passes;
    private long _transactions;
    private long _coveredTransactions;

    /// <summary>Pages in the log that are not in the database yet.</summary>
    public int PendingPages => Volatile.Read(ref _pages);

    /// <summary>True = a reader is kept in the log, so that it does not begin anew by itself.</summary>
    public bool Pins { get; set; }

    /// <summary>True = it is copying.</summary>
    public bool IsRunning => Volatile.Read(ref _isRunning) == 1;

    /// <summary>True = the log has so many pages that writes are to be held back until all are copied.</summary>
    public bool IsLogTooLong => Volatile.Read(ref _isLogTooLong);

    /// <summary>
    /// True = a log that ends with this frame is wholly copied, and the database was flushed after that: SQLite flushes it whenever it has copied all that there is, before
    /// it says so. Writer thread, whose frame it is: so nothing was added when SQLite looked.
    /// </summary>
    public bool IsWholeAt(int frame) => frame > 0 && !IsRunning && Volatile.Read(ref _whole) == frame;

    /// <summary>The log is sealed for it now, or not at all. Writer thread.</summary>
    public void TakeWhole() => Volatile.Write(ref _whole, 0);

    /// <summary>
    /// True = so much is being copied that nothing should be added without need. What waits while nobody copies is no reason: only the next
    /// transaction makes the copying begin, and it may be the one that asks.
    /// </summary>
    public bool IsBehind => Volatile.Read(ref _pages) >= BehindPages && Volatile.Read(ref _isRunning) == 1;

    /// <summary>A transaction is about to begin. Writer thread.</summary>
    public void OnBegin() => Interlocked.Increment(ref _transactions);

    /// <summary>Notes that the transaction added <paramref name="pages"/> pages to the log. Writer thread.</summary>
    public void OnCommit(int pages)
    {
        int waiting = Interlocked.Add(ref _pages, pages);
        if (pages == 0) return;
        Volatile.Write(ref _whole, 0);
        if (IsLogTooLong || waiting < (Volatile.Read(ref _passes) > 0 ? MaxAwaitedPages : StartPages) || _transactions <= Volatile.Read(ref _coveredTransactions)) return;
        Begin();
    }

    /// <summary>Begins to copy, unless it does. Writer thread.</summary>
    public void Begin()
    {
        if (Interlocked.Exchange(ref _isRunning, 1) == 1) return;
        ThreadPool.UnsafeQueueUserWorkItem(static checkpointer => checkpointer.Run(), this, preferLocal: false);
    }

    /// <summary>Writes were held back, whatever came of it. Writer thread.</summary>
    public void OnHeld(TimeSpan elapsed)
    {
        Volatile.Write(ref _isLogTooLong, false);
        statistics.LogWaitSeconds.Add(elapsed.TotalSeconds);
    }

    /// <summary>Copies the log and gives its space back, unless a reader still needs it. The writer thread, between transactions.</summary>
    public void Truncate()
    {
        lock (_gate)
        {
            UnpinLocked();
            CheckpointLocked(truncate: true);
            Volatile.Write(ref _whole, 0);
        }
    }

    /// <summary>Lets the log begin anew with the next transaction. Writer thread, while nothing is copied.</summary>
    public void Unpin()
    {
        lock (_gate) UnpinLocked();
    }

    /// <summary>Waits for a running checkpoint, copies what is left and closes. The writer has ended.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_isDisposed) return;
            UnpinLocked();
            CheckpointLocked();
            _isDisposed = true;
            _pin?.Dispose();
            _connection?.Dispose();
        }
    }

    private void Run()
    {
        lock (_gate)
        {
            if (!_isDisposed) NotePass(CheckpointLocked(pin: Pins));
        }
        Volatile.Write(ref _coveredTransactions, Interlocked.Read(ref _transactions));
        Volatile.Write(ref _isRunning, 0);
        onEnd();
    }

    private void NotePass(int logPages)
    {
        // The last one, for which writes are held back.
        if (IsLogTooLong) return;
        _passes = logPages > maxLogPages ? _passes + 1 : 0;
        bool isWorthAnother = PendingPages > MaxAwaitedPages && _passes < MaxPasses && logPages < maxLogPages + (maxLogPages / 4);
        if (_passes == 0 || isWorthAnother) return;
        // SQLite flushes the database only when it has copied all. Whether this flush ends well does not matter: SQLite's own, by its own descriptor, is told.
        _ = FileFlush.TryFlushData(database);
        Volatile.Write(ref _isLogTooLong, true);
        _passes = 0;
    }

    /// <summary>Copies what can be copied; returns the pages of the log, 0 when that failed.</summary>
    private int CheckpointLocked(bool truncate = false, bool pin = false)
    {
        int noted = Volatile.Read(ref _pages);
        try
        {
            _connection ??= Open();
            if (pin) PinLocked();
            _connection.Reach(FailPointNames.CheckpointBefore);
            var (logFrames, copied) = _connection.Checkpoint(truncate);
            _connection.Reach(FailPointNames.CheckpointAfter);
            Interlocked.Increment(ref statistics.Checkpoints);
            // What could not be copied because a reader still needs the old pages is waited for again.
            Interlocked.Add(ref _pages, Math.Max(0, logFrames - copied) - noted);
            Volatile.Write(ref _whole, copied == logFrames ? copied : 0);
            return logFrames;
        }
        catch (SqliteException error)
        {
            Volatile.Write(ref _whole, 0);
            // Tried again after as many pages as now.
            Log.CheckpointFailed(logger, path, error);
            return 0;
        }
    }

    /// <summary>Puts a reader into the log at its end. It keeps the log from beginning anew, and what is behind it from being copied; so before each copying it moves on.</summary>
    private void PinLocked()
    {
        UnpinLocked();
        _pin ??= SqliteConnection.Open(path, busyTimeoutMs: 0);
        _pin.Execute("BEGIN"u8);
        _isPinned = true;
        _pin.Execute("SELECT count(*) FROM sqlite_master"u8);
    }

    private void UnpinLocked()
    {
        if (!_isPinned) return;
        _isPinned = false;
        // Some errors end a transaction by themselves.
        if (_pin!.IsInTransaction) _pin.Execute("ROLLBACK"u8);
    }

    private SqliteConnection Open()
    {
        var connection = SqliteConnection.Open(path, busyTimeoutMs: 0);
        // A connection that has read nothing does not know of the log, and its checkpoint would silently do nothing.
        connection.Execute("SELECT count(*) FROM sqlite_master"u8);
        connection.WatchFiles(isCheckpointer: true);
        return connection;
    }
}
