using System.Diagnostics;
using System.Runtime.InteropServices;
using K3sFast.Datastore.FailPoints;

namespace K3sFast.Datastore.Sqlite;

/// <summary>From the log to the clients: flushes beside the writer, and what follows when one fails.</summary>
/// <remarks>
/// On a quick medium COMMIT flushes by itself (synchronous = FULL) and a group that fails is rolled back. On a slow one (<see cref="FlushPace"/>) it only writes
/// (NORMAL): SQLite then still flushes the log's head when the log begins anew, the log before a checkpoint copies it, and the database before the log
/// may begin anew, which is what keeps a file whole. That a group is durable is then up to us: <see cref="LogFlushers"/> flush the log, and a
/// group is shown and answered when a flush has ended well that began after its frames were written. The flush of a later group covers an earlier one;
/// groups land in the order of their revisions, each whole. What was decided on a group that has not landed, be it a conflict, waits in the same
/// order. Readers, watches, compaction and leases know the present only, which is what has landed.
///
/// A group in the log cannot be rolled back: later ones may be built on it, and its frames are part of the log that the next start reads. So when a flush
/// fails, nothing is undone. All flushes that run are waited for and none of them counts any more, since after an error a flush may end well without what the
/// kernel dropped. Then the log is read through, its unflushed part written again and flushed (<see cref="LogRewriter"/>). Mostly that
/// succeeds, and the groups land as if nothing had happened. If not, their clients are told that it is not known whether the change will be there, and no further
/// group is written until it has succeeded; then the groups, which are whole in the file, become the present, and watches read them
/// from there. Hence:
/// - What was acknowledged was flushed before: frames in front of a doubtful one are not touched, and nothing was acknowledged behind it.
/// - No revision is given twice: the next group's are counted on from the newest in the log, landed or not.
/// - Nothing is shown that is not there: before it has landed, a group that a power cut takes was seen by nobody; after a kill, it is there and its clients know that
///   it may be.
/// A checkpoint may take unflushed frames into the database: it flushes them first, through a descriptor that is told of errors by itself, and when the log then begins anew
/// they need no flush of the log any more.
/// </remarks>
internal sealed partial class CommitWriter
{
    // COMMIT writes before it flushes; about so long.
    private static readonly TimeSpan s_writingAFrame = TimeSpan.FromMicroseconds(5);

    // A client that writes one after the other, alone: after so many the writer flushes by itself, until somebody else is found waiting.
    private const int LonelyGroups = 8;

    private readonly SqliteReaders _readers;
    private readonly FlushPace _pace;
    private readonly LogFlushers? _flushers;

    // Owned by the writer thread
    private readonly Queue<GroupInFlight> _inFlight = new();
    private readonly List<(string Key, long Revision, long Seconds)> _doubtfulLeases = [];
    private bool _isFlushedBeside;
    private bool _isLogDoubtful;
    private int _lonely;
    private long _flush;
    private Flushed _end;
    private Flushed _flushed;
    private MaintenanceMark _maintenanceBegun;

    /// <summary>True = steps of maintenance wait for a flush and no group has begun one.</summary>
    private bool IsMaintenanceFlushWanted => _flushers is not null && !_isLogDoubtful && _maintenance.IsFlushDue && _maintenanceBegun.Steps < _maintenance.Done.Steps;

    private int MillisecondsToNextGroup()
    {
        if (!_isFlushedBeside) return 0;
        long ticks = _pace.TicksBeforeNext(Stopwatch.GetTimestamp());
        return ticks == long.MaxValue ? Timeout.Infinite : (int)Math.Ceiling(ticks * 1000.0 / Stopwatch.Frequency);
    }

    /// <summary>Who flushes the next group; between two flushes only.</summary>
    private void ChooseFlush()
    {
        bool isBeside = _pace.IsSlow && _flushers is not null;
        if (isBeside == _isFlushedBeside || _inFlight.Count > 0 || _flushers is { IsIdle: false }) return;
        _isFlushedBeside = isBeside;
        _connection.CommitFlush = UsualFlush;
    }

    /// <summary>Where the log ends after a transaction.</summary>
    private void NoteEnd()
    {
        if (_mark is not null) _end = _mark.EndOf(_connection.LogFrames);
    }

    /// <summary>COMMIT has flushed the group.</summary>
    private void LandFlushed(GroupInFlight group)
    {
        if (group.Changes > 0)
        {
            var elapsed = Stopwatch.GetElapsedTime(group.CommitAt);
            long frames = _end.Frames - _flushed.Frames;
            _pace.OnOwnFlush(elapsed - (s_writingAFrame * (frames >= 0 ? frames : _end.Frames)));
            NoteFlushed(_end, _maintenance.Done);
            // The flushes that run for steps of maintenance say no more than this one.
            foreach (var other in _inFlight) (other.End, other.Maintenance) = (_end, _maintenance.Done);
            NoteCommit(group, elapsed);
        }
        Land(group);
    }

