using K3sFast.Datastore.FailPoints;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Copies the write-ahead log into the database beside the writer, on a connection of its own, so that no append waits for it. The
/// log starts anew by itself at the first write that finds everything copied.
/// </summary>
internal sealed class Checkpointer(string path, ILogger logger) : IDisposable
{
    // SQLite's own default: 1000 pages, 4 MiB of log.
    private const int StartPages = 1000;

    // Under writes that never pause, copying never ends: from 64 MiB of log on, the writer waits once so that the log can start anew.
    private const int MaxLogPages = 16 * 1024;

    private readonly Lock _gate = new();
    private SqliteConnection? _connection;
    private bool _isDisposed;

    // Written by the writer thread and by the running checkpoint
    private int _pages;
    private int _isRunning;
    private bool _isLogTooLong;

    /// <summary>Notes that a commit added about <paramref name="pages"/> pages to the log. Writer thread.</summary>
    public void OnCommit(int pages)
    {
        if (Volatile.Read(ref _isLogTooLong))
        {
            lock (_gate) CheckpointLocked();
            Volatile.Write(ref _isLogTooLong, false);
            return;
        }
        if (Interlocked.Add(ref _pages, pages) < StartPages || Interlocked.Exchange(ref _isRunning, 1) == 1) return;
        ThreadPool.UnsafeQueueUserWorkItem(static checkpointer => checkpointer.Run(), this, preferLocal: false);
    }

    /// <summary>Waits for a running checkpoint, copies what is left and closes.</summary>
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
            if (!_isDisposed) CheckpointLocked();
        }
        Volatile.Write(ref _isRunning, 0);
    }

    private void CheckpointLocked()
    {
        int noted = Volatile.Read(ref _pages);
        try
        {
            _connection ??= Open();
            _connection.Reach(FailPointNames.CheckpointBefore);
            var (logFrames, copied) = _connection.Checkpoint(truncate: false);
            _connection.Reach(FailPointNames.CheckpointAfter);
            // What could not be copied because a reader still needs the old pages is waited for again.
            Interlocked.Add(ref _pages, Math.Max(0, logFrames - copied) - noted);
            if (logFrames > MaxLogPages) Volatile.Write(ref _isLogTooLong, true);
        }
        catch (SqliteException error)
        {
            Log.CheckpointFailed(logger, path, error);
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
