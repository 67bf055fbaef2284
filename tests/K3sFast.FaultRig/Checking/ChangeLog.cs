using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Checking;

/// <summary>One change as all evidence together tells it.</summary>
internal sealed class LoggedChange
{
    public required Observation Change { get; set; }

    /// <summary>The write that made it; null = a lease that ended, or unexplained.</summary>
    public Operation? Author { get; set; }

    /// <summary>The key's next change.</summary>
    public LoggedChange? Next { get; set; }

    public LoggedChange? Previous { get; set; }

    /// <summary>When a client first saw it.</summary>
    public long FirstSeenAt { get; set; } = Operation.Never;

    public long Revision => Change.Revision;

    /// <summary>The last revision at which the key was in the state that this change made.</summary>
    public long LastRevision => Next is null ? long.MaxValue : Next.Revision - 1;

    public bool IsLive => Change.Kind != AppendKind.Delete;
}

/// <summary>
/// The log as clients can know it: every answer, entry and event is one piece of evidence for what a revision holds; two that
/// contradict each other break a law. From it follow each key's life and the author of each change.
/// </summary>
internal sealed class ChangeLog
{
    private static readonly List<LoggedChange> s_none = [];

    private readonly Verdict _verdict;
    private readonly Dictionary<long, LoggedChange> _byRevision = [];
    private readonly Dictionary<string, List<LoggedChange>> _byKey = [];

    public ChangeLog(OperationHistory history, Verdict verdict)
    {
        _verdict = verdict;
        foreach (var operation in history.Operations) Gather(operation);
        foreach (var watch in history.Watches)
        {
            foreach (var item in watch.Items)
            {
                if (!item.IsProgress) Gather(item.Change, item.At);
            }
        }
        InOrder = [.. _byRevision.Values.OrderBy(change => change.Revision)];
        foreach (var change in InOrder)
        {
            if (!_byKey.TryGetValue(change.Change.Key, out var life)) _byKey.Add(change.Change.Key, life = []);
            if (life.Count > 0) (life[^1].Next, change.Previous) = (change, life[^1]);
            life.Add(change);
        }
        new AuthorCheck(this, history, verdict).Run();
    }

    /// <summary>All changes by revision.</summary>
    public LoggedChange[] InOrder { get; }

    public IEnumerable<string> Keys => _byKey.Keys;

    public LoggedChange? At(long revision) => _byRevision.GetValueOrDefault(revision);

    /// <summary>All changes of a key, oldest first.</summary>
    public List<LoggedChange> LifeOf(string key) => _byKey.GetValueOrDefault(key, s_none);

    /// <summary>The key's newest change up to a revision; null = it had never been written.</summary>
    public LoggedChange? StateOf(string key, long revision)
    {
        var life = LifeOf(key);
        int index = IndexAfter(life, revision);
        return index == 0 ? null : life[index - 1];
    }

    /// <summary>Index of the first change after a revision.</summary>
    public static int IndexAfter(IReadOnlyList<LoggedChange> changes, long revision)
    {
        int low = 0, high = changes.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (changes[middle].Revision <= revision) low = middle + 1;
            else high = middle;
        }
        return low;
    }

    private void Gather(Operation operation)
    {
        if (operation is { IsWrite: true, Outcome: OperationOutcome.Ok, Revision: > 0 })
        {
            long created = operation.Kind == OperationKind.Create ? operation.Revision : 0;
            Gather(new Observation(operation.Key, (AppendKind)operation.Kind, operation.Revision, created, operation.Value), operation.CompletedAt);
        }
        foreach (var entry in operation.Entries) Gather(entry, operation.CompletedAt);
    }

    private void Gather(in Observation seen, long at)
    {
        if (seen.Value is null)
        {
            _verdict.Add(Law.ValueIsWhole, $"{seen.Key} at {seen.Revision}");
            return;
        }
        if (!_byRevision.TryGetValue(seen.Revision, out var known))
        {
            _byRevision.Add(seen.Revision, new LoggedChange { Change = seen, FirstSeenAt = at });
            return;
        }
        known.FirstSeenAt = Math.Min(known.FirstSeenAt, at);
        var change = known.Change;
        bool isSameKind = change.Kind == seen.Kind || (change.Kind == Observation.UnknownKind && seen.Kind != AppendKind.Delete) || (seen.Kind == Observation.UnknownKind && change.Kind != AppendKind.Delete);
        if (change.Key != seen.Key || change.Value != seen.Value || !isSameKind)
        {
            _verdict.Add(Law.RevisionIsUsedOnce, $"{seen.Revision} is {change} and {seen}");
            return;
        }
        if (change.Kind == Observation.UnknownKind) known.Change = change = change with { Kind = seen.Kind };
        if (change.CreateRevision == 0) known.Change = change with { CreateRevision = seen.CreateRevision };
        else if (seen.CreateRevision != 0 && seen.CreateRevision != change.CreateRevision)
        {
            _verdict.Add(Law.WriteExpectsItsPredecessor, $"life of {seen.Key} at {seen.Revision} began at {change.CreateRevision} and at {seen.CreateRevision}");
        }
    }
}