    /// <summary>The group is in the log. It waits for a flush of its own, or for those of the groups before it when it has changed nothing.</summary>
    private void Launch(GroupInFlight group)
    {
        if (group.Changes == 0 && _inFlight.Count == 0)
        {
            Land(group);
            return;
        }
        _lonely = group.Appends.Count == 1 && _inFlight.Count == 0 && _pace.Running == 0 ? _lonely + 1 : 0;
        if (_lonely > LonelyGroups)
        {
            FlushHere(group);
            return;
        }
        if (group.Changes > 0) BeginFlush(group);
        else group.Flush = _flush;
        _inFlight.Enqueue(group);
    }

    /// <summary>Flushes a group whose client is alone: no other is kept waiting, and no hand-over is waited for.</summary>
    private void FlushHere(GroupInFlight group)
    {
        long began = Stopwatch.GetTimestamp();
        if (_flushers!.FlushHere() is { } error)
        {
            _inFlight.Enqueue(group);
            OnFlushFailed(error);
            return;
        }
        _pace.OnOwnFlush(Stopwatch.GetElapsedTime(began));
        if (QueuedAppends > 0) _lonely = 0;
        NoteFlushed(_end, _maintenance.Done);
        NoteCommit(group, Stopwatch.GetElapsedTime(group.CommitAt));
        Land(group);
    }

    /// <summary>Begins a flush for steps of maintenance alone.</summary>
    private void FlushMaintenance()
    {
        var group = _groups.Rent([], Stopwatch.GetTimestamp(), _revision, hasRoom: true);
        group.CommitAt = group.StartedAt;
        BeginFlush(group);
        _inFlight.Enqueue(group);
    }

    private void BeginFlush(GroupInFlight group)
    {
        group.Flush = ++_flush;
        group.HasOwnFlush = true;
        group.End = _end;
        group.Maintenance = _maintenanceBegun = _maintenance.Done;
        // Beside a writer that flushes by itself it is one for maintenance, and says nothing of how long a write's takes.
        if (_isFlushedBeside) _pace.OnBegin(_flush, Stopwatch.GetTimestamp());
        _flushers!.Begin(_flush);
    }

    /// <summary>Takes the flushes that have ended.</summary>
    private void TakeEnds()
    {
        while (_flushers!.TryTakeEnd(out var end))
        {
            if (end.Error is { } error)
            {
                _pace.OnFailed(end.Number);
                OnFlushFailed(error);
                return;
            }
            _pace.OnEnd(end.Number, end.Ended);
            LandUpTo(end);
        }
    }

    /// <summary>A flush has ended well: it covers its group and those before it.</summary>
    private void LandUpTo(in FlushEnd end)
    {
        GroupInFlight? newest = null;
        foreach (var group in _inFlight)
        {
            if (group.Flush > end.Number) break;
            if (group.HasOwnFlush) newest = group;
        }
        // A later one came first.
        if (newest is null) return;
        NoteFlushed(newest.End, newest.Maintenance);
        while (_inFlight.TryPeek(out var group) && group.Flush <= end.Number)
        {
            var elapsed = Stopwatch.GetElapsedTime(group.CommitAt, end.Ended);
            if (group.Changes > 0) NoteCommit(group, elapsed);
            else if (group.HasOwnFlush) _maintenance.OnFlushedBeside(elapsed);
            Land(_inFlight.Dequeue());
        }
    }

    private void NoteFlushed(in Flushed end, MaintenanceMark maintenance)
    {
        _mark?.Note(end);
        _flushed = end;
        _maintenance.OnFlushed(maintenance);
        Volatile.Write(ref _failure, null);
    }

    private void NoteCommit(GroupInFlight group, TimeSpan elapsed)
    {
        Statistics.CommitSeconds.Add(elapsed.TotalSeconds);
        Statistics.GroupSizes.Add(group.Changes);
    }

