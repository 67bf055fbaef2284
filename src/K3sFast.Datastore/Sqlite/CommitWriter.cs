using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using K3sFast.Datastore.FailPoints;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// The one thread that writes. It takes all appends that are queued as one transaction (group commit), shows the result to watches
/// when it is on disk, then completes the appends. Between groups it does one small step of compaction, and expires leases.
/// </summary>
internal sealed partial class CommitWriter : IDisposable
{
    // Bounds the memory of waiting appends; kube-apiserver lets 200 writes in at once, so this is reached by a bug or an attack only.
    private const int MaxQueued = 16 * 1024;

    // kine warns of SQL that takes a second.
    private static readonly TimeSpan s_slowCommit = TimeSpan.FromSeconds(1);

    // An insert dirties a leaf of the table and of most of its indexes; the log holds a copy of each.
    private const int PagesPerRow = 6;
    private const int PageBytes = 4096;

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
    private readonly List<ExpiredKey> _expired = [];
    private readonly List<(string Key, long Revision, long Seconds)> _leaseNotes = [];
    private List<PendingAppend> _taken = [];
    private int _takenDone;
    private int _groupPages;
    private bool _isFull;

    public CommitWriter(SqliteConnection connection, SqliteDatastoreOptions options, CommitFeed feed, ILogger logger)
    {
        _connection = connection;
        _options = options;
        _feed = feed;
        _logger = logger;
        _begin = connection.Prepare("BEGIN IMMEDIATE"u8);
        _commit = connection.Prepare("COMMIT"u8);
        _rollback = connection.Prepare("ROLLBACK"u8);
        _probe = connection.Prepare(KineSchema.Probe);
        _insert = connection.Prepare(KineSchema.Insert);
        _leases = new LeaseQueue(options.TimeProvider);
        _checkpointer = new Checkpointer(connection.Path, logger);
        // The timers of a clock that tests move fire on the mover's thread: they only leave a mark and wake the writer.
        _leaseTimer = options.TimeProvider.CreateTimer(static state => ((CommitWriter)state!).MarkLeaseDue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _thread = new Thread(Run) { Name = "datastore-writer", IsBackground = true };
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
            if (_queued.Count >= MaxQueued) throw new DatastoreException($"{MaxQueued} writes are waiting for {_connection.Path}: the medium does not keep up, try again later");
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
        _checkpointer.Dispose();
        foreach (var statement in (ReadOnlySpan<SqliteConnection.Statement>)[_begin, _commit, _rollback, _probe, _insert]) statement.Dispose();
        _connection.Dispose();
    }

    private void Run()
    {
        while (WaitForWork())
        {
            var group = NextGroup();
            if (group.Length > 0 || _isExpiring) CommitGroup(group);
            _takenDone += group.Length;
            CompactOneStep();
        }
        FailCompactions();
    }

    /// <summary>Blocks until there is something to do; false = stopped and nothing is left.</summary>
    private bool WaitForWork()
    {
        if (_takenDone < _taken.Count) return true;
        _taken.Clear();
        _takenDone = 0;
        lock (_gate)
        {
            while (_queued.Count == 0 && !_isStopping && !_isLeaseDue && _newLeases is null && !HasCompactionLocked()) Monitor.Wait(_gate);
            (_queued, _taken) = (_taken, _queued);
            _isExpiring = _isLeaseDue;
            _isLeaseDue = false;
            TakeNewLeasesLocked();
            return _taken.Count > 0 || !_isStopping;
        }
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

    private void CommitGroup(ReadOnlySpan<PendingAppend> group)
    {
        long startedAt = Stopwatch.GetTimestamp();
        long before = _feed.CurrentRevision;
        long revision = before;
        _expired.Clear();
        _leaseNotes.Clear();
        _groupPages = 0;
        try
        {
            _connection.Reach(FailPointNames.CommitBeforeBegin);
            _begin.Run();
            foreach (var append in group) Decide(append, ref revision);
            if (_isExpiring) ExpireDue(ref revision);
            _connection.Reach(FailPointNames.CommitBeforeCommit);
            _commit.Run();
        }
        catch (SqliteException error)
        {
            RollBack();
            Refuse(group, error);
            return;
        }
        FailPoint.Reach(FailPointNames.CommitBeforePublish, _connection.Path);
        if (_isFull) LeaveFull();
        if (revision > before)
        {
            _feed.CurrentRevision = revision;
            _feed.Publish(group, _expired, revision);
        }
        ScheduleLeases();
        FailPoint.Reach(FailPointNames.CommitBeforeComplete, _connection.Path);
        // From here on the appends belong to their callers again.
        foreach (var append in group) append.Complete();
        var elapsed = Stopwatch.GetElapsedTime(startedAt);
        if (elapsed > s_slowCommit) Log.SlowCommit(_logger, group.Length, (long)elapsed.TotalMilliseconds);
        _checkpointer.OnCommit(_groupPages);
    }

    /// <summary>Decides one append inside the group's transaction; earlier appends of the group are already visible to it.</summary>
    private void Decide(PendingAppend append, ref long revision)
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
                AppendKind.Create => new AppendResult(AppendOutcome.Committed, ++revision),
                _ when !isLive => new AppendResult(AppendOutcome.NotFound, 0),
                _ when id != request.ExpectedRevision => new AppendResult(AppendOutcome.Conflict, id),
                _ => new AppendResult(AppendOutcome.Committed, ++revision),
            };
            if (append.Result.Outcome != AppendOutcome.Committed) return;
            append.CreateRevision = request.Kind == AppendKind.Create ? revision : createRevision;
            Insert(key, revision, request.Kind, append.CreateRevision, id, request.LeaseSeconds, request.Value.Span);
            if (request.LeaseSeconds > 0 && request.Kind != AppendKind.Delete) _leaseNotes.Add((request.Key, revision, request.LeaseSeconds));
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
            long id = _probe.Int64(0);
            return (id, _probe.Int64(1) == 0, _probe.Int64(2) is var created and not 0 ? created : id);
        }
        finally
        {
            _probe.Reset();
        }
    }

    private void Insert(ReadOnlySpan<byte> key, long revision, AppendKind kind, long createRevision, long previous, long lease, ReadOnlySpan<byte> value)
    {
        _insert.Bind(1, revision).BindText(2, key);
        _insert.Bind(3, kind == AppendKind.Create ? 1 : 0).Bind(4, kind == AppendKind.Delete ? 1 : 0);
        _insert.Bind(5, kind == AppendKind.Create ? 0 : createRevision).Bind(6, previous).Bind(7, lease);
        if (kind == AppendKind.Delete) _insert.BindNull(8);
        else _insert.BindBlob(8, value);
        _insert.Run();
        _connection.Reach(FailPointNames.CommitAfterInsert);
        _groupPages += PagesPerRow + (value.Length / PageBytes);
    }

    private void RollBack()
    {
        try
        {
            if (_connection.IsInTransaction) _rollback.Run();
        }
        catch (SqliteException error)
        {
            Log.CommitFailed(_logger, _connection.Path, 0, error);
        }
    }

    private void Refuse(ReadOnlySpan<PendingAppend> group, SqliteException error)
    {
        if (error.IsFull)
        {
            if (!_isFull) Log.Full(_logger, _connection.Path);
            _isFull = true;
        }
        else
        {
            Log.CommitFailed(_logger, _connection.Path, group.Length, error);
        }
        foreach (var append in group)
        {
            append.Result = new AppendResult(AppendOutcome.Full, 0);
            if (!error.IsFull) append.Error = new DatastoreException($"writing {_connection.Path} failed, it is not known whether the change will be there after a restart: {error.Message}", error);
            append.Complete();
        }
        // What was due stays due.
        if (_isExpiring) RetryExpiry();
    }

    private void LeaveFull()
    {
        _isFull = false;
        Log.FullNoMore(_logger, _connection.Path);
    }

    /// <summary>Throws for keys that no engine can hold.</summary>
    internal static void CheckKey(string key)
    {
        ArgumentException.ThrowIfNullOrEmpty(key);
        if (KineSchema.IsInternal(key)) throw new ArgumentException($"key {key} is the datastore's own", nameof(key));
        if (Encoding.UTF8.GetByteCount(key) > MaxKeyBytes) throw new ArgumentException($"key is longer than {MaxKeyBytes} bytes", nameof(key));
    }
}
