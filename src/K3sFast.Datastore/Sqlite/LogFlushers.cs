using System.Diagnostics;
using K3sFast.Datastore.FailPoints;
using Microsoft.Win32.SafeHandles;
using SQLitePCL;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// A few threads that flush the write-ahead log, so that the writer can write the next group meanwhile. The writer thread begins flushes and takes
/// their ends; the threads start with the first flush.
/// </summary>
/// <remarks>
/// Each thread has a descriptor of its own, opened before anything is written that it is to flush. The kernel tells of a page that could not be written once
/// per descriptor: two flushes through one descriptor would share the news, and the one that did not get it would say that all is well. So here a flush
/// that ends well says that no page was lost which was written before it began, whatever other flushes, also SQLite's, were told meanwhile.
/// After an error that is so no more: the page counts as clean, and the next flush ends well without it (see <see cref="LogRewriter"/>).
/// </remarks>
internal sealed class LogFlushers : IDisposable
{
    // They do one system call.
    private const int StackBytes = 128 * 1024;

    private readonly string _database;
    private readonly SafeFileHandle[] _logs;
    private readonly Action _onEnd;
    private readonly List<Thread> _threads = [];
    private readonly object _gate = new();

    // Guarded by _gate
    private readonly Queue<long> _wanted = new();
    private readonly Queue<FlushEnd> _ended = new();
    private int _running;
    private bool _isStopping;

    // Written under _gate, read by anyone
    private int _endedCount;

    private LogFlushers(string database, SafeFileHandle[] logs, Action onEnd) => (_database, _logs, _onEnd) = (database, logs, onEnd);

    /// <summary>True = ends wait to be taken.</summary>
    public bool HasEnded => Volatile.Read(ref _endedCount) > 0;

    /// <summary>True = none runs, and no end waits to be taken.</summary>
    public bool IsIdle
    {
        get
        {
            lock (_gate) return _running == 0 && _ended.Count == 0;
        }
    }

    /// <summary>Opens the log of an open database; null = it cannot be.</summary>
    public static LogFlushers? Open(string database, Action onEnd)
    {
        var logs = new List<SafeFileHandle>();
        try
        {
            while (logs.Count < FlushPace.MaxFlushes) logs.Add(File.OpenHandle($"{database}-wal", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite));
            return new LogFlushers(database, [.. logs], onEnd);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            foreach (var log in logs) log.Dispose();
            return null;
        }
    }

    /// <summary>Flushes on the caller's thread, while no other runs.</summary>
    public SqliteException? FlushHere() => Flush(_logs[0]);

    /// <summary>Begins a flush of all that is written by now. No more than <see cref="FlushPace.MaxFlushes"/> at once.</summary>
    public void Begin(long number)
    {
        if (_threads.Count == 0) StartThreads();
        lock (_gate)
        {
            _running++;
            _wanted.Enqueue(number);
            Monitor.Pulse(_gate);
        }
    }

    /// <summary>Takes the end of a flush, in the order in which they ended.</summary>
    public bool TryTakeEnd(out FlushEnd end)
    {
        lock (_gate)
        {
            if (!_ended.TryDequeue(out end)) return false;
            Volatile.Write(ref _endedCount, _ended.Count);
            return true;
        }
    }

    /// <summary>Waits until none runs.</summary>
    public void WaitForAll()
    {
        lock (_gate)
        {
            while (_running > 0) Monitor.Wait(_gate);
        }
    }

    /// <summary>None runs and all that was written is safe: what each descriptor has still to tell of earlier errors is no news.</summary>
    public void ForgetErrors()
    {
        foreach (var log in _logs) _ = FileFlush.TryFlushData(log);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isStopping = true;
            Monitor.PulseAll(_gate);
        }
        foreach (var thread in _threads) thread.Join();
        foreach (var log in _logs) log.Dispose();
    }

    private void StartThreads()
    {
        foreach (var log in _logs)
        {
            var thread = new Thread(() => Run(log), StackBytes) { Name = "datastore-flush", IsBackground = true };
            _threads.Add(thread);
            thread.Start();
        }
    }

    private void Run(SafeFileHandle log)
    {
        while (TryTakeWanted(out long number))
        {
            long began = Stopwatch.GetTimestamp();
            var error = Flush(log);
            var end = new FlushEnd(number, began, Stopwatch.GetTimestamp(), error);
            lock (_gate)
            {
                _ended.Enqueue(end);
                Volatile.Write(ref _endedCount, _ended.Count);
                // The writer may wait for all.
                if (--_running == 0) Monitor.PulseAll(_gate);
            }
            _onEnd();
        }
    }

    private bool TryTakeWanted(out long number)
    {
        lock (_gate)
        {
            while (!_wanted.TryDequeue(out number))
            {
                if (_isStopping) return false;
                Monitor.Wait(_gate);
            }
            return true;
        }
    }

    private SqliteException? Flush(SafeFileHandle log)
    {
        string operation = $"flush {_database}-wal";
        var fault = FailPoint.Reach(FailPointNames.CommitInFlush, _database);
        if (fault != FailPointError.None) return new SqliteException(fault == FailPointError.NoSpace ? raw.SQLITE_FULL : raw.SQLITE_IOERR_FSYNC, "fail point", operation);
        const int NoSpace = 28;
        return FileFlush.TryFlushData(log) switch
        {
            0 => null,
            NoSpace => new SqliteException(raw.SQLITE_FULL, "no space left on device", operation),
            int errno => new SqliteException(raw.SQLITE_IOERR_FSYNC, System.Runtime.InteropServices.Marshal.GetPInvokeErrorMessage(errno), operation),
        };
    }
}

/// <summary>A flush has ended, well or not.</summary>
internal readonly record struct FlushEnd(long Number, long Began, long Ended, SqliteException? Error);
