using System.Diagnostics;
using System.Text;

namespace K3sFast.Datastore.Sqlite;

/// <summary>The writer's own work: leases that end, and maintenance in steps.</summary>
internal sealed partial class CommitWriter
{
    // Expired keys per transaction.
    private const int MaxExpiredPerGroup = 256;

    // While there is no space the log is emptied this often: it takes space that what makes room needs.
    private const int ReliefPages = 64;

    private readonly Checkpointer _checkpointer;
    private readonly Maintenance _maintenance;
    private readonly ITimer _leaseTimer;

    // Guarded by _gate
    private readonly Queue<Compaction> _compactions = new();
    private List<(string Key, long Revision, long Seconds)>? _newLeases;
    private bool _isLeaseDue;

    // Owned by the writer thread
    private readonly LeaseQueue _leases;
    private readonly List<LeaseQueue.Lease> _dueLeases = [];
    private bool _isExpiring;
    private bool _isLeaseTimerSet;
    private long _leaseTimerDue;
    private bool _isReliefDue;

    /// <summary>The revision that the compaction under way wants to reach; 0 = none.</summary>
    public long CompactionTarget
    {
        get
        {
            lock (_gate) return _compactions.TryPeek(out var compaction) ? compaction.Revision : 0;
        }
    }

    /// <summary>Queues a compaction; the task completes when its last step is done.</summary>
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
    private void ExpireDue(GroupInFlight group, ref long revision)
    {
        _dueLeases.Clear();
        while (_dueLeases.Count < MaxExpiredPerGroup && _leases.TryTakeDue(out var lease)) _dueLeases.Add(lease);
        foreach (var lease in _dueLeases)
        {
            byte[] key = Encoding.UTF8.GetBytes(lease.Key);
            try
            {
                var (id, isLive, createRevision) = Probe(key);
                if (!isLive || id != lease.Revision) continue;
                Insert(key, ++revision, AppendKind.Delete, createRevision, id, lease: 0, default);
                group.Expired.Add(new ExpiredKey(lease.Key, revision, createRevision));
            }
            catch (DatastoreCorruptException error)
            {
                // Whoever reads the key is told the same.
                Statistics.DamagedReads++;
                Log.DamagedLease(_logger, lease.Key, error);
            }
        }
    }

    /// <summary>Notes the leases that a group brought, and when to look again.</summary>
    private void ScheduleLeases(List<(string Key, long Revision, long Seconds)> leases)
    {
        foreach (var (key, revision, seconds) in leases) _leases.Add(key, revision, seconds);
        if (!_isLeaseTimerSet || leases.Count > 0) ArmLeaseTimer();
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
        if (_leases.NextDelay() is not { } delay) return;
        // A timer that is set earlier stays: a stream of leased writes would else put it off for ever.
        long due = _options.TimeProvider.GetTimestamp() + (long)(delay.TotalSeconds * _options.TimeProvider.TimestampFrequency);
        if (_isLeaseTimerSet && _leaseTimerDue <= due) return;
        (_isLeaseTimerSet, _leaseTimerDue) = (true, due);
        _leaseTimer.Change(delay, Timeout.InfiniteTimeSpan);
    }

    // While the log is long, maintenance would only make it longer: it waits for the copying, whose end wakes the writer. A log that a
    // failed flush has made doubtful is made sure by the next group first.
    private bool HasMaintenanceLocked() =>
        !_isLogDoubtful && !_isHeld && !(_flushers is not null && _maintenance.IsFlushDue)
        && (_isReliefDue || ((_compactions.Count > 0 || _maintenance.IsVacuuming) && !_checkpointer.IsBehind && !IsLogAboutToBeWhole));

    /// <summary>
    /// There is no space: the log's is given back, then all history's, then every free page's. It is done anew after each group of deletions, until creates and
    /// updates have room again.
    /// </summary>
    private void BeginRelief()
    {
        _maintenance.IsThorough = true;
        _isReliefDue = true;
        lock (_gate)
        {
            if (_compactions.Count > 0 || _isStopping) return;
            var compaction = new Compaction(_feed.CurrentRevision, new TaskCompletionSource(), Stopwatch.GetTimestamp());
            // Nobody waits for it; its failure is logged.
            _ = compaction.Done.Task.ContinueWith(static done => done.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            _compactions.Enqueue(compaction);
        }
    }

    private void EndRelief()
    {
        _isReliefDue = false;
        EmptyLog();
        Space.HasRoom(pendingBytes: 0);
        _maintenance.IsThorough = Space.IsFull;
    }

    private void MaintainOneStep()
    {
        Compaction? compaction;
        lock (_gate)
        {
            if (!HasMaintenanceLocked()) return;
            _compactions.TryPeek(out compaction);
        }
        // Relief empties the log, and must not take it from under those who are to be told of it.
        if (_isReliefDue) WaitForGroups();
        if (_isLogDoubtful) return;
        try
        {
            if (_isReliefDue && _checkpointer.PendingPages >= ReliefPages) EmptyLog();
            OpenLog();
            _checkpointer.OnBegin();
            bool isCompacted = false;
            if (compaction is not null) isCompacted = _maintenance.CompactStep(compaction.Revision);
            else if (_maintenance.IsVacuuming) _maintenance.VacuumStep();
            else EndRelief();
            if (!TryCloseAnew()) _isLogDoubtful = true;
            NoteEnd();
            NoteWritten();
            if (!isCompacted) return;
            Log.Compacted(_logger, compaction!.Revision, (long)Stopwatch.GetElapsedTime(compaction.StartedAt).TotalMilliseconds);
            EndCompaction(null);
        }
        catch (SqliteException error)
        {
            RollBack();
            TryCloseAnew();
            NoteFailedWrite(error);
            if (_isLogDoubtful && _inFlight.Count > 0) TryMakeLogSure();
            if (compaction is null)
            {
                _maintenance.StopVacuuming();
                Log.VacuumFailed(_logger, _connection.Path, error);
                return;
            }
            Log.CompactionFailed(_logger, compaction.Revision, error);
            EndCompaction(new DatastoreException($"compacting {_connection.Path} failed: {error.Message}", error));
        }
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
