using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Shared;

/// <summary>Reads for a watch what happened before it began, and joins it to the feed.</summary>
internal interface IHistorySource
{
    /// <summary>Shows history until the watch has joined, has ended, or cannot go on (then it throws).</summary>
    Task CatchUpAsync(FeedWatch watch, CancellationToken cancellationToken);
}

/// <summary>One watch on a shared store. Its observer is called by one thread at a time: first by the reader of history, later by the feed.</summary>
internal sealed class FeedWatch(ChangeFeed feed, IHistorySource history, IDatastoreObserver observer, long afterRevision, ILogger logger) : IDatastoreWatch
{
    private readonly Lock _callGate = new();
    private readonly CancellationTokenSource _ended = new();
    private long _position = afterRevision;
    private volatile bool _isEnded;

    /// <summary>Every change up to here was shown.</summary>
    public long Position => Volatile.Read(ref _position);

    public bool IsEnded => _isEnded;

    /// <inheritdoc/>
    public Task CaughtUp { get; private set; } = Task.CompletedTask;

    /// <summary>Goes live at once, or after reading history.</summary>
    public void Start()
    {
        if (!feed.TryJoin(this)) CaughtUp = Task.Run(CatchUpAsync);
    }

    /// <summary>Shows the changes up to a revision that were not shown before; false = the watch has ended.</summary>
    public bool TryShow(ReadOnlySpan<Change> changes, long revision)
    {
        try
        {
            lock (_callGate)
            {
                if (_isEnded) return false;
                if (revision <= _position) return true;
                foreach (ref readonly var change in changes)
                {
                    if (change.Revision > _position && change.Revision <= revision) observer.OnEntry(change.AsEntry());
                }
                Volatile.Write(ref _position, revision);
                observer.OnRevision(revision);
            }
            return true;
        }
        catch (Exception error)
        {
            // A watcher's fault must not hold up the others: it is told and dropped.
            Fail(error);
            return false;
        }
    }

    /// <summary>Ends the watch and tells the observer why.</summary>
    public void Fail(Exception error)
    {
        lock (_callGate)
        {
            if (_isEnded) return;
            _isEnded = true;
        }
        if (error is not ObjectDisposedException) Log.WatchFailed(logger, Position, error);
        observer.OnFailed(error);
    }

    public void Dispose()
    {
        feed.Leave(this);
        // The lock waits for a call that is under way.
        lock (_callGate) _isEnded = true;
        _ended.Cancel();
    }

    private async Task CatchUpAsync()
    {
        try
        {
            await history.CatchUpAsync(this, _ended.Token).ConfigureAwait(false);
            if (_isEnded) feed.Leave(this);
        }
        catch (OperationCanceledException) when (_isEnded)
        {
        }
        catch (Exception error)
        {
            Fail(error);
        }
    }
}
