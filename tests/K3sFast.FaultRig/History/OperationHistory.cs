namespace K3sFast.FaultRig.History;

/// <summary>
/// Everything that clients saw of one store, over all its crashes and restarts: what <see cref="Checking.HistoryChecker"/> judges.
/// One thread fills it.
/// </summary>
internal sealed class OperationHistory
{
    public List<Operation> Operations { get; } = [];

    public List<WatchRecord> Watches { get; } = [];

    /// <summary>When processes of the store ended.</summary>
    public List<long> LifeEnds { get; } = [];

    /// <summary>The newest revision that anybody was shown.</summary>
    public long NewestRevision
    {
        get
        {
            long newest = 0;
            foreach (var operation in Operations) newest = Math.Max(newest, operation.Outcome == OperationOutcome.Ok ? operation.Revision : 0);
            foreach (var watch in Watches)
            {
                if (watch.Items.Count > 0) newest = Math.Max(newest, watch.Items[^1].Change.Revision);
            }
            return newest;
        }
    }

    /// <summary>The store's process is gone: what it has not done by now it never will.</summary>
    public void EndLife(long now)
    {
        LifeEnds.Add(now);
        for (int i = Operations.Count - 1; i >= 0; i--)
        {
            var operation = Operations[i];
            if (operation.Outcome == OperationOutcome.Unknown && operation.CompletedAt == Operation.Never) operation.CompletedAt = now;
        }
    }
}
