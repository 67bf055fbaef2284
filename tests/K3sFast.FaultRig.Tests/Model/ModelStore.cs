using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Tests.Model;

/// <summary>
/// The right store in a hundred lines, in memory, and a wrong one for each <see cref="Bug"/>. Each call is atomic; a crash is a call
/// too. <see cref="Slips"/> counts how often the bug showed, so that a test knows that there was something to find.
/// </summary>
internal sealed class ModelStore(Bug bug, Random random)
{
    private readonly List<Observation> _log = [];
    private readonly Dictionary<string, Operation> _leased = [];
    private readonly HashSet<string> _eaten = [];
    private Operation? _late;
    private int _lateSince;
    private int _crashes;
    private long _next = 2;

    public int Slips { get; private set; }

    public long CompactRevision { get; private set; }

    public long CurrentRevision => _log.Count == 0 ? 1 : _log[^1].Revision;

    /// <summary>Carries out a write at this moment.</summary>
    public void Write(Operation write, bool isUnanswered)
    {
        var state = StateOf(write.Key, CurrentRevision);
        var refusal = Refusal(write, state);
        if (refusal == OperationOutcome.Conflict)
        {
            if (write.Kind == OperationKind.Update && Slip(Bug.StaleUpdateAccepted, 1)) refusal = OperationOutcome.Ok;
            else if (write.Kind == OperationKind.Create && Slip(Bug.CreateOverLiveKey, 1)) refusal = OperationOutcome.Ok;
            else if (Slip(Bug.ConflictAnsweredAsSuccess, 1))
            {
                (write.Outcome, write.Revision) = (OperationOutcome.Ok, CurrentRevision);
                return;
            }
        }
        else if (refusal == OperationOutcome.Ok && Slip(Bug.FalseConflict, 0.02))
        {
            refusal = OperationOutcome.Conflict;
        }
        else if (refusal == OperationOutcome.Ok && write.Kind != OperationKind.Create && Slip(Bug.FalseNotFound, 0.05))
        {
            refusal = OperationOutcome.NotFound;
        }
        if (refusal != OperationOutcome.Ok)
        {
            (write.Outcome, write.Revision) = (refusal, 0);
            return;
        }
        if (isUnanswered && write.Kind == OperationKind.Create && bug == Bug.UnansweredWriteAppliedAfterRestart && _late is null)
        {
            (_late, _lateSince) = (write, _crashes);
            return;
        }
        if (Slip(Bug.SkippedRevision, 0.01)) _next++;
        Append(write, state);
        (write.Outcome, write.Revision) = (OperationOutcome.Ok, CurrentRevision);
        if (write.Kind == OperationKind.Update && Slip(isUnanswered ? Bug.UnansweredWriteAppliedTwice : Bug.WriteAppliedTwice, isUnanswered ? 1 : 0.02)) Append(write, state);
        if (Slip(Bug.RefusedWriteApplied, 0.02)) write.Outcome = OperationOutcome.Refused;
    }

    /// <summary>Carries out a get, a list or a compaction at this moment.</summary>
    public void Read(Operation read)
    {
        if (read.Kind == OperationKind.Compact)
        {
            CompactRevision = Math.Max(CompactRevision, read.AtRevision);
            if (Slip(Bug.CompactionEatsLiveKey, 1)) _eaten.Add(_log[random.Next(_log.Count)].Key);
            read.Outcome = OperationOutcome.Ok;
            return;
        }
        bool isBelow = read.AtRevision > 0 && read.AtRevision < CompactRevision;
        if ((isBelow && !Slip(Bug.CompactedHistoryServed, 1)) || (read.AtRevision > CompactRevision && Slip(Bug.RefusalWithoutCompaction, 0.5)))
        {
            read.Outcome = OperationOutcome.Compacted;
            return;
        }
        long revision = read.AtRevision > 0 ? read.AtRevision : CurrentRevision;
        if (read.AtRevision == 0 && read.Kind == OperationKind.List && Slip(Bug.StaleList, 0.2)) revision = Math.Max(1, revision - 20);
        if (read.Kind == OperationKind.List && Slip(Bug.ReadFromTheFuture, 0.1)) revision += 40;
        read.Revision = read.Kind == OperationKind.Get ? 0 : revision;
        long shown = Slip(Bug.OldContentUnderNewRevision, 0.2) ? revision - 8 : revision;
        if (read.Kind == OperationKind.Get && Slip(Bug.StaleGet, 0.3)) shown = revision - 25;
        var entries = new List<Observation>();
        foreach (string key in read.Kind == OperationKind.Get ? [read.Key] : Keys())
        {
            if (StateOf(key, shown) is { } state && (state.Kind != AppendKind.Delete || Slip(Bug.ListShowsDeletedKey, 0.1))) entries.Add(Entry(state));
        }
        if (read.Kind == OperationKind.List) DistortList(entries, read);
        read.Entries = entries;
        read.Outcome = OperationOutcome.Ok;
    }

