using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Shared;

/// <summary>
/// What every store has that several servers use at once: watches on one <see cref="ChangeFeed"/>, which the engine's follower fills, the shared question for the newest
/// revision, compaction at its interval, and an end in order. The engine adds how it writes, reads and follows.
/// </summary>
public abstract class SharedDatastore : IDatastore, IHistorySource
{
    private readonly ILogger _logger;
    private readonly SharedQuestion<long> _newest;
    private readonly CancellationTokenSource _stopping = new();
    private ITimer? _compactTimer;
    private int _isCompacting;
    private int _isDisposed;

    private protected SharedDatastore(ChangeFeed feed, ILogger logger)
    {
        (Feed, _logger, Stopping) = (feed, logger, _stopping.Token);
        _newest = new SharedQuestion<long>(AskRevisionAsync, Stopping);
    }

    /// <inheritdoc/>
    public bool IsShared => true;

    /// <inheritdoc/>
    public long CurrentRevision => Feed.Position;

    /// <inheritdoc/>
    public long CompactRevision => Feed.CompactRevision;

    private protected ChangeFeed Feed { get; }

    /// <summary>Cancelled when the store closes.</summary>
    private protected CancellationToken Stopping { get; }

    private protected bool IsDisposed => Volatile.Read(ref _isDisposed) != 0;

    /// <inheritdoc/>
    public virtual ValueTask<long> ReadCurrentRevisionAsync(CancellationToken cancellationToken = default) => _newest.AskAsync(cancellationToken);

    /// <inheritdoc/>
    public abstract ValueTask<long> ReadSizeAsync(CancellationToken cancellationToken = default);

    /// <inheritdoc/>
    public ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default)
    {
        StoreKeys.Check(request.Key);
        ObjectDisposedException.ThrowIf(IsDisposed, this);
        return AppendCoreAsync(request, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(visitor);
        if (request.Revision != 0) ThrowIfCompacted(request.Revision);
        return RangeCoreAsync(request, visitor, cancellationToken);
    }

    /// <inheritdoc/>
    public IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer)
    {
        ArgumentNullException.ThrowIfNull(observer);
        ThrowIfCompacted(afterRevision);
        var watch = new FeedWatch(Feed, this, observer, afterRevision, _logger);
        watch.Start();
        return watch;
    }

    /// <inheritdoc/>
    public ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default) =>
        revision <= CompactRevision ? ValueTask.CompletedTask : CompactCoreAsync(revision, cancellationToken);

    /// <summary>Finishes queued appends, ends the watches and closes the connections.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 1) return;
        if (_compactTimer is not null) await _compactTimer.DisposeAsync().ConfigureAwait(false);
        await FinishWritesAsync().ConfigureAwait(false);
        await _stopping.CancelAsync().ConfigureAwait(false);
        await EndFollowingAsync().ConfigureAwait(false);
        Feed.Close(new ObjectDisposedException(GetType().Name));
        await CloseConnectionsAsync().ConfigureAwait(false);
        _stopping.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <inheritdoc/>
    Task IHistorySource.CatchUpAsync(FeedWatch watch, CancellationToken cancellationToken) => CatchUpAsync(watch, cancellationToken);

    /// <summary>Compacts at an interval, if it is one; the last step of opening.</summary>
    private protected void CompactEvery(TimeSpan interval, TimeProvider clock)
    {
        if (interval <= TimeSpan.Zero) return;
        _compactTimer = clock.CreateTimer(static state => _ = ((SharedDatastore)state!).CompactOldAsync(), this, interval, interval);
    }

    private protected void ThrowIfCompacted(long revision)
    {
        if (revision < CompactRevision) throw new DatastoreCompactedException(revision, CompactRevision);
    }

    /// <summary>Appends; completes when the change is durable and this server's watches have seen it.</summary>
    private protected abstract ValueTask<AppendResult> AppendCoreAsync(AppendRequest request, CancellationToken cancellationToken);

    private protected abstract ValueTask<RangeResult> RangeCoreAsync(RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken);

    /// <summary>As <see cref="IHistorySource.CatchUpAsync"/>.</summary>
    private protected abstract Task CatchUpAsync(FeedWatch watch, CancellationToken cancellationToken);

    private protected abstract ValueTask CompactCoreAsync(long revision, CancellationToken cancellationToken);

    /// <summary>An interval has passed. Returns up to where this server compacted; 0 = it did not.</summary>
    private protected abstract Task<long> CompactTickAsync(CancellationToken cancellationToken);

    /// <summary>Asks the engine for its newest revision.</summary>
    private protected abstract Task<long> AskRevisionAsync(CancellationToken cancellationToken);

    /// <summary>True = what the engine throws when it does not answer or refuses.</summary>
    private protected abstract bool IsOfTheEngine(Exception error);

    /// <summary>No append comes any more: those that wait are finished, for as long as that makes sense.</summary>
    private protected virtual ValueTask FinishWritesAsync() => ValueTask.CompletedTask;

    /// <summary><see cref="Stopping"/> is cancelled: waits for what follows the engine.</summary>
    private protected abstract ValueTask EndFollowingAsync();

    private protected abstract ValueTask CloseConnectionsAsync();

    private async Task CompactOldAsync()
    {
        if (Interlocked.Exchange(ref _isCompacting, 1) == 1) return;
        long startedAt = Environment.TickCount64;
        try
        {
            long compacted = await CompactTickAsync(Stopping).ConfigureAwait(false);
            if (compacted > 0) Log.Compacted(_logger, compacted, Environment.TickCount64 - startedAt);
        }
        catch (Exception error) when (IsOfTheEngine(error) || error is DatastoreException or OperationCanceledException or ObjectDisposedException)
        {
            if (!IsDisposed) Log.CompactionFailed(_logger, CompactRevision, error);
        }
        finally
        {
            Volatile.Write(ref _isCompacting, 0);
        }
    }
}
