namespace K3sFast.Datastore.Sqlite;

/// <summary>
/// Keys that end by themselves, by due time. A changed key leaves its old entry behind; the expiry sees that the revision is no
/// longer the newest and does nothing. Owned by the writer thread.
/// </summary>
/// <remarks>The table has no times: after a restart every lease starts anew, as in kine. Nothing expires early.</remarks>
internal sealed class LeaseQueue(TimeProvider timeProvider)
{
    private readonly PriorityQueue<Lease, long> _byDue = new();

    public int Count => _byDue.Count;

    public void Add(string key, long revision, long seconds) =>
        _byDue.Enqueue(new Lease(key, revision), timeProvider.GetTimestamp() + (seconds * timeProvider.TimestampFrequency));

    /// <summary>Takes an entry that is due.</summary>
    public bool TryTakeDue(out Lease lease)
    {
        if (_byDue.TryPeek(out lease, out long due) && due <= timeProvider.GetTimestamp())
        {
            _byDue.Dequeue();
            return true;
        }
        return false;
    }

    /// <summary>Time to the next entry, never below a second, so that a stream of expiries does not become a stream of wake-ups.</summary>
    public TimeSpan? NextDelay()
    {
        if (!_byDue.TryPeek(out _, out long due)) return null;
        var delay = timeProvider.GetElapsedTime(timeProvider.GetTimestamp(), due);
        return delay < TimeSpan.FromSeconds(1) ? TimeSpan.FromSeconds(1) : delay;
    }

    internal readonly record struct Lease(string Key, long Revision);
}
