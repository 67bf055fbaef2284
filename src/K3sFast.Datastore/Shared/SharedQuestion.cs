namespace K3sFast.Datastore.Shared;

/// <summary>
/// Asks the engine one question for all who want to know at the same time. Who comes while a question is under way waits for the next
/// one, since the one under way may have been answered before he came.
/// </summary>
internal sealed class SharedQuestion<T>(Func<CancellationToken, Task<T>> ask, CancellationToken stopping)
{
    private readonly Lock _gate = new();

    // Guarded by _gate
    private Task<T>? _asked;
    private Task<T>? _next;

    /// <summary>An answer that was true at some time after this call.</summary>
    public ValueTask<T> AskAsync(CancellationToken cancellationToken)
    {
        Task<T> answer;
        lock (_gate)
        {
            if (_asked is null || _asked.IsCompleted)
            {
                // A waiting next one was scheduled by the question that has just ended; it has not been sent yet, so it is ours too.
                answer = _next ??= RunAsync(null);
            }
            else
            {
                answer = _next ??= RunAsync(_asked);
            }
        }
        return new ValueTask<T>(answer.WaitAsync(cancellationToken));
    }

    private async Task<T> RunAsync(Task<T>? before)
    {
        // Leaves the caller's lock first.
        if (before is null) await Task.Yield();
        else await ((Task)before).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Task<T> asked;
        lock (_gate)
        {
            _next = null;
            _asked = asked = ask(stopping);
        }
        return await asked.ConfigureAwait(false);
    }
}
