using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using K3sFast.Datastore.FailPoints;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// The one thread that writes. It takes all appends that are queued as one transaction (group commit), shows the result to watches
/// when it is on disk, then completes the appends. While a group is flushed the next one gathers; on a slow medium its own flush may begin beside the
/// running one (CommitWriter.Flight.cs). Between groups it does one small step of maintenance, and expires leases.
/// </summary>
internal sealed partial class CommitWriter : IDisposable
{
    // kine warns of SQL that takes a second.
    private static readonly TimeSpan s_slowCommit = TimeSpan.FromSeconds(1);

    // SQLite's page, and its head in the log.
    private const int FrameBytes = 4096 + 24;

    // Longest key; kine's narrowest engine (MySQL) has 630 characters.
    private const int MaxKeyBytes = 630;

    private readonly SqliteDatastoreOptions _options;
    private readonly CommitFeed _feed;
    private readonly ILogger _logger;
    private readonly PendingAppend.Pool _pool = new();
    private readonly Thread _thread;
    private readonly object _gate = new();

    // Guarded by _gate
    private List<PendingAppend> _queued = [];
    private bool _isStopping;

    // Owned by the writer thread
    private readonly SqliteConnection _connection;
    private readonly SqliteConnection.Statement _begin;
    private readonly SqliteConnection.Statement _commit;
    private readonly SqliteConnection.Statement _rollback;
    private readonly SqliteConnection.Statement _probe;
    private readonly SqliteConnection.Statement _insert;
    private readonly SqliteConnection.Statement _insertDeletion;
    private readonly SqliteConnection.Statement _setSequence;
    private readonly FlushMark? _mark;
    private readonly GroupInFlight.Pool _groups = new();
    private List<PendingAppend> _taken = [];
    private int _takenDone;
    private bool _mayCommit;
    private long _revision;
    private long _sequence;
    private bool _hasRoom;

    // Written by the writer thread, read by anyone
    private string? _failure;