    /// <summary>Shows a group that is durable, and answers it.</summary>
    private void Land(GroupInFlight group)
    {
        var appends = CollectionsMarshal.AsSpan(group.Appends);
        FailPoint.Reach(FailPointNames.CommitBeforePublish, _connection.Path);
        if (group.Changes > 0)
        {
            _feed.CurrentRevision = group.Revision;
            _feed.Publish(appends, group.Expired, group.Revision);
        }
        ScheduleLeases(group.Leases);
        FailPoint.Reach(FailPointNames.CommitBeforeComplete, _connection.Path);
        // From here on the appends belong to their callers again.
        foreach (var append in appends) append.Complete();
        var elapsed = Stopwatch.GetElapsedTime(group.StartedAt);
        if (elapsed > s_slowCommit) Log.SlowCommit(_logger, group.Appends.Count, (long)elapsed.TotalMilliseconds);
        // At the turn, and whenever deletions were let through since.
        if (group.HasRoom && _maintenance.IsThorough && !_isReliefDue) _maintenance.IsThorough = false;
        if (!group.HasRoom && (group.Changes > 0 || !_maintenance.IsThorough)) BeginRelief();
        _groups.Return(group);
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

    /// <summary>The group was rolled back: nothing of it is in the log, unless the process ends before the next one is written over it.</summary>
    private void Refuse(GroupInFlight group, SqliteException error)
    {
        NoteFailedWrite(error);
        if (error.IsFull) Statistics.RefusedFull += group.Appends.Count;
        else Log.CommitFailed(_logger, _connection.Path, group.Appends.Count, error);
        foreach (var append in group.Appends)
        {
            append.Result = new AppendResult(AppendOutcome.Full, 0);
            append.Error = error.IsFull ? null : FailureOf(error);
            append.Complete();
        }
        _groups.Return(group);
        // What was due stays due.
        if (_isExpiring) RetryExpiry();
        if (_isLogDoubtful && _inFlight.Count > 0) TryMakeLogSure();
    }

    private DatastoreException FailureOf(SqliteException error) => error.IsCorrupt
        ? new DatastoreCorruptException($"datastore {_connection.Path} is damaged: {error.Message}; stop the server and restore it from a backup", error)
        : new DatastoreException($"writing {_connection.Path} failed, it is not known whether the change will be there after a restart: {error.Message}", error);

    /// <summary>
    /// A flush that failed may have dropped what it was to flush, and the next one would say nothing of that. A group that was rolled back is written
    /// anew in its place, but what was committed before it and not flushed is not: those bytes of the log are written again.
    /// </summary>
    private void NoteFailedWrite(SqliteException error)
    {
        if (error.IsFull)
        {
            Space.MarkFull();
            if (!_maintenance.IsThorough) BeginRelief();
        }
        else
        {
            Volatile.Write(ref _failure, error.Message);
        }
        if (_maintenance.HasUnflushed || _inFlight.Count > 0) _isLogDoubtful = true;
        _connection.TakeWrittenPages();
    }

    /// <summary>Waits until all groups have landed, or are answered with a failure.</summary>
    private void WaitForGroups()
    {
        if (_inFlight.Count == 0) return;
        // All at once: no other thread begins one.
        _flushers!.WaitForAll();
        TakeEnds();
    }

    private void OnFlushFailed(SqliteException error)
    {
        Log.FlushFailed(_logger, _connection.Path, error);
        _isLogDoubtful = true;
        Volatile.Write(ref _failure, error.Message);
        TryMakeLogSure();
    }

    private void TryMakeLogSure()
    {
        try
        {
            MakeLogSure();
        }
        catch (SqliteException error)
        {
            Log.CommitFailed(_logger, _connection.Path, 0, error);
            NoteFailedWrite(error);
        }
    }

    /// <summary>Writes what a failed flush may have dropped again. Throws when that fails too: then the groups in flight are answered, and not shown.</summary>
    private void MakeLogSure()
    {
        AbandonFlushes();
        try
        {
            _seal?.Lift();
            LogRewriter.Rewrite(_connection.Path, _end, _flushed);
        }
        catch (SqliteException error)
        {
            FailGroups(error);
            throw;
        }
        _isLogDoubtful = false;
        _flushers?.ForgetErrors();
        NoteFlushed(_end, _maintenance.Done);
        long first = _inFlight.TryPeek(out var group) ? group.Before : _revision;
        if (_feed.CurrentRevision < first) _feed.PublishFromFile(_readers, first);
        ScheduleLeases(_doubtfulLeases);
        _doubtfulLeases.Clear();
        while (_inFlight.TryDequeue(out group)) Land(group);
    }

    /// <summary>Waits for the flushes that run. How they end says nothing any more.</summary>
    private void AbandonFlushes()
    {
        if (_flushers is null) return;
        _flushers.WaitForAll();
        while (_flushers.TryTakeEnd(out var end)) _pace.OnFailed(end.Number);
    }

    private void FailGroups(SqliteException error)
    {
        while (_inFlight.TryDequeue(out var group))
        {
            foreach (var append in group.Appends)
            {
                append.Error = FailureOf(error);
                append.Complete();
            }
            _doubtfulLeases.AddRange(group.Leases);
            _groups.Return(group);
        }
    }
}
