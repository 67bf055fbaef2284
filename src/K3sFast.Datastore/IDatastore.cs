namespace K3sFast.Datastore;

/// <summary>
/// An append log of key changes with revisions. Revisions start at 2, rise by one per committed change and are never used twice.
/// In a shared store the changes of other processes and of the engine itself lie between ours, and keys whose lease ends together may
/// go at one revision.
/// Any thread may call any member.
/// </summary>
public interface IDatastore : IAsyncDisposable
{
    /// <summary>The revision of the newest durable change.</summary>
    long CurrentRevision { get; }

    /// <summary>History up to here may be gone: ranges below it and watches from below it are refused.</summary>
    long CompactRevision { get; }

    /// <summary>True = other processes write to the same store, and <see cref="CurrentRevision"/> may lag behind what they were acknowledged.</summary>
    bool IsShared => false;

    /// <summary>
    /// The newest revision that anybody, in any process, was acknowledged before this call. One question to the engine when the store is
    /// shared (callers that come together share it); free when it is not.
    /// </summary>
    ValueTask<long> ReadCurrentRevisionAsync(CancellationToken cancellationToken = default) => new(CurrentRevision);

    /// <summary>Bytes that the store takes on the engine's disk; -1 = this engine cannot tell.</summary>
    /// <remarks>Throws <see cref="DatastoreException"/> when the engine does not answer.</remarks>
    ValueTask<long> ReadSizeAsync(CancellationToken cancellationToken = default) =>
        new(Monitor?.ReadStatus() is { } status ? status.FileBytes + status.LogBytes : -1);

    /// <summary>Who tells how the store is; null = this engine tells nothing.</summary>
    IDatastoreMonitor? Monitor => this as IDatastoreMonitor;

    /// <summary>Who reads a whole state quickly; null = this engine reads it in key order alone.</summary>
    IStateReader? StateReader => this as IStateReader;

    /// <summary>Appends one change; completes when it is on disk and every live watch has seen it.</summary>
    /// <remarks>
    /// Changes that arrive together are committed together. A cancelled wait says nothing about the outcome.
    /// Throws <see cref="DatastoreException"/> when the medium fails: the outcome is then unknown, never acknowledged.
    /// </remarks>
    ValueTask<AppendResult> AppendAsync(in AppendRequest request, CancellationToken cancellationToken = default);

    /// <summary>Shows the keys that existed at a revision to <paramref name="visitor"/>, in ordinal order of their UTF-8 bytes.</summary>
    /// <remarks>Throws <see cref="DatastoreCompactedException"/> for a revision below <see cref="CompactRevision"/>.</remarks>
    ValueTask<RangeResult> RangeAsync(in RangeRequest request, IDatastoreVisitor visitor, CancellationToken cancellationToken = default);

    /// <summary>Shows every change after <paramref name="afterRevision"/> to <paramref name="observer"/>, in revision order, without gap or repetition.</summary>
    /// <remarks>
    /// The observer is called by one thread at a time; for live changes by the committing thread, after they are durable and before
    /// their appends complete, so it must be quick and must not wait for appends. A caller that starts at
    /// <see cref="CurrentRevision"/> is live when this returns; another one when <see cref="IDatastoreWatch.CaughtUp"/> completes.
    /// Throws <see cref="DatastoreCompactedException"/> when <paramref name="afterRevision"/> is below <see cref="CompactRevision"/>.
    /// </remarks>
    IDatastoreWatch Watch(long afterRevision, IDatastoreObserver observer);

    /// <summary>Forgets changes that were superseded at or before <paramref name="revision"/>.</summary>
    /// <remarks>Works in small steps between writes; a lower revision than <see cref="CompactRevision"/> is no error and does nothing.</remarks>
    ValueTask CompactAsync(long revision, CancellationToken cancellationToken = default);
}

/// <summary>Which keys to show.</summary>
/// <param name="Prefix">Keys that start with this.</param>
/// <param name="Revision">The state at this revision; 0 = now.</param>
/// <param name="StartKey">The first key to show, inclusive; null = from the start of the prefix.</param>
/// <param name="Limit">At most this many keys; 0 = all.</param>
public readonly record struct RangeRequest(string Prefix, long Revision = 0, string? StartKey = null, int Limit = 0);

/// <summary>How a range ended.</summary>
/// <param name="Revision">The revision whose state was shown.</param>
/// <param name="Count">Keys shown.</param>
/// <param name="HasMore">The limit ended the range and at least one more key exists.</param>
public readonly record struct RangeResult(long Revision, int Count, bool HasMore);

/// <summary>Receives the keys of a range.</summary>
public interface IDatastoreVisitor
{
    /// <summary>One key as it was at the range's revision. The entry is lent for this call.</summary>
    void OnEntry(in DatastoreEntry entry);
}

/// <summary>Receives changes in revision order.</summary>
public interface IDatastoreObserver : IDatastoreVisitor
{
    /// <summary>A batch ended: every change up to <paramref name="revision"/> has been shown.</summary>
    void OnRevision(long revision);

    /// <summary>The watch ended by itself and shows nothing more; <paramref name="error"/> says why.</summary>
    void OnFailed(Exception error);
}

/// <summary>A running watch. Disposing it ends it; no call to the observer starts after that returns.</summary>
public interface IDatastoreWatch : IDisposable
{
    /// <summary>Completes when the changes that were there at the start have been shown and live ones follow.</summary>
    Task CaughtUp { get; }
}
