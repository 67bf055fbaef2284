using System.Diagnostics;

namespace K3sFast.Datastore.Sqlite;

/// <summary>The log's end and its new beginning: sealed while nobody writes, begun anew by whoever comes next, and writes held back once where nobody ever pauses.</summary>
/// <remarks>
/// What costs a flush here runs beside the writer. A write that comes while the log is copied, or is being sealed (<see cref="LogSeal"/>), does not wait for that: it is added
/// behind all others, and the log is sealed another time. Maintenance does wait, as it would only make the log longer and nobody waits for it.
/// Under writes that never pause there is no other time. From the longest log on (<see cref="Checkpointer.IsLogTooLong"/>) writes are held back until what is left is copied
/// and the log is sealed; those that are on their way meanwhile land. There is one log, and what was acknowledged is in it until the database is flushed; so
/// who comes then waits for the flush of the database and that of the seal before its own.
/// </remarks>
internal sealed partial class CommitWriter
{
    private readonly LogSeal? _seal;

    // Owned by the writer thread
    private bool _isHeld;
    private long _heldAt;
    private bool _isAnew;
    private bool _isPassDisturbed;

    private CommitFlush UsualFlush => _isFlushedBeside ? CommitFlush.Head : CommitFlush.All;

    private bool CanSeal =>
        _seal is { IsSet: false, IsFlushing: false } && !_isLogDoubtful && _inFlight.Count == 0 && _checkpointer.IsWholeAt(_connection.LogFrames) && _flushers!.IsIdle;

    /// <summary>True = the log is being copied with no write coming between, or sealed: a step of maintenance would only be in the way of it.</summary>
    private bool IsLogAboutToBeWhole => _seal is not null && (CanSeal || _seal.IsFlushing || (_checkpointer.IsRunning && !_isPassDisturbed));

    private bool HasTurnLocked() => _isHeld
        ? _inFlight.Count == 0 && !_checkpointer.IsRunning && _seal is not { IsFlushing: true }
        : _checkpointer.IsLogTooLong || (_queued.Count == 0 && _takenDone == _taken.Count && CanSeal);

    /// <summary>Does what is next, if anything is.</summary>
    private void TurnLog()
    {
        lock (_gate)
        {
            if (!HasTurnLocked()) return;
        }
        if (CanSeal)
        {
            if (!_isHeld && _checkpointer.IsLogTooLong) BeginHold();
            _checkpointer.TakeWhole();
            // In the flushed database are these too.
            _maintenance.OnFlushed(_maintenance.Done);
            _seal!.Begin();
        }
        else if (_isHeld)
        {
            // Sealed; or a reader or a failure was in the way, and the log goes on for now.
            _isHeld = false;
            _checkpointer.OnHeld(Stopwatch.GetElapsedTime(_heldAt));
        }
        else
        {
            BeginHold();
            _checkpointer.Begin();
        }
    }

    private void BeginHold()
    {
        _isHeld = true;
        _heldAt = Stopwatch.GetTimestamp();
        _mayCommit = false;
    }

    /// <summary>Before each transaction: where the log is sealed it begins anew with this one, without a flush; else it goes on.</summary>
    private void OpenLog()
    {
        _connection.CommitFlush = UsualFlush;
        if (_seal is not { IsSet: true }) return;
        if (!_seal.IsSafe)
        {
            _seal.Lift();
            return;
        }
        _checkpointer.Unpin();
        _connection.CommitFlush = CommitFlush.Nothing;
        _isAnew = true;
    }

    /// <summary>After each transaction, also one that failed, and before anything is flushed. False = the log may have no head, and nothing in it counts until it has.</summary>
    private bool TryCloseAnew(bool hasWritten = true)
    {
        if (!_isAnew) return true;
        _isAnew = false;
        try
        {
            _connection.CommitFlush = UsualFlush;
            if (hasWritten) _seal!.Lift();
            return true;
        }
        catch (SqliteException error)
        {
            Log.CommitFailed(_logger, _connection.Path, 0, error);
            return false;
        }
    }

    /// <summary>A group that is in a log without a head: as if its flush had failed.</summary>
    private void HoldDoubtful(GroupInFlight group)
    {
        _inFlight.Enqueue(group);
        _isLogDoubtful = true;
        TryMakeLogSure();
    }

    private void TryLiftSeal()
    {
        try
        {
            _seal?.Lift();
        }
        catch (SqliteException error)
        {
            // The database has all of it.
            Log.CommitFailed(_logger, _connection.Path, 0, error);
        }
    }

    private void EmptyLog()
    {
        _seal?.Lift();
        _checkpointer.Truncate();
    }
}
