using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Children;

/// <summary>A watch that writes down what it is shown and, when the store ends it, goes on from where it was.</summary>
internal sealed class Watcher : IDatastoreObserver, IDisposable
{
    private readonly IDatastore _store;
    private readonly HistoryWriter _history;
    private readonly string _prefix;
    private readonly Lock _gate = new();
    private IDatastoreWatch? _watch;
    private int _id;
    private long _position;
    private long _shownTo;
    private bool _isDisposed;

    public Watcher(IDatastore store, HistoryWriter history, string prefix, long afterRevision)
    {
        _store = store;
        _history = history;
        _prefix = prefix;
        Begin(afterRevision);
    }

    /// <summary>Everything up to here was shown.</summary>
    public long Position => Interlocked.Read(ref _shownTo);

    /// <summary>The store said that what comes next is damaged: there is nothing to wait for.</summary>
    public bool IsToldOfDamage { get; private set; }

    public void OnEntry(in DatastoreEntry entry)
    {
        _position = entry.Revision;
        if (!entry.Key.StartsWith(_prefix, StringComparison.Ordinal)) return;
        string? value = entry.Kind == AppendKind.Delete ? "" : Payload.NameOf(entry.Value);
        _history.Show(_id, new Observation(entry.Key, entry.Kind, entry.Revision, entry.CreateRevision, value));
    }

    public void OnRevision(long revision)
    {
        _position = Math.Max(_position, revision);
        Interlocked.Exchange(ref _shownTo, _position);
        _history.Progress(_id, revision);
    }

    public void OnFailed(Exception error)
    {
        bool isCompacted = error is DatastoreCompactedException;
        _history.EndWatch(_id, isCompacted ? WatchEnd.Compacted : WatchEnd.Failed);
        if (error is DatastoreCorruptException) IsToldOfDamage = true;
        if (error is ObjectDisposedException or DatastoreCorruptException) return;
        // A thread of its own: the store must not be called from within its call.
        _ = ResumeAsync(isCompacted);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            _watch?.Dispose();
        }
    }

    private async Task ResumeAsync(bool isCompacted)
    {
        await Task.Delay(10).ConfigureAwait(false);
        Begin(isCompacted ? Math.Max(_store.CompactRevision, _position) : _position);
    }

    private void Begin(long afterRevision)
    {
        lock (_gate)
        {
            if (_isDisposed) return;
            _watch?.Dispose();
            while (true)
            {
                _id = _history.BeginWatch(afterRevision);
                _position = afterRevision;
                Interlocked.Exchange(ref _shownTo, afterRevision);
                try
                {
                    _watch = _store.Watch(afterRevision, this);
                    return;
                }
                catch (DatastoreCompactedException)
                {
                    _history.EndWatch(_id, WatchEnd.Compacted);
                    afterRevision = _store.CompactRevision;
                }
            }
        }
    }
}