    public CommitWriter(SqliteConnection connection, SafeFileHandle database, SqliteDatastoreOptions options, CommitFeed feed, SqliteReaders readers, ILogger logger)
    {
        _connection = connection;
        _options = options;
        _feed = feed;
        _readers = readers;
        _revision = feed.CurrentRevision;
        _logger = logger;
        _begin = connection.Prepare("BEGIN IMMEDIATE"u8);
        _commit = connection.Prepare("COMMIT"u8);
        _rollback = connection.Prepare("ROLLBACK"u8);
        _probe = connection.Prepare(KineSchema.Probe);
        _insert = connection.Prepare(KineSchema.Insert);
        _insertDeletion = connection.Prepare(KineSchema.InsertDeletion);
        _setSequence = connection.Prepare(KineSchema.SetSequence);
        _sequence = connection.QueryInt64(KineSchema.SelectSequence);
        _leases = new LeaseQueue(options.TimeProvider);
        _checkpointer = new Checkpointer(connection.Path, database, options.MaxLogPages, Statistics, Wake, logger);
        Space = new SpaceGuard(connection.Path, options.ReservedDiskBytes, options.FreeDiskBytes ?? SpaceGuard.FreeBytesOf, logger);
        // The timers of a clock that tests move fire on the mover's thread: they only leave a mark and wake the writer.
        _leaseTimer = options.TimeProvider.CreateTimer(static state => ((CommitWriter)state!).MarkLeaseDue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _thread = new Thread(Run) { Name = "datastore-writer", IsBackground = true };
        connection.TakeWrittenPages();
        connection.FollowLog();
        _mark = FlushMark.Open(connection.Path, (int)connection.QueryInt64("PRAGMA page_size"u8), logger);
        _pace = options.Pace ?? new FlushPace(options.FlushBesideFrom);
        // Without the note nobody could tell whether a log that is to be made sure is whole.
        if (_mark is not null) _flushers = LogFlushers.Open(connection.Path, Wake);
        if (_flushers is not null) _seal = LogSeal.Open(connection.Path, Wake, logger);
        _checkpointer.Pins = _seal is not null;
        _maintenance = new Maintenance(connection, feed, Statistics, logger) { IsFlushedBeside = _flushers is not null };
    }

    public WriterStatistics Statistics { get; } = new();

    public SpaceGuard Space { get; }

    /// <summary>Why the newest write failed for another reason than space; null = a group was flushed since.</summary>
    public string? Failure => Volatile.Read(ref _failure);

    /// <summary>Appends that wait for a group.</summary>
    public int QueuedAppends
    {
        get
        {
            lock (_gate) return _queued.Count;
        }
    }

    public void Start() => _thread.Start();

    /// <summary>Queues an append; the task completes when it is durable and shown to the watches.</summary>
    public ValueTask<AppendResult> Append(in AppendRequest request)
    {
        var pending = _pool.Rent(request);
        var task = pending.Task;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isStopping, typeof(SqliteDatastore));
            if (_queued.Count >= _options.MaxQueuedAppends) throw Busy();
            _queued.Add(pending);
            if (_queued.Count == 1) Monitor.Pulse(_gate);
        }
        return task;
    }

    /// <summary>Finishes what is queued and closes the connection.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isStopping = true;
            Monitor.Pulse(_gate);
        }
        if (_thread.IsAlive) _thread.Join();
        _leaseTimer.Dispose();
        _flushers?.Dispose();
        SetSequenceRight();
        _checkpointer.Dispose();
        _seal?.Dispose();
        _maintenance.Dispose();
        foreach (var statement in (ReadOnlySpan<SqliteConnection.Statement>)[_begin, _commit, _rollback, _probe, _insert, _insertDeletion, _setSequence]) statement.Dispose();
        _connection.Dispose();
        _mark?.Dispose();
    }

    private void Run()
    {
        while (WaitForWork())
        {
            if (_flushers is { HasEnded: true }) TakeEnds();
            TurnLog();
            if (_mayCommit)
            {
                var group = NextGroup();
                if (group.Length > 0 || _isExpiring) CommitGroup(group);
                else if (IsMaintenanceFlushWanted) FlushMaintenance();
                _takenDone += group.Length;
            }
            MaintainOneStep();
        }
        if (_isLogDoubtful) TryMakeLogSure();
        TryLiftSeal();
        FailCompactions();
    }

    /// <summary>Blocks until there is something to do; false = stopped and nothing is left.</summary>
    private bool WaitForWork()
    {
        _mayCommit = true;
        if (_takenDone < _taken.Count)
        {
            if (!_isFlushedBeside && !_isHeld) return true;
        }
        else
        {
            _taken.Clear();
            _takenDone = 0;
        }
        lock (_gate)
        {
            while (true)
            {
                bool hasAppends = _queued.Count > 0 || _taken.Count > 0;
                if (_isStopping && !hasAppends && _inFlight.Count == 0) return false;
                bool isWanted = hasAppends || _isLeaseDue || _isExpiring || IsMaintenanceFlushWanted;
                int wait = isWanted && !_isHeld ? MillisecondsToNextGroup() : Timeout.Infinite;
                _mayCommit = isWanted && wait == 0;
                if (_mayCommit || _newLeases is not null || HasMaintenanceLocked() || HasTurnLocked() || _flushers is { HasEnded: true }) break;
                Monitor.Wait(_gate, wait);
            }
            TakeNewLeasesLocked();
            if (_mayCommit) TakeQueuedLocked();
            return true;
        }
    }

    private void TakeQueuedLocked()
    {
        if (_taken.Count == 0)
        {
            (_queued, _taken) = (_taken, _queued);
        }
        else
        {
            // What one group could not hold, and what came while the flushes of others ran.
            _taken.RemoveRange(0, _takenDone);
            _takenDone = 0;
            _taken.AddRange(_queued);
            _queued.Clear();
        }
        _isExpiring |= _isLeaseDue;
        if (_isLeaseDue) _isLeaseTimerSet = false;
        _isLeaseDue = false;
    }

    private void Wake()
    {
        lock (_gate) Monitor.Pulse(_gate);
    }

    private ReadOnlySpan<PendingAppend> NextGroup()
    {
        var rest = CollectionsMarshal.AsSpan(_taken)[_takenDone..];
        int count = 0;
        long bytes = 0;
        while (count < rest.Length && count < _options.MaxGroupAppends)
        {
            bytes += rest[count].Request.Value.Length;
            if (count > 0 && bytes > _options.MaxGroupBytes) break;
            count++;
        }
        return rest[..count];
    }

    private void CommitGroup(ReadOnlySpan<PendingAppend> appends)
    {
        _hasRoom = Space.HasRoom((long)_checkpointer.PendingPages * FrameBytes);
        var group = _groups.Rent(appends, Stopwatch.GetTimestamp(), _revision, _hasRoom);
        long revision = _revision;
        long sequence = _sequence;
        try
        {
            if (_isLogDoubtful) MakeLogSure();
            ChooseFlush();
            _connection.Reach(FailPointNames.CommitBeforeBegin);
            OpenLog();
            _checkpointer.OnBegin();
            _begin.Run();
            foreach (var append in appends) Decide(append, group, ref revision);
            if (_isExpiring) ExpireDue(group, ref revision);
            _connection.Reach(FailPointNames.CommitBeforeCommit);
            group.CommitAt = Stopwatch.GetTimestamp();
            _commit.Run();
        }
        catch (SqliteException error)
        {
            _sequence = sequence;
            RollBack();
            TryCloseAnew();
            Refuse(group, error);
            return;
        }
        Invariant.Verify(revision >= _revision, $"revision went back from {_revision} to {revision}");
        _revision = group.Revision = revision;
        bool isUnflushed = _isAnew;
        bool isHeadRight = TryCloseAnew(hasWritten: group.Changes > 0);
        NoteEnd();
        _isExpiring = false;
        if (group.Changes > 0) _isPassDisturbed |= _checkpointer.IsRunning;
        if (!isHeadRight) HoldDoubtful(group);
        else if (_isFlushedBeside) Launch(group);
        else if (isUnflushed && group.Changes > 0) FlushHere(group);
        else LandFlushed(group);
        NoteWritten();
    }

    /// <summary>Decides one append inside the group's transaction; earlier appends of the group are already visible to it.</summary>
    private void Decide(PendingAppend append, GroupInFlight group, ref long revision)
    {
        var request = append.Request;
        int maxBytes = Encoding.UTF8.GetMaxByteCount(request.Key.Length);
        byte[]? rented = maxBytes > 512 ? ArrayPool<byte>.Shared.Rent(maxBytes) : null;
        Span<byte> buffer = rented ?? stackalloc byte[512];
        try
        {
            var key = buffer[..Encoding.UTF8.GetBytes(request.Key, buffer)];
            var (id, isLive, createRevision) = Probe(key);
            append.Result = request.Kind switch
            {
                AppendKind.Create when isLive => new AppendResult(AppendOutcome.Conflict, id),
                AppendKind.Create => new AppendResult(AppendOutcome.Committed, revision + 1),
                _ when !isLive => new AppendResult(AppendOutcome.NotFound, 0),
                _ when id != request.ExpectedRevision => new AppendResult(AppendOutcome.Conflict, id),
                _ => new AppendResult(AppendOutcome.Committed, revision + 1),
            };
            if (append.Result.Outcome != AppendOutcome.Committed) return;
            if (!_hasRoom && request.Kind != AppendKind.Delete)
            {
                append.Result = new AppendResult(AppendOutcome.Full, 0);
                Statistics.RefusedFull++;
                return;
            }
            revision++;
            append.CreateRevision = request.Kind == AppendKind.Create ? revision : createRevision;
            Insert(key, revision, request.Kind, append.CreateRevision, id, request.LeaseSeconds, request.Value.Span);
            if (request.LeaseSeconds > 0 && request.Kind != AppendKind.Delete) group.Leases.Add((request.Key, revision, request.LeaseSeconds));
        }
        catch (DatastoreCorruptException error)
        {
            // What is there cannot be trusted, so nothing is built on it; the rest of the group is no worse for that.
            Statistics.DamagedReads++;
            append.Result = new AppendResult(AppendOutcome.NotFound, 0);
            append.Error = error;
        }
        finally
        {
            if (rented is not null) ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private (long Id, bool IsLive, long CreateRevision) Probe(ReadOnlySpan<byte> key)
    {
        try
        {
            _probe.BindText(1, key);
            if (!_probe.Step()) return (0, false, 0);
            var row = StoredRow.Read(_probe, _connection.Path);
            if (!row.Name.SequenceEqual(key)) throw StoredRow.Damaged(_connection.Path, row.Id, row.Name, "the index leads to it under another name");
            return (row.Id, !row.IsDeleted, row.CreateRevision);
        }
        finally
        {
            _probe.Reset();
        }
    }

    private void Insert(ReadOnlySpan<byte> key, long revision, AppendKind kind, long createRevision, long previous, long lease, ReadOnlySpan<byte> value)
    {
        if (revision > _sequence)
        {
            _sequence = revision + KineSchema.SequenceAhead;
            _setSequence.Bind(1, _sequence).Run();
        }
        bool isCreate = kind == AppendKind.Create;
        bool isDelete = kind == AppendKind.Delete;
        if (isCreate) createRevision = 0;
        if (isDelete) value = default;
        // A deletion that is to make room takes none for what it deletes.
        var insert = isDelete && _hasRoom ? _insertDeletion : _insert;
        insert.Bind(1, revision).BindText(2, key).Bind(3, isCreate ? 1 : 0).Bind(4, isDelete ? 1 : 0);
        insert.Bind(5, createRevision).Bind(6, previous).Bind(7, lease);
        if (isDelete) insert.BindNull(8);
        else insert.BindBlob(8, value);
        insert.Bind(9, RowChecksum.Of(revision, key, isCreate, isDelete, createRevision, previous, lease, value)).Run();
        _connection.Reach(FailPointNames.CommitAfterInsert);
    }

    private void NoteWritten()
    {
        int pages = _connection.TakeWrittenPages();
        Volatile.Write(ref Statistics.WrittenPages, Statistics.WrittenPages + pages);
        Space.Wrote((long)pages * FrameBytes);
        if (!_checkpointer.IsRunning) _isPassDisturbed = false;
        _checkpointer.OnCommit(pages);
    }

    /// <summary>k3s takes the next id from the sequence: it need not find a gap after an orderly end.</summary>
    private void SetSequenceRight()
    {
        try
        {
            if (_sequence > _revision) _setSequence.Bind(1, _revision).Run();
        }
        catch (SqliteException error)
        {
            Log.CommitFailed(_logger, _connection.Path, 0, error);
        }
    }

    private DatastoreBusyException Busy()
    {
        Interlocked.Increment(ref Statistics.RefusedBusy);
        return new DatastoreBusyException($"{_options.MaxQueuedAppends} writes are waiting for {_connection.Path}: the medium does not keep up, try again later");
    }

    /// <summary>Throws for keys that no engine can hold.</summary>
    internal static void CheckKey(string key)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        if (KineSchema.IsInternal(key)) throw new ArgumentException($"key {key} is the datastore's own", nameof(key));
        if (Encoding.UTF8.GetByteCount(key) > MaxKeyBytes) throw new ArgumentException($"key is longer than {MaxKeyBytes} bytes", nameof(key));
    }
}
