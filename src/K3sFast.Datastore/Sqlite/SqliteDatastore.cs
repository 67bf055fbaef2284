using System.Diagnostics;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// The embedded engine: one file in kine's layout, write-ahead log, every commit flushed. One thread writes (<see cref="CommitWriter"/>),
/// any number reads; watches are fed from the writer (<see cref="CommitFeed"/>).
/// </summary>
public sealed class SqliteDatastore : IDatastore, IDatastoreMonitor, IStateReader
{
    // Leases begin anew with the process and none is shorter than some seconds: looking for them, which reads every row, need not slow a start.
    private static readonly TimeSpan s_leaseDelay = TimeSpan.FromSeconds(2);

    // A file that is as it was closed is checked when nobody waits for a start any more.
    private static readonly TimeSpan s_checkDelay = TimeSpan.FromSeconds(20);

    private readonly SqliteDatastoreOptions _options;
    private readonly ILogger _logger;
    private readonly FileStream _taken;
    private readonly CommitFeed _feed;
    private readonly CommitWriter _writer;
    private readonly SqliteReaders _readers;
    private readonly ITimer? _compactTimer;
    private readonly CancellationTokenSource _closing = new();
    private Task _check = Task.CompletedTask;
    private Task _leasesRead = Task.CompletedTask;
    private DatastoreCorruptException? _damage;
    private long _revisionAtLastTick;
    private volatile bool _isKnownWhole;
    private int _isDisposed;

    private SqliteDatastore(SqliteDatastoreOptions options, FileStream taken, SqliteConnection connection, ILogger logger)
    {
        _options = options;
        _taken = taken;
        _logger = logger;
        long compactRevision = connection.QueryInt64(KineSchema.SelectCompactRevision);
        _feed = new CommitFeed(NewestRevision(connection, compactRevision), compactRevision);
        _readers = new SqliteReaders(options.Path);
        _writer = new CommitWriter(connection, taken.SafeFileHandle, options, _feed, _readers, logger);
        _revisionAtLastTick = _feed.CurrentRevision;
        if (options.CompactInterval > TimeSpan.Zero)
        {
            _compactTimer = options.TimeProvider.CreateTimer(
                static state => ((SqliteDatastore)state!).CompactOld(), this, options.CompactInterval, options.CompactInterval);
        }
    }

    /// <inheritdoc/>
    public long CurrentRevision => _feed.CurrentRevision;

    /// <inheritdoc/>
    public long CompactRevision => _feed.CompactRevision;

    /// <summary>True = the structure of the file was gone through in this life, and is whole.</summary>
    internal bool IsKnownWhole => _isKnownWhole;

    /// <summary>Opens the database, or makes it.</summary>
    /// <remarks>Throws <see cref="DatastoreOpenException"/> when the file is foreign, damaged, in use or cannot be written.</remarks>
    public static SqliteDatastore Open(SqliteDatastoreOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        long startedAt = Stopwatch.GetTimestamp();
        options = options with { Path = Path.GetFullPath(options.Path) };
        var logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("K3sFast.Datastore");
        var taken = SqliteOpener.TakeFile(options.Path);
        SqliteDatastore store;
        WholeCheck check;
        try
        {
            (var connection, check) = SqliteOpener.OpenWriter(options.Path, taken, logger);
            try
            {
                store = new SqliteDatastore(options, taken, connection, logger);
            }
            catch (SqliteException)
            {
                connection.Dispose();
                throw;
            }
        }
        catch (SqliteException error)
        {
            taken.Dispose();
            throw SqliteOpener.Translate(options.Path, error);
        }
        catch (DatastoreOpenException)
        {
            taken.Dispose();
            throw;
        }
        store._writer.Start();
        store._leasesRead = store.ReadLeasesAsync();
        store._isKnownWhole = check == WholeCheck.Done;
        if (check is WholeCheck.Beside or WholeCheck.Later) store._check = store.CheckBesideAsync(check == WholeCheck.Later ? s_checkDelay : TimeSpan.Zero);
        Log.Opened(logger, options.Path, store.CurrentRevision, store.CompactRevision, (long)Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds);
        return store;
    }

