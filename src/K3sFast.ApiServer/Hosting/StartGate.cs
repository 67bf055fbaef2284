using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// Where requests wait that come while the server is still starting. It listens before its caches are full, since a start is short: who is there then has connected
/// and said what he wants by the time that it can be answered, and need not ask again and again.
/// </summary>
/// <remarks>Any thread. Nobody is authenticated before the gate opens: tokens and roles lie in the caches too.</remarks>
internal sealed class StartGate(int maxWaiting, TimeProvider clock)
{
    // Longer than the start of a server with some 100,000 objects takes, and shorter than the patience of probes and clients. Where a slow disk takes longer, they are told to ask again.
    internal static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _waiting;

    /// <summary>True = requests go through without waiting.</summary>
    internal bool IsOpen => _opened.Task.IsCompletedSuccessfully;

    /// <summary>Requests that wait.</summary>
    internal int Waiting => Volatile.Read(ref _waiting);

    /// <summary>The server answers from here on.</summary>
    internal void Open() => _opened.TrySetResult();

    /// <summary>A gate that did not open never will: who waits is refused.</summary>
    internal void Close() => _opened.TrySetCanceled();

    /// <summary>Waits until the gate opens. Where it does not within <see cref="Patience"/>, or too many wait already, the request is refused with 503.</summary>
    internal ValueTask PassAsync(HttpApiCall call) => IsOpen ? ValueTask.CompletedTask : WaitAsync(call.Gone);

    internal async ValueTask WaitAsync(CancellationToken gone)
    {
        try
        {
            if (Interlocked.Increment(ref _waiting) > maxWaiting)
                throw Starting();
            await _opened.Task.WaitAsync(Patience, clock, gone).ConfigureAwait(false);
        }
        catch (Exception error) when (error is TimeoutException || (error is OperationCanceledException && !gone.IsCancellationRequested))
        {
            throw Starting();
        }
        finally
        {
            Interlocked.Decrement(ref _waiting);
        }
    }

    private static ApiStatusException Starting() =>
        (ApiStatus.ServiceUnavailable("the server is starting and has not read its objects yet") with { HasDetails = true, RetryAfterSeconds = 1 }).ToException();
}
