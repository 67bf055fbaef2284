using System.Diagnostics;
using System.Text;
using K3sFast.Datastore.FailPoints;

namespace K3sFast.Datastore.Sqlite;

/// <summary>The writer's own work: leases that end, and compaction in steps.</summary>
internal sealed partial class CommitWriter
{
    // Revisions per compaction transaction: each deletes at most two rows with six index entries, which keeps a write that
    // arrives meanwhile waiting for some milliseconds at most.
    private const int CompactStepRevisions = 250;

    // Expired keys per transaction.
    private const int MaxExpiredPerGroup = 256;

    // Pages given back to the file system per step, and how much of the file must be free before that is worth a write.
    private const long VacuumMinFreePages = 1024;
    private const int VacuumMinFreePercent = 25;

    private readonly Checkpointer _checkpointer;
    private readonly ITimer _leaseTimer;

    // Guarded by _gate
    private readonly Queue<Compaction> _compactions = new();
    private List<(string Key, long Revision, long Seconds)>? _newLeases;
    private bool _isLeaseDue;

    // Owned by the writer thread
    private readonly LeaseQueue _leases;
    private readonly List<LeaseQueue.Lease> _dueLeases = [];
    private bool _isExpiring;

    /// <summary>Queues a compaction; the task completes when its last step is on disk.</summary>
    public Task Compact(long revision)
    {
        var compaction = new Compaction(revision, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), Stopwatch.GetTimestamp());
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isStopping, typeof(SqliteDatastore));
            _compactions.Enqueue(compaction);
            Monitor.Pulse(_gate);
        }
        return compaction.Done.Task;
    }

    /// <summary>Hands over the leases found in the file.</summary>
    public void AddLeases(List<(string Key, long Revision, long Seconds)> leases)
    {
        if (leases.Count == 0) return;
        lock (_gate)
        {
            _newLeases = leases;
            Monitor.Pulse(_gate);
        }
    }

    private void MarkLeaseDue()
    {
        lock (_gate)
        {
            _isLeaseDue = true;
            Monitor.Pulse(_gate);
        }
    }

    private void TakeNewLeasesLocked()
    {
        if (_newLeases is null) return;
        foreach (var (key, revision, seconds) in _newLeases) _leases.Add(key, revision, seconds);
        _newLeases = null;
        ArmLeaseTimer();
    }

    /// <summary>Deletes the keys whose lease has ended and that did not change since; inside the group's transaction.</summary>
    private void ExpireDue(ref long revision)
    {
        _dueLeases.Clear();
        while (_dueLeases.Count < MaxExpiredPerGroup && _leases.TryTakeDue(out var lease)) _dueLeases.Add(lease);
        foreach (var lease in _dueLeases)
        {
            byte[] key = Encoding.UTF8.GetBytes(lease.Key);
            var (id, isLive, createRevision) = Probe(key);
            if (!isLive || id != lease.Revision) continue;
            Insert(key, ++revision, AppendKind.Delete, createRevision, id, lease: 0, default);
            _expired.Add(new ExpiredKey(lease.Key, revision, createRevision));
        }
    }

    /// <summary>Notes the leases that the committed group brought, and when to look again.</summary>
    private void ScheduleLeases()
    {
        foreach (var (key, revision, seconds) in _leaseNotes) _leases.Add(key, revision, seconds);
        if (_isExpiring || _leaseNotes.Count > 0) ArmLeaseTimer();
        _isExpiring = false;
    }

    /// <summary>The group failed: what was due is due again.</summary>
    private void RetryExpiry()
    {
        foreach (var lease in _dueLeases) _leases.Add(lease.Key, lease.Revision, seconds: 0);
        _dueLeases.Clear();
        _isExpiring = false;
        ArmLeaseTimer();
    }

    private void ArmLeaseTimer()
    {
        if (_leases.NextDelay() is { } delay) _leaseTimer.Change(delay, Timeout.InfiniteTimeSpan);
    }

    private bool HasCompactionLocked() => _compactions.Count > 0;

    private void CompactOneStep()
    {
        Compaction? compaction;
        lock (_gate)
        {
            if (!_compactions.TryPeek(out compaction)) return;
        }
        try
        {
            long from = _feed.CompactRevision;
            long target = Math.Min(compaction.Revision, _feed.CurrentRevision);
            if (from < target)
            {
                CompactRows(from, Math.Min(target, from + CompactStepRevisions));
                if (_feed.CompactRevision < target) return;
                Log.Compacted(_logger, target, (long)Stopwatch.GetElapsedTime(compaction.StartedAt).TotalMilliseconds);
                GiveBackFreePages();
            }
            EndCompaction(null);
        }
        catch (SqliteException error)
        {
            RollBack();
            Log.CompactionFailed(_logger, compaction.Revision, error);
            EndCompaction(new DatastoreException($"compacting {_connection.Path} failed: {error.Message}", error));
        }
    }

    private void CompactRows(long from, long to)
    {
        // Raised first: a reader that finds it unchanged after reading has missed nothing.
        _feed.CompactRevision = to;
        using var compactRows = _connection.Prepare(KineSchema.CompactRows);
        using var setCompactRevision = _connection.Prepare(KineSchema.SetCompactRevision);
        _connection.Reach(FailPointNames.CompactBeforeBegin);
        _begin.Run();
        compactRows.Bind(1, from).Bind(2, to).Run();
        setCompactRevision.Bind(1, to).Run();
        _connection.Reach(FailPointNames.CompactBeforeCommit);
        _commit.Run();
        _connection.Reach(FailPointNames.CompactAfterCommit);
        _checkpointer.OnCommit(CompactStepRevisions);
    }

    private void GiveBackFreePages()
    {
        long free = _connection.QueryInt64("PRAGMA freelist_count"u8);
        if (free < VacuumMinFreePages || free * 100 < _connection.QueryInt64("PRAGMA page_count"u8) * VacuumMinFreePercent) return;
        _connection.Reach(FailPointNames.VacuumBeforeStep);
        _connection.Execute("PRAGMA incremental_vacuum(1024)"u8);
        _connection.Reach(FailPointNames.VacuumAfterStep);
    }

    private void EndCompaction(Exception? error)
    {
        Compaction compaction;
        lock (_gate) compaction = _compactions.Dequeue();
        if (error is null) compaction.Done.SetResult();
        else compaction.Done.SetException(error);
    }

    private void FailCompactions()
    {
        while (true)
        {
            lock (_gate)
            {
                if (_compactions.Count == 0) return;
            }
            EndCompaction(new ObjectDisposedException(nameof(SqliteDatastore)));
        }
    }

    private sealed record Compaction(long Revision, TaskCompletionSource Done, long StartedAt);
}