    /// <inheritdoc/>
    public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default)
    {
        CommitWriter.CheckKey(request.Key);
        ThrowIfDamaged();
        return cancellationToken.IsCancellationRequested ? ValueTask.FromCanceled<AppendResult>(cancellationToken) : _writer.Append(request);
    }

    /// <inheritdoc/>
    /// <remarks>Runs on the caller's thread: the file's pages are mostly in the kernel's cache.</remarks>
    public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(visitor);
        ThrowIfDamaged();
        long current = CurrentRevision;
        long revision = request.Revision == 0 ? current : request.Revision;
        if (revision > current) throw new DatastoreFutureRevisionException(revision, current);
        ThrowIfCompacted(revision);
        RangeResult result;
        try
        {
            using var lent = _readers.Rent();
            result = lent.Reader.ReadRange(request, revision, visitor, cancellationToken);
        }
        catch (Exception error) when (error is SqliteException or DatastoreCorruptException)
        {
            throw ReadError(error);
        }
        // A compaction that began meanwhile may have taken rows that belong to this revision.
        ThrowIfCompacted(revision);
        return new ValueTask<RangeResult>(result);
    }

    /// <inheritdoc/>
    public async Task ReadStateAsync(string prefix, long revision, Func<int, IDatastoreVisitor> openPart, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(openPart);
        ThrowIfDamaged();
        if (revision > CurrentRevision) throw new DatastoreFutureRevisionException(revision, CurrentRevision);
        ThrowIfCompacted(revision);
        try
        {
            var rows = StateScan.ReadIndex(_readers, prefix, revision, cancellationToken);
            await StateScan.ReadAsync(_readers, rows, prefix, revision, openPart, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is SqliteException or DatastoreCorruptException)
        {
            // Rows that were compacted away between the index and the table are missed, and no damage.
            ThrowIfCompacted(revision);
            throw ReadError(error);
        }
        ThrowIfCompacted(revision);
    }

    /// <inheritdoc/>
    public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer)
    {
        ArgumentNullException.ThrowIfNull(observer);
        ThrowIfDamaged();
        ThrowIfCompacted(afterRevision);
        if (afterRevision > CurrentRevision) throw new DatastoreFutureRevisionException(afterRevision, CurrentRevision);
        var watch = new SqliteWatch(_feed, _readers, observer, afterRevision, _logger);
        watch.Start();
        return watch;
    }

    /// <inheritdoc/>
    public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default)
    {
        if (revision > CurrentRevision) throw new DatastoreFutureRevisionException(revision, CurrentRevision);
        if (revision <= _feed.CompactedRevision) return ValueTask.CompletedTask;
        return new ValueTask(_writer.Compact(revision).WaitAsync(cancellationToken));
    }

    /// <inheritdoc/>
    public DatastoreStatus ReadStatus()
    {
        var statistics = _writer.Statistics;
        long pages = 0, freePages = 0;
        try
        {
            using var lent = _readers.Rent();
            (pages, freePages) = lent.Reader.ReadPageCounts();
        }
        catch (SqliteException)
        {
            // Damage shows elsewhere; the rest of the figures is worth having all the more.
        }
        return new DatastoreStatus
        {
            FileBytes = LengthOf(_options.Path),
            LogBytes = LengthOf($"{_options.Path}-wal"),
            UnusedBytes = pages == 0 ? 0 : LengthOf(_options.Path) / pages * freePages,
            FreeDiskBytes = _writer.Space.FreeBytes,
            ReservedDiskBytes = _writer.Space.ReserveBytes,
            IsFull = _writer.Space.IsFull,
            Damage = Volatile.Read(ref _damage)?.Message,
            WriteFailure = _writer.Failure,
            DamagedReads = Interlocked.Read(ref statistics.DamagedReads),
            CurrentRevision = CurrentRevision,
            CompactRevision = CompactRevision,
            CompactionTarget = _writer.CompactionTarget,
            CompactedRows = Volatile.Read(ref statistics.CompactedRows),
            VacuumedPages = Volatile.Read(ref statistics.VacuumedPages),
            QueuedAppends = _writer.QueuedAppends,
            RefusedBusy = Interlocked.Read(ref statistics.RefusedBusy),
            RefusedFull = Volatile.Read(ref statistics.RefusedFull),
            WrittenPages = Volatile.Read(ref statistics.WrittenPages),
            Checkpoints = Interlocked.Read(ref statistics.Checkpoints),
            CommitSeconds = statistics.CommitSeconds,
            GroupSizes = statistics.GroupSizes,
            CompactionSeconds = statistics.CompactionSeconds,
            VacuumSeconds = statistics.VacuumSeconds,
            MaintenanceFlushSeconds = statistics.MaintenanceFlushSeconds,
            LogWaitSeconds = statistics.LogWaitSeconds,
        };
    }

    /// <summary>Finishes queued appends, copies the log into the database and closes the file.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 1) return;
        await _closing.CancelAsync().ConfigureAwait(false);
        if (_compactTimer is not null) await _compactTimer.DisposeAsync().ConfigureAwait(false);
        // Joins the writer thread, which finishes what is queued: some milliseconds, once.
        _writer.Dispose();
        _feed.Close(new ObjectDisposedException(nameof(SqliteDatastore)));
        _readers.Dispose();
        // These end by themselves, and hold the file open until then.
        await _check.ConfigureAwait(false);
        await _leasesRead.ConfigureAwait(false);
        _closing.Dispose();
        // Each start may rely on it once only: a file that nobody has gone through in this life is gone through at the next door.
        if (_isKnownWhole && _damage is null && _writer.Failure is null && Interlocked.Read(ref _writer.Statistics.DamagedReads) == 0) CloseMark.Leave(_options.Path, _taken);
        await _taken.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>
    /// The newest row's id, or the compacted revision when the newest rows were deletions that are compacted away. The sequence runs ahead
    /// after a kill; further ahead than we let it, somebody took rows out by hand, and their ids are not used again either.
    /// </summary>
    private static long NewestRevision(SqliteConnection connection, long compactRevision)
    {
        long newest = Math.Max(connection.QueryInt64(KineSchema.SelectLastId), compactRevision);
        long sequence = connection.QueryInt64(KineSchema.SelectSequence);
        return sequence - newest > KineSchema.SequenceAhead ? sequence : newest;
    }

    private static long LengthOf(string path) => new FileInfo(path) is { Exists: true } file ? file.Length : 0;

    private void ThrowIfDamaged()
    {
        if (Volatile.Read(ref _damage) is { } damage) throw new DatastoreCorruptException(damage.Message, damage);
    }

    private async Task CheckBesideAsync(TimeSpan delay)
    {
        try
        {
            if (delay > TimeSpan.Zero) await Task.Delay(delay, _options.TimeProvider, _closing.Token).ConfigureAwait(false);
            await Task.Factory.StartNew(CheckBeside, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Closed before it began.
        }
    }

    /// <summary>Checks the file whole, beside the work. What it finds ends all reads and writes.</summary>
    private void CheckBeside()
    {
        long startedAt = Stopwatch.GetTimestamp();
        try
        {
            using var lent = _readers.Rent();
            using var closing = _closing.Token.UnsafeRegister(static reader => ((SqliteReader)reader!).Interrupt(), lent.Reader);
            if (lent.Reader.FindDamage() is { } finding)
            {
                NoteDamage(finding);
                return;
            }
            _isKnownWhole = true;
            Log.CheckedWhole(_logger, _options.Path, (long)Stopwatch.GetElapsedTime(startedAt).TotalMilliseconds);
        }
        catch (ObjectDisposedException)
        {
            // Closed before it began.
        }
        catch (SqliteException error) when (error.IsCorrupt)
        {
            NoteDamage(error.Message);
        }
        catch (SqliteException error)
        {
            if (!_closing.IsCancellationRequested) Log.CheckFailed(_logger, _options.Path, error);
        }
    }

    private void NoteDamage(string finding)
    {
        Log.Damaged(_logger, _options.Path, finding);
        Volatile.Write(ref _damage, new DatastoreCorruptException(
            $"datastore {_options.Path} is damaged ({finding}): stop the server and restore the directory {Path.GetDirectoryName(_options.Path)} from a backup"));
    }

    /// <summary>What a failed read means to who asked. Damage is counted.</summary>
    private DatastoreException ReadError(Exception error)
    {
        bool isCorrupt = error is DatastoreCorruptException or SqliteException { IsCorrupt: true };
        if (isCorrupt) Interlocked.Increment(ref _writer.Statistics.DamagedReads);
        return error as DatastoreCorruptException
            ?? (isCorrupt ? new DatastoreCorruptException($"datastore {_options.Path} is damaged: {error.Message}; stop the server and restore it from a backup", error)
            : new DatastoreException($"reading {_options.Path} failed: {error.Message}", error));
    }

    private void ThrowIfCompacted(long revision)
    {
        if (revision < CompactRevision) throw new DatastoreCompactedException(revision, CompactRevision);
    }

    /// <summary>What is older than an interval goes, but never the newest revisions.</summary>
    private void CompactOld()
    {
        long current = CurrentRevision;
        long target = Math.Min(_revisionAtLastTick, current - _options.KeepRevisions);
        _revisionAtLastTick = current;
        if (target <= _feed.CompactedRevision) return;
        try
        {
            // The writer logs a failure; the next tick tries again.
            _ = _writer.Compact(target).ContinueWith(static done => done.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        }
        catch (ObjectDisposedException)
        {
            // Closing.
        }
    }

    private async Task ReadLeasesAsync()
    {
        try
        {
            await Task.Delay(s_leaseDelay, _options.TimeProvider, _closing.Token).ConfigureAwait(false);
            await Task.Run(ReadLeases, _closing.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Closed before it began.
        }
    }

    private void ReadLeases()
    {
        try
        {
            using var lent = _readers.Rent();
            _writer.AddLeases(lent.Reader.ReadLeases());
        }
        catch (ObjectDisposedException)
        {
            // Closed before it began.
        }
        catch (SqliteException error)
        {
            Log.LeasesUnreadable(_logger, error);
        }
    }
}
