using System.Threading.Channels;
using K3sFast.Datastore.Shared;
using K3sFast.Datastore.Sqlite;
using Microsoft.Extensions.Logging;

namespace K3sFast.Datastore.Sql;

/// <summary>
/// Deletes keys whose lease has ended. Every server does, since any may be the last: the deletion is compare-and-swap, so one of them
/// wins and a renewed key stays.
/// </summary>
internal sealed class SqlExpiry(SqlDatastore store, TimeProvider clock, ILogger logger) : IDatastoreObserver
{
    private readonly Channel<(string Key, long Revision, long Seconds)> _fresh = Channel.CreateUnbounded<(string, long, long)>(new UnboundedChannelOptions { SingleReader = true });
    private readonly LeaseQueue _leases = new(clock);
    private TaskCompletionSource _failed = new();

    public void Add(string key, long revision, long seconds) => _fresh.Writer.TryWrite((key, revision, seconds));

    /// <inheritdoc/>
    public void OnEntry(in DatastoreEntry entry)
    {
        if (entry.LeaseSeconds > 0 && entry.Kind != AppendKind.Delete) Add(entry.Key, entry.Revision, entry.LeaseSeconds);
    }

    /// <inheritdoc/>
    public void OnRevision(long revision)
    {
    }

    /// <inheritdoc/>
    public void OnFailed(Exception error) => _failed.TrySetException(error);

    /// <summary>Deletes what is due for as long as the watch lasts that feeds this.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var failed = _failed.Task;
        while (true)
        {
            while (_fresh.Reader.TryRead(out var fresh)) _leases.Add(fresh.Key, fresh.Revision, fresh.Seconds);
            await DeleteDueAsync(cancellationToken).ConfigureAwait(false);
            using var woken = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var arrival = _fresh.Reader.WaitToReadAsync(woken.Token).AsTask();
            var due = Task.Delay(_leases.NextDelay() ?? Timeout.InfiniteTimeSpan, clock, woken.Token);
            await Task.WhenAny(arrival, due, failed).ConfigureAwait(false);
            await woken.CancelAsync().ConfigureAwait(false);
            cancellationToken.ThrowIfCancellationRequested();
            if (!failed.IsFaulted) continue;
            _failed = new TaskCompletionSource();
            await failed.ConfigureAwait(false);
        }
    }

    private async Task DeleteDueAsync(CancellationToken cancellationToken)
    {
        var deletions = new List<Task>();
        // As many at once as make one transaction.
        while (deletions.Count < 256 && _leases.TryTakeDue(out var lease)) deletions.Add(DeleteAsync(lease.Key, lease.Revision, cancellationToken));
        await Task.WhenAll(deletions).ConfigureAwait(false);
    }

    private async Task DeleteAsync(string key, long revision, CancellationToken cancellationToken)
    {
        try
        {
            await store.AppendAsync(AppendRequest.Delete(key, revision), cancellationToken).ConfigureAwait(false);
        }
        catch (DatastoreException error)
        {
            Log.ExpiryFailed(logger, key, error.Message);
            Add(key, revision, 5);
        }
    }
}
