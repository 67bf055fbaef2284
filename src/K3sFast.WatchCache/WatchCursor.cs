namespace K3sFast.WatchCache;

/// <summary>A watcher's place in a resource's ring. One thread at a time.</summary>
public sealed class WatchCursor : IDisposable
{
    /// <summary>Everything up to here, in the whole store, has been read or does not concern this cursor: a bookmark's resourceVersion.</summary>
    public long Revision => throw new NotImplementedException();

    /// <summary>Copies events after the last one read to <paramref name="destination"/>, oldest first.</summary>
    /// <returns>Events copied; 0 = caught up; -1 = the cursor's place left the ring (answer 410 Expired).</returns>
    /// <remarks>Lock-free, allocates nothing. Events are lent until the next read or the cursor's disposal.</remarks>
    public int Read(Span<WatchEvent> destination) => throw new NotImplementedException();

    /// <summary>Completes when there may be something to read, <see cref="Wake"/> was called, or with cancellation.</summary>
    public ValueTask WaitAsync(CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>Ends a wait from any thread (a bookmark is due, the client has gone).</summary>
    public void Wake() => throw new NotImplementedException();

    /// <summary>Leaves the ring.</summary>
    public void Dispose() => throw new NotImplementedException();
}
