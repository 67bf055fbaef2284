using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Checking;

/// <summary>Finds the write behind each change, and judges each key's life: every change fits the one before it and was asked for, once.</summary>
internal sealed class AuthorCheck(ChangeLog log, OperationHistory history, Verdict verdict)
{
    private readonly Dictionary<string, Operation> _byValue = [];
    private readonly Dictionary<(string Key, long Expected), List<Operation>> _deletes = [];

    public void Run()
    {
        foreach (var operation in history.Operations)
        {
            if (operation.Kind == OperationKind.Delete)
            {
                var place = (operation.Key, operation.ExpectedRevision);
                if (!_deletes.TryGetValue(place, out var deletes)) _deletes.Add(place, deletes = []);
                deletes.Add(operation);
            }
            else if (operation.IsWrite)
            {
                _byValue.Add(operation.Value, operation);
            }
        }
        var happened = new Dictionary<Operation, long>();
        foreach (var change in log.InOrder)
        {
            change.Author = change.IsLive ? AuthorOfValue(change) : AuthorOfDelete(change);
            if (change.Author is { } author && !happened.TryAdd(author, change.Revision))
            {
                verdict.Add(Law.WriteHappensOnce, $"{author} made {happened[author]} and {change.Revision}");
            }
            CheckPlace(change);
        }
        Count(happened);
    }

    private void Count(Dictionary<Operation, long> happened)
    {
        foreach (var operation in history.Operations)
        {
            if (!operation.IsWrite) continue;
            bool isThere = happened.ContainsKey(operation);
            if (operation.Outcome == OperationOutcome.Ok) verdict.Acknowledged++;
            else if (operation.Outcome == OperationOutcome.Unknown && isThere) verdict.UnknownHappened++;
            else if (operation.Outcome == OperationOutcome.Unknown) verdict.UnknownNever++;
        }
    }

    private Operation? AuthorOfValue(LoggedChange change)
    {
        var seen = change.Change;
        bool isKnown = _byValue.TryGetValue(seen.Value!, out var author);
        if (isKnown && seen.Kind == Observation.UnknownKind) change.Change = seen = seen with { Kind = (AppendKind)author!.Kind };
        if (!isKnown || author is null || author.Key != seen.Key || (AppendKind)author.Kind != seen.Kind)
        {
            verdict.Add(Law.ChangeHasAnAuthor, $"nobody wrote {seen}");
            return null;
        }
        if (author.Outcome is not OperationOutcome.Ok and not OperationOutcome.Unknown) verdict.Add(Law.RefusedDoesNotHappen, $"{author} is there at {seen.Revision}");
        if (author.Outcome == OperationOutcome.Ok && author.Revision > 0 && author.Revision != seen.Revision)
        {
            verdict.Add(Law.WriteHappensOnce, $"{author} is there at {seen.Revision}");
        }
        return author;
    }

    private Operation? AuthorOfDelete(LoggedChange change)
    {
        var previous = change.Previous;
        if (previous is null) return null;
        Operation? refused = null;
        Operation? unknown = null;
        foreach (var delete in _deletes.GetValueOrDefault((change.Change.Key, previous.Revision), []))
        {
            if (delete.Outcome == OperationOutcome.Ok && (delete.Revision == 0 || delete.Revision == change.Revision)) return delete;
            if (delete.Outcome != OperationOutcome.Unknown) refused = delete;
            // Several may have done it: the one that leaves the others the most room.
            else if (delete.InvokedAt < change.FirstSeenAt && (unknown is null || delete.CompletedAt > unknown.CompletedAt)) unknown = delete;
        }
        if (unknown is not null) return unknown;
        if (previous.Author is { LeaseSeconds: > 0 } leased)
        {
            long due = leased.InvokedAt + (leased.LeaseSeconds * System.Diagnostics.Stopwatch.Frequency);
            if (change.FirstSeenAt < due) verdict.Add(Law.LeaseLastsItsTime, $"{leased} ended {due - change.FirstSeenAt} ns early");
            return null;
        }
        if (refused is not null) verdict.Add(Law.RefusedDoesNotHappen, $"{refused} is there at {change.Revision}");
        else verdict.Add(Law.ChangeHasAnAuthor, $"nobody deleted {change.Change.Key} at {previous.Revision}, gone at {change.Revision}");
        return null;
    }

    private void CheckPlace(LoggedChange change)
    {
        var (seen, previous) = (change.Change, change.Previous);
        bool wasLive = previous is { IsLive: true };
        if (wasLive != (seen.Kind != AppendKind.Create))
        {
            verdict.Add(Law.WriteExpectsItsPredecessor, $"{seen} follows {(previous is null ? "nothing" : previous.Change.ToString())}");
            return;
        }
        if (seen.Kind == AppendKind.Create)
        {
            if (seen.CreateRevision != 0 && seen.CreateRevision != seen.Revision) verdict.Add(Law.WriteExpectsItsPredecessor, $"{seen} began before itself");
            return;
        }
        if (change.Author is { } author && author.ExpectedRevision != previous!.Revision)
        {
            verdict.Add(Law.WriteExpectsItsPredecessor, $"{author} at {seen.Revision} follows {previous.Change}");
        }
        long began = previous!.Change.CreateRevision;
        if (seen.CreateRevision == 0) change.Change = seen with { CreateRevision = began };
        else if (began != 0 && seen.CreateRevision != began) verdict.Add(Law.WriteExpectsItsPredecessor, $"{seen} follows {previous.Change} of another life");
    }
}
