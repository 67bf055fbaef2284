using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Checking;

/// <summary>What the store under judgement promises beyond the laws.</summary>
/// <param name="AreRevisionsDense">Every revision from the first to the last is a change that the history may know of.</param>
/// <param name="MayExpire">History may be refused without a compaction that the clients asked for (a cache that starts anew).</param>
internal sealed record CheckerOptions(bool AreRevisionsDense = true, bool MayExpire = false)
{
    /// <summary>The first change's revision.</summary>
    public long FirstRevision { get; init; } = 2;
}

/// <summary>
/// Judges a history: is there one order of all operations, the order of revisions, that respects real time and explains every answer
/// (linearizability), and did every watch show exactly the log?
/// </summary>
/// <remarks>
/// Revisions name the order of writes, so no search is needed. An operation that tells no revision (a refusal, a get) may stand
/// anywhere between the newest revision known before its call and the oldest that was asked for after its answer; taking the
/// lowest place that explains its answer, in the order of answers, leaves all others the most room, so the judgement is exact.
/// Costs O(n log n) plus the size of all lists.
/// </remarks>
internal sealed class HistoryChecker
{
    private readonly OperationHistory _history;
    private readonly CheckerOptions _options;
    private readonly Verdict _verdict = new();
    private readonly ChangeLog _log;

    private HistoryChecker(OperationHistory history, CheckerOptions options)
    {
        _history = history;
        _options = options;
        _log = new ChangeLog(history, _verdict);
    }

    /// <summary>Judges a history.</summary>
    public static Verdict Check(OperationHistory history, CheckerOptions? options = null)
    {
        var checker = new HistoryChecker(history, options ?? new CheckerOptions());
        checker.CheckDensity();
        new OrderCheck(checker._log, history, checker._verdict).Run();
        new WatchCheck(checker._log, checker._verdict).Run(history.Watches);
        checker.CheckCompaction();
        return checker._verdict;
    }

    /// <summary>A revision that nobody can tell of was compacted before anybody was shown it, or was skipped.</summary>
    private void CheckDensity()
    {
        if (!_options.AreRevisionsDense || _log.InOrder.Length == 0) return;
        long compacted = 0;
        foreach (var operation in _history.Operations)
        {
            if (operation.Kind == OperationKind.Compact) compacted = Math.Max(compacted, operation.AtRevision);
        }
        long expected = _options.FirstRevision;
        foreach (var change in _log.InOrder)
        {
            long first = expected, last = change.Revision - 1;
            expected = change.Revision + 1;
            if (first > last || (last <= compacted && !WasWatched(first, last))) continue;
            _verdict.Add(Law.RevisionsAreInOrder, $"no change has revisions {first} to {last}");
        }
    }

    private bool WasWatched(long first, long last)
    {
        foreach (var watch in _history.Watches)
        {
            if (watch.AfterRevision < first && watch.Items.Count > 0 && watch.Items[^1].Change.Revision > last) return true;
        }
        return false;
    }

    private void CheckCompaction()
    {
        var compactions = _history.Operations.Where(operation => operation.Kind == OperationKind.Compact).ToList();
        foreach (var read in _history.Operations)
        {
            if (read.AtRevision == 0 || read.Kind is not OperationKind.Get and not OperationKind.List) continue;
            if (read.Outcome == OperationOutcome.Compacted) CheckRefused(read.AtRevision, read.CompletedAt, $"{read}");
            else if (read.Outcome == OperationOutcome.Ok) CheckServed(read.AtRevision, read.InvokedAt, $"{read}");
        }
        foreach (var watch in _history.Watches)
        {
            if (watch.End == WatchEnd.Compacted) CheckRefused(watch.AfterRevision, watch.EndedAt, $"watch after {watch.AfterRevision}");
            else if (watch.Items.Count > 0) CheckServed(watch.AfterRevision, watch.StartedAt, $"watch after {watch.AfterRevision}");
        }

        void CheckRefused(long revision, long answeredAt, string what)
        {
            if (_options.MayExpire || compactions.Exists(compaction => compaction.InvokedAt < answeredAt && compaction.AtRevision > revision)) return;
            _verdict.Add(Law.CompactionIsHonest, $"{what} was refused and nobody had compacted");
        }

        void CheckServed(long revision, long askedAt, string what)
        {
            // A crash may take a compaction back, and with it all that it had taken away.
            long begin = _history.LifeEnds.FindLast(end => end < askedAt);
            if (!compactions.Exists(done => done.Outcome == OperationOutcome.Ok && done.CompletedAt > begin && done.CompletedAt < askedAt && done.AtRevision > revision)) return;
            _verdict.Add(Law.CompactionIsHonest, $"{what} was served after compaction");
        }
    }
}
