using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// One watch: reads from the file what was there when it began, then joins the feed. Its observer is called by one thread at a time:
/// first the catching-up task, later the writer, and joining (under the feed's lock) is the hand-over.
/// </summary>
internal sealed class SqliteWatch : IDatastoreWatch
{
    // Changes read from the file per step; kine's poll batch.
    private const int HistoryBatch = 500;

    private readonly CommitFeed _feed;
    private readonly SqliteReaders _readers;
    private readonly IDatastoreObserver _observer;
    private readonly ILogger _logger;
    private readonly Lock _callGate = new();
    private volatile bool _isEnded;

    public SqliteWatch(CommitFeed feed, SqliteReaders readers, IDatastoreObserver observer, long afterRevision, ILogger logger)
    {
        _feed = feed;
        _readers = readers;
        _observer = observer;
        _logger = logger;
        Position = afterRevision;
        CaughtUp = Task.CompletedTask;
    }

    /// <summary>The newest revision shown.</summary>
    public long Position { get; private set; }

    /// <inheritdoc/>
    public Task CaughtUp { get; private set; }

    /// <summary>Goes live at once, or after reading the history on a pool thread.</summary>
    public void Start()
    {
        if (!_feed.TryJoin(this)) CaughtUp = Task.Run(CatchUp);
    }

    /// <summary>Shows one change, unless it was shown before.</summary>
    public void Show(in DatastoreEntry entry)
    {
        lock (_callGate)
        {
            if (_isEnded || entry.Revision <= Position) return;
            _observer.OnEntry(entry);
            Position = entry.Revision;
        }
    }

    /// <summary>Shows the end of a batch.</summary>
    public void ShowRevision(long revision)
    {
        lock (_callGate)
        {
            if (_isEnded || revision < Position) return;
            Position = revision;
            _observer.OnRevision(revision);
        }
    }

    /// <summary>Shows what the file has up to a revision.</summary>
    public void ShowFromFile(SqliteReaders readers, long revision)
    {
        using var lent = readers.Rent();
        long before;
        do
        {
            before = Position;
            ShowRevision(lent.Reader.ReadHistory(before, revision, HistoryBatch, this));
        }
        while (Position > before && Position < revision);
        ShowRevision(revision);
    }

    /// <summary>Ends the watch and tells the observer why.</summary>
    public void Fail(Exception error)
    {
        lock (_callGate)
        {
            if (_isEnded) return;
            _isEnded = true;
        }
        if (error is not ObjectDisposedException) Log.WatchFailed(_logger, Position, error);
        _observer.OnFailed(error);
    }

    public void Dispose()
    {
        _feed.Leave(this);
        // The lock waits for a call that is under way.
        lock (_callGate) _isEnded = true;
    }

    private void CatchUp()
    {
        try
        {
            while (!_isEnded && !_feed.TryJoin(this))
            {
                long before = Position;
                long last;
                // The file may show a group before it is the present: who was shown it here and lists then would see less.
                long upTo = _feed.CurrentRevision;
                using (var lent = _readers.Rent()) last = lent.Reader.ReadHistory(before, upTo, HistoryBatch, this);
                if (_feed.CompactRevision > before) throw new DatastoreCompactedException(before, _feed.CompactRevision);
                ShowRevision(last);
            }
            if (_isEnded) _feed.Leave(this);
        }
        catch (Exception error)
        {
            Fail(error);
        }
    }
}
