using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Checking;

/// <summary>Gives every answered operation its place in the order of revisions, within the bounds that real time sets.</summary>
internal sealed class OrderCheck(ChangeLog log, OperationHistory history, Verdict verdict)
{
    // In the order of answers: when, and the newest place given up to then
    private readonly List<(long At, long Place)> _answered = [];

    // In the order of calls: when, and the oldest revision of the writes called from then on
    private (long At, long Revision)[] _called = [];

    public void Run()
    {
        NoteCalls();
        foreach (var (at, operation, seen) in Answers())
        {
            long place = operation is null ? seen : PlaceOf(operation);
            _answered.Add((at, Math.Max(place, _answered.Count == 0 ? 0 : _answered[^1].Place)));
        }
    }

    /// <summary>Answers and watch events by time; an event is an answer that tells its revision.</summary>
    private IEnumerable<(long At, Operation? Operation, long Seen)> Answers()
    {
        var answers = new List<(long At, Operation? Operation, long Seen)>();
        foreach (var operation in history.Operations)
        {
            if (operation.Outcome is OperationOutcome.Unknown or OperationOutcome.Refused or OperationOutcome.Compacted) continue;
            if (operation.Kind != OperationKind.Compact) answers.Add((operation.CompletedAt, operation, 0));
        }
        foreach (var watch in history.Watches)
        {
            foreach (var item in watch.Items) answers.Add((item.At, null, item.Change.Revision));
        }
        // Writes that nobody answered happened before their process ended.
        foreach (var change in log.InOrder)
        {
            if (change.Author is { Outcome: OperationOutcome.Unknown } author && author.CompletedAt != Operation.Never) answers.Add((author.CompletedAt, author, 0));
        }
        return answers.OrderBy(answer => answer.At);
    }

    private void NoteCalls()
    {
        var calls = log.InOrder.Where(change => change.Author is not null).Select(change => (At: change.Author!.InvokedAt, change.Revision)).OrderBy(call => call.At).ToArray();
        for (int i = calls.Length - 2; i >= 0; i--) calls[i].Revision = Math.Min(calls[i].Revision, calls[i + 1].Revision);
        _called = calls;
    }

    /// <summary>The newest place that was given before a time.</summary>
    private long Floor(long time)
    {
        int low = 0, high = _answered.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_answered[middle].At < time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : _answered[low - 1].Place;
    }