    /// <summary>The changes after a revision, as a watch is shown them.</summary>
    public List<Observation> Changes(long afterRevision, int limit, Operation? uncommitted)
    {
        var changes = _log.Where(change => change.Revision > afterRevision).Take(limit).ToList();
        if (changes.Count > 1 && Slip(Bug.WatchSkipsChange, 0.02)) changes.RemoveAt(0);
        if (changes.Count > 0 && Slip(Bug.WatchRepeatsChange, 0.02)) changes.Add(changes[0]);
        if (changes.Count > 1 && Slip(Bug.WatchSwapsChanges, 0.02)) (changes[0], changes[1]) = (changes[1], changes[0]);
        if (changes.Exists(change => change.Kind == AppendKind.Delete) && changes[^1].Kind != AppendKind.Delete && Slip(Bug.WatchLosesDeletes, 1))
        {
            changes.RemoveAll(change => change.Kind == AppendKind.Delete);
        }
        if (uncommitted is not null && changes.Count < limit && Slip(Bug.WatchShowsUncommittedWrite, 0.2))
        {
            changes.Add(new Observation(uncommitted.Key, (AppendKind)uncommitted.Kind, CurrentRevision + 1, 0, uncommitted.Value));
        }
        return changes;
    }

    /// <summary>Where a watch that asks for a revision really starts, and what it promises when it has shown one.</summary>
    public long StartOf(long afterRevision) => afterRevision < CurrentRevision && Slip(Bug.WatchResumesTooLate, 0.3) ? CurrentRevision : afterRevision;

    public long PromiseAt(long revision) => revision < CurrentRevision && Slip(Bug.WatchPromisesTooMuch, 0.1) ? CurrentRevision : revision;

    public void Crash()
    {
        if (_log.Count > 1 && Slip(Bug.LostAcknowledgedWriteAfterCrash, 1)) _log.RemoveAt(_log.Count - 2);
        if (_log.Count > 2 && Slip(Bug.ReusedRevisionAfterCrash, 1)) _next = _log[^1].Revision;
        _crashes++;
        if (_late is not { } late || _crashes < _lateSince + 2) return;
        if (StateOf(late.Key, CurrentRevision) is null or { Kind: AppendKind.Delete } && Slip(Bug.UnansweredWriteAppliedAfterRestart, 1))
        {
            Append(late, null);
            _late = null;
        }
    }

    /// <summary>Ends a leased key, if there is one.</summary>
    public void ExpireOne(long now)
    {
        foreach (var (key, write) in _leased)
        {
            long due = write.InvokedAt + (write.LeaseSeconds * System.Diagnostics.Stopwatch.Frequency);
            if (now <= due && !Slip(Bug.LeaseEndsEarly, 0.5)) continue;
            _leased.Remove(key);
            if (StateOf(key, CurrentRevision) is { Kind: not AppendKind.Delete } state && state.Value == write.Value) Push(new Observation(key, AppendKind.Delete, _next++, state.CreateRevision, ""));
            return;
        }
    }

    private static OperationOutcome Refusal(Operation write, Observation? state)
    {
        bool isLive = state is { Kind: not AppendKind.Delete };
        if (write.Kind == OperationKind.Create) return isLive ? OperationOutcome.Conflict : OperationOutcome.Ok;
        if (!isLive) return OperationOutcome.NotFound;
        return state!.Value.Revision == write.ExpectedRevision ? OperationOutcome.Ok : OperationOutcome.Conflict;
    }

    private void Append(Operation write, Observation? state)
    {
        long revision = _next++;
        long created = write.Kind == OperationKind.Create || state is null ? revision : state.Value.CreateRevision;
        if (_log.Count > 30 && Slip(Bug.RevisionOlderThanKnown, 0.02)) (revision, _log[^20]) = (_log[^20].Revision, _log[^20] with { Revision = revision });
        Push(new Observation(write.Key, (AppendKind)write.Kind, revision, created, write.Value));
        if (write.LeaseSeconds > 0) _leased[write.Key] = write;
    }

    private void Push(Observation change) => _log.Add(change);

    private Observation Entry(Observation state)
    {
        if (Slip(Bug.TornValue, 0.01)) state = state with { Value = null };
        if (Slip(Bug.ValueOfAnotherKey, 0.01)) state = state with { Value = "nobody's" };
        if (Slip(Bug.WrongCreateRevision, 0.02)) state = state with { CreateRevision = state.CreateRevision - 1 };
        return state with { Kind = state.CreateRevision == state.Revision ? AppendKind.Create : AppendKind.Update };
    }

    private void DistortList(List<Observation> entries, Operation read)
    {
        if (_eaten.Count > 0) entries.RemoveAll(entry => _eaten.Contains(entry.Key));
        if (entries.Count > 0 && Slip(Bug.ListMissesKey, 0.1)) entries.RemoveAt(random.Next(entries.Count));
        if (read.AtRevision == 0 || entries.Count == 0) return;
        int index = random.Next(entries.Count);
        if (StateOf(entries[index].Key, CurrentRevision) is { Kind: not AppendKind.Delete } newer && newer.Revision > read.AtRevision && Slip(Bug.ListMixesRevisions, 1))
        {
            entries[index] = newer with { Kind = newer.CreateRevision == newer.Revision ? AppendKind.Create : AppendKind.Update };
        }
    }

    private IEnumerable<string> Keys() => _log.Select(change => change.Key).Distinct();

    private Observation? StateOf(string key, long revision)
    {
        for (int i = _log.Count - 1; i >= 0; i--)
        {
            if (_log[i].Key == key && _log[i].Revision <= revision) return _log[i];
        }
        return null;
    }

    private bool Slip(Bug which, double chance)
    {
        if (bug != which || random.NextDouble() >= chance) return false;
        Slips++;
        return true;
    }
}
