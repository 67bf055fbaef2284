using System.Diagnostics;
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
internal sealed class Checkpointer(string path, SafeFileHandle database, WriterStatistics statistics, Action onEnd, ILogger logger) : IDisposable
{
    // SQLite's own default: 1000 pages, 4 MiB of log.
    private const int StartPages = 1000;

    // Maintenance waits while so much is to be copied.
    private const int BehindPages = 4 * StartPages;

    // Under writes that never pause, copying never ends: from 64 MiB of log on, the writer waits once so that the log can start anew. Before that, what
    // came meanwhile is copied beside it again and again, until what is left takes about a millisecond, and what was copied is flushed.
    private const int MaxLogPages = 16 * 1024;
    private const int MaxAwaitedPages = 128;
    private const int MaxPasses = 8;

    private readonly Lock _gate = new();
    private SqliteConnection? _connection;
    private bool _isDisposed;

    // Written by the writer thread and by the running checkpoint
    private int _pages;
    private int _isRunning;
    private bool _isLogTooLong;
    private int _passes;
    private long _transactions;
    private long _coveredTransactions;

    /// <summary>Pages in the log that are not in the database yet.</summary>
    public int PendingPages => Volatile.Read(ref _pages);

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
        if (Volatile.Read(ref _isLogTooLong))
        {
            long startedAt = Stopwatch.GetTimestamp();
            lock (_gate) CheckpointLocked();
            Volatile.Write(ref _isLogTooLong, false);
            statistics.LogWaitSeconds.Add(Stopwatch.GetElapsedTime(startedAt).TotalSeconds);
            return;
        }
        if (pages == 0 || waiting < (Volatile.Read(ref _passes) > 0 ? MaxAwaitedPages : StartPages) || _transactions <= Volatile.Read(ref _coveredTransactions)) return;
        if (Interlocked.Exchange(ref _isRunning, 1) == 1) return;
        ThreadPool.UnsafeQueueUserWorkItem(static checkpointer => checkpointer.Run(), this, preferLocal: false);
    }

    /// <summary>Copies the log and gives its space back, unless a reader still needs it. The writer thread, between transactions.</summary>
    public void Truncate()
    {
        lock (_gate) CheckpointLocked(truncate: true);
    }

    /// <summary>Waits for a running checkpoint, copies what is left and closes. The writer has ended.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_isDisposed) return;
            CheckpointLocked();
            _isDisposed = true;
            _connection?.Dispose();
        }
    }

    private void Run()
    {
        lock (_gate)
        {
            if (!_isDisposed) NotePass(CheckpointLocked());
        }
        Volatile.Write(ref _coveredTransactions, Interlocked.Read(ref _transactions));
        Volatile.Write(ref _isRunning, 0);
        onEnd();
    }

    private void NotePass(int logPages)
    {
        _passes = logPages > MaxLogPages ? _passes + 1 : 0;
        bool isWorthAnother = PendingPages > MaxAwaitedPages && _passes < MaxPasses && logPages < MaxLogPages + (MaxLogPages / 4);
        if (_passes == 0 || isWorthAnother) return;
        // SQLite flushes the database only when it has copied all. Whether this flush ends well does not matter: SQLite's own, by its own descriptor, is told.
        _ = FileFlush.TryFlushData(database);
        Volatile.Write(ref _isLogTooLong, true);
        _passes = 0;
    }

    /// <summary>Copies what can be copied; returns the pages of the log, 0 when that failed.</summary>
    private int CheckpointLocked(bool truncate = false)
    {
        int noted = Volatile.Read(ref _pages);
        try
        {
            _connection ??= Open();
            _connection.Reach(FailPointNames.CheckpointBefore);
            var (logFrames, copied) = _connection.Checkpoint(truncate);
            _connection.Reach(FailPointNames.CheckpointAfter);
            Interlocked.Increment(ref statistics.Checkpoints);
            // What could not be copied because a reader still needs the old pages is waited for again.
            Interlocked.Add(ref _pages, Math.Max(0, logFrames - copied) - noted);
            return logFrames;
        }
        catch (SqliteException error)
        {
            // Tried again after as many pages as now.
            Log.CheckpointFailed(logger, path, error);
            return 0;
        }
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
