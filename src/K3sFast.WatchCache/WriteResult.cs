using K3sFast.Datastore;

namespace K3sFast.WatchCache;

/// <summary>How a write ended.</summary>
/// <param name="Outcome">Committed, or why not.</param>
/// <param name="Revision">The commit's revision; for conflicts the key's present one.</param>
/// <param name="Object">
/// Committed: the object as it is now in the cache, retained for the caller, who disposes it (for deletions its last state with the
/// deletion's resourceVersion). Else, and for keys of no registered resource, null.
/// </param>
public readonly record struct WriteResult(AppendOutcome Outcome, long Revision, StoredObject? Object)
{
    /// <summary>The write is durable and visible to reads.</summary>
    public bool IsCommitted => Outcome == AppendOutcome.Committed;
}
