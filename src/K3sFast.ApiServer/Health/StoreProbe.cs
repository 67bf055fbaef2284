using K3sFast.Datastore;
using K3sFast.WatchCache;

namespace K3sFast.ApiServer;

/// <summary>Asks the datastore whether it answers, as the check named etcd; and whether the cache still follows it.</summary>
internal sealed class StoreProbe(IDatastore store, Cacher cacher, TimeProvider clock) : IDatastoreVisitor
{
    // Upstream's default of --etcd-healthcheck-timeout.
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(2);

    // Upstream reads this key, which nobody writes.
    private static readonly RangeRequest s_question = new("/registry/health", Limit: 1);

    internal async ValueTask<string?> CheckAsync(CancellationToken cancel)
    {
        if (cacher.Failure is { } failure)
            return $"the watch cache has stopped: {failure.Message}";
        using var limit = new CancellationTokenSource(s_timeout, clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancel, limit.Token);
        try
        {
            await store.RangeAsync(s_question, this, either.Token).AsTask().WaitAsync(either.Token).ConfigureAwait(false);
            return null;
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return $"error getting data from the datastore: no answer within {s_timeout.TotalSeconds:0} s";
        }
        catch (DatastoreException error)
        {
            return $"error getting data from the datastore: {error.Message}";
        }
    }

    void IDatastoreVisitor.OnEntry(in DatastoreEntry entry)
    {
    }
}
