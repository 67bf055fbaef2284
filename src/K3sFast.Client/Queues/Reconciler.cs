using Microsoft.Extensions.Logging;

namespace K3sFast.Client;

/// <summary>
/// The loop of every controller: take a key, reconcile it, forget it on success, put it back with growing delay on failure.
/// </summary>
public sealed class Reconciler<TKey>(string name, WorkQueue<TKey> queue, Func<TKey, CancellationToken, ValueTask> reconcile, ILogger logger)
    where TKey : notnull
{
    /// <summary>Runs <paramref name="workers"/> loops until cancelled.</summary>
    public Task RunAsync(int workers, CancellationToken cancellationToken)
    {
        queue.Measure(name);
        var loops = new Task[workers];
        for (var i = 0; i < workers; i++) loops[i] = WorkAsync(cancellationToken);
        return Task.WhenAll(loops);
    }

    private async Task WorkAsync(CancellationToken cancellationToken)
    {
        // The starter goes on at once: the first key may be there already.
        await Task.Yield();
        while (true)
        {
            TKey key;
            try
            {
                key = await queue.TakeAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            try
            {
                await reconcile(key, cancellationToken).ConfigureAwait(false);
                queue.Forget(key);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return;
            }
            catch (ApiException conflict) when (conflict.IsConflict)
            {
                // Somebody was quicker: expected, and the informer brings the new state.
                Log.ReconcileConflict(logger, name, key.ToString() ?? "");
                queue.AddRateLimited(key);
            }
            catch (Exception failure)
            {
                Log.ReconcileFailed(logger, name, key.ToString() ?? "", queue.Failures(key) + 1, failure);
                queue.AddRateLimited(key);
            }
            finally
            {
                queue.Done(key);
            }
        }
    }
}
