using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Checking;

/// <summary>Lays every watch beside the log: from its start revision on it shows each change once, in order, and misses none.</summary>
internal sealed class WatchCheck(ChangeLog log, Verdict verdict)
{
    public void Run(IEnumerable<WatchRecord> watches)
    {
        foreach (var watch in watches) Check(watch);
    }

    private void Check(WatchRecord watch)
    {
        int index = ChangeLog.IndexAfter(log.InOrder, watch.AfterRevision);
        long position = watch.AfterRevision;
        var shown = new HashSet<long>();
        foreach (var item in watch.Items)
        {
            long revision = item.Change.Revision;
            if (item.IsProgress)
            {
                if (revision < position) verdict.Add(Law.WatchIsInOrder, $"watch after {watch.AfterRevision} at {position} told progress {revision}");
                index = SkipTo(watch, index, revision + 1);
                position = Math.Max(position, revision);
                continue;
            }
            verdict.WatchedChanges++;
            if (!shown.Add(revision))
            {
                verdict.Add(Law.WatchHasNoDuplicate, $"watch after {watch.AfterRevision} showed {item.Change} again");
                continue;
            }
            if (revision <= position)
            {
                verdict.Add(Law.WatchIsInOrder, $"watch after {watch.AfterRevision} at {position} showed {item.Change}");
                continue;
            }
            index = SkipTo(watch, index, revision) + 1;
            position = revision;
            if (log.At(revision)?.Author is { } author && author.InvokedAt > item.At) verdict.Add(Law.ReadIsCurrent, $"watch showed {author} before it was asked for");
        }
    }

    /// <summary>Moves to the first change at or after a revision; what is passed over was missed.</summary>
    private int SkipTo(WatchRecord watch, int index, long revision)
    {
        while (index < log.InOrder.Length && log.InOrder[index].Revision < revision)
        {
            var missed = log.InOrder[index++];
            bool wasPromised = missed.Author is { Outcome: OperationOutcome.Ok } author && author.CompletedAt < watch.StartedAt;
            verdict.Add(wasPromised ? Law.AcknowledgedIsKept : Law.WatchHasNoGap, $"watch after {watch.AfterRevision} missed {missed.Change}");
        }
        return index;
    }
}