    /// <summary>The newest revision that was asked for at a time.</summary>
    private long Ceiling(long time)
    {
        int low = 0, high = _called.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_called[middle].At <= time) low = middle + 1;
            else high = middle;
        }
        return low == _called.Length ? long.MaxValue : _called[low].Revision - 1;
    }

    private long PlaceOf(Operation operation)
    {
        long floor = Floor(operation.InvokedAt);
        return operation switch
        {
            { IsWrite: true, Outcome: OperationOutcome.Ok or OperationOutcome.Unknown } => PlaceOfWrite(operation, floor),
            { Kind: OperationKind.Get or OperationKind.List } => PlaceOfRead(operation, floor),
            _ => PlaceOfRefusal(operation, floor),
        };
    }

    private long PlaceOfWrite(Operation operation, long floor)
    {
        long revision = operation.Revision > 0 && operation.Outcome == OperationOutcome.Ok ? operation.Revision : RevisionOf(operation);
        if (revision == 0) return 0;
        if (revision <= floor) verdict.Add(Law.RevisionsAreInOrder, $"{operation} was called after revision {floor} was known and has {revision}");
        return revision;
    }

    private long RevisionOf(Operation operation)
    {
        foreach (var change in log.LifeOf(operation.Key))
        {
            if (change.Author == operation) return change.Revision;
        }
        return 0;
    }

    private long PlaceOfRead(Operation read, long floor)
    {
        verdict.Reads++;
        if (read.Revision == 0) return PlaceOfUntold(read, floor);
        if (read.AtRevision != 0 && read.Revision != read.AtRevision) verdict.Add(Law.ReadIsExact, $"{read} was asked for {read.AtRevision}");
        if (read.AtRevision == 0 && read.Revision < floor) verdict.Add(Law.ReadIsCurrent, $"{read} was called after revision {floor} was known");
        if (read.Revision > Ceiling(read.CompletedAt)) verdict.Add(Law.ReadIsCurrent, $"{read} shows what was asked for after it: newest then was {Ceiling(read.CompletedAt)}");
        CheckContent(read);
        return read.Revision;
    }

    /// <summary>A list or get that tells its revision shows exactly what was there.</summary>
    private void CheckContent(Operation read)
    {
        var shown = new Dictionary<string, Observation>();
        foreach (var entry in read.Entries)
        {
            if (!shown.TryAdd(entry.Key, entry)) verdict.Add(Law.ReadIsExact, $"{read} shows {entry.Key} twice");
            if (entry.Revision > read.Revision) verdict.Add(Law.ReadIsCurrent, $"{read} shows {entry}, which is newer");
        }
        foreach (string key in read.Kind == OperationKind.Get ? [read.Key] : log.Keys.Where(key => key.StartsWith(read.Key, StringComparison.Ordinal)))
        {
            var state = log.StateOf(key, read.Revision);
            bool isShown = shown.TryGetValue(key, out var entry);
            if (state is { IsLive: true } && !isShown) Miss(read, state);
            else if (state is not { IsLive: true } && isShown) verdict.Add(Law.ReadIsExact, $"{read} shows {entry}, which was not there");
            else if (isShown && entry.Revision != state!.Revision) Differ(read, entry, state);
        }
    }

    private void Miss(Operation read, LoggedChange state)
    {
        bool wasPromised = state.Author is { Outcome: OperationOutcome.Ok } author && author.CompletedAt < read.InvokedAt;
        verdict.Add(wasPromised ? Law.AcknowledgedIsKept : Law.ReadIsExact, $"{read} lacks {state.Change}");
    }

    private void Differ(Operation read, in Observation entry, LoggedChange state)
    {
        bool wasPromised = entry.Revision < state.Revision && state.Author is { Outcome: OperationOutcome.Ok } author && author.CompletedAt < read.InvokedAt;
        verdict.Add(wasPromised ? Law.AcknowledgedIsKept : Law.ReadIsExact, $"{read} shows {entry} in place of {state.Change}");
    }

    /// <summary>A get that tells no revision: its answer must have been true at some place.</summary>
    private long PlaceOfUntold(Operation read, long floor)
    {
        long wanted = read.Entries.Count == 0 ? 0 : read.Entries[0].Revision;
        long? place = FirstPlace(read.Key, floor, state => wanted == 0 ? state is not { IsLive: true } : state?.Revision == wanted);
        if (place is not null && place <= Ceiling(read.CompletedAt)) return place.Value;
        verdict.Add(Law.ReadIsCurrent, $"{read} ({wanted}) was true at no time between {floor} and {Ceiling(read.CompletedAt)}");
        return floor;
    }

    private long PlaceOfRefusal(Operation operation, long floor)
    {
        long told = operation.Revision;
        long? place = FirstPlace(operation.Key, floor, state => operation.Outcome switch
        {
            OperationOutcome.NotFound => state is not { IsLive: true },
            _ when state is not { IsLive: true } => false,
            _ when told > 0 && state.Revision != told => false,
            _ => operation.Kind == OperationKind.Create || state.Revision != operation.ExpectedRevision,
        });
        if (place is not null && place <= Ceiling(operation.CompletedAt)) return place.Value;
        verdict.Add(Law.RefusalIsTrue, $"{operation} was true at no time between {floor} and {Ceiling(operation.CompletedAt)}");
        return floor;
    }

    /// <summary>The first revision from <paramref name="floor"/> on at which the key's state fits; null = there is none.</summary>
    private long? FirstPlace(string key, long floor, Func<LoggedChange?, bool> fits)
    {
        var life = log.LifeOf(key);
        int next = ChangeLog.IndexAfter(life, floor);
        if (fits(next == 0 ? null : life[next - 1])) return floor;
        while (next < life.Count)
        {
            if (fits(life[next])) return life[next].Revision;
            next++;
        }
        return null;
    }
}
