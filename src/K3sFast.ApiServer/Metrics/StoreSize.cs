using K3sFast.Datastore;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>The size of a store on another machine, asked for now and then, for apiserver_storage_size_bytes.</summary>
internal sealed class StoreSize(IDatastore store, TimeProvider clock, ILogger logger)
{
    // Upstream's default of --etcd-db-metric-poll-interval.
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(30);

    private long _bytes = -1;

    /// <summary>What the engine said last, in bytes; -1 = nothing yet.</summary>
    internal long Bytes => Interlocked.Read(ref _bytes);

    /// <summary>Asks until cancelled.</summary>
    internal async Task FollowAsync(CancellationToken cancel)
    {
        using var timer = new PeriodicTimer(s_period, clock);
        try
        {
            do
            {
                await AskAsync(cancel).ConfigureAwait(false);
            }
            while (await timer.WaitForNextTickAsync(cancel).ConfigureAwait(false));
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            // The server stops.
        }
    }

    private async Task AskAsync(CancellationToken cancel)
    {
        try
        {
            Interlocked.Exchange(ref _bytes, await store.ReadSizeAsync(cancel).ConfigureAwait(false));
        }
        catch (DatastoreException error)
        {
            Log.BackgroundFailed(logger, "asking the datastore for its size", error.Message);
        }
    }
}
