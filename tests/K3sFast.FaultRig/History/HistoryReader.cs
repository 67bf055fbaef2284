using System.Globalization;

namespace K3sFast.FaultRig.History;

/// <summary>Reads the lines of one process's <see cref="HistoryWriter"/> into a history that outlives the process. One thread.</summary>
internal sealed class HistoryReader(OperationHistory history)
{
    private readonly Dictionary<int, Operation> _operations = [];
    private readonly Dictionary<int, WatchRecord> _watches = [];

    private int _answeredReads;
    private int _answeredWrites;

    /// <summary>Reads and writes that were answered so far. Any thread.</summary>
    public int AnsweredReads => Volatile.Read(ref _answeredReads);

    public int AnsweredWrites => Volatile.Read(ref _answeredWrites);

    /// <summary>Reads a line; false = it is no part of the history.</summary>
    public bool TryRead(string line)
    {
        if (line.Length < 2 || line[1] != '\t') return false;
        string[] words = line.Split('\t');
        switch (words[0])
        {
            case "i":
                ReadCall(words);
                return true;
            case "c":
                var operation = _operations[Int(words[1])];
                (operation.Outcome, operation.Revision) = ((OperationOutcome)Int(words[2]), Long(words[3]));
                // An error that says nothing of the outcome: the write may still happen for as long as the process lives.
                if (operation.Outcome == OperationOutcome.Unknown) return true;
                operation.CompletedAt = Long(words[4]);
                Interlocked.Increment(ref operation.IsWrite ? ref _answeredWrites : ref _answeredReads);
                operation.Entries = words.Length == 5 ? [] : [.. words.AsSpan(5).ToArray().Select(Entry)];
                return true;
            case "w":
                var watch = new WatchRecord { AfterRevision = Long(words[2]), StartedAt = Long(words[3]) };
                _watches.Add(Int(words[1]), watch);
                history.Watches.Add(watch);
                return true;
            case "e":
                _watches[Int(words[1])].Items.Add(new WatchItem(Entry(words[3]), Long(words[2])));
                return true;
            case "p":
                _watches[Int(words[1])].Items.Add(WatchItem.Progress(Long(words[2]), Long(words[3])));
                return true;
            case "x":
                (_watches[Int(words[1])].End, _watches[Int(words[1])].EndedAt) = ((WatchEnd)Int(words[2]), Long(words[3]));
                return true;
            default:
                return false;
        }
    }

    private void ReadCall(string[] words)
    {
        var operation = new Operation
        {
            Kind = (OperationKind)Int(words[2]),
            Key = words[3],
            ExpectedRevision = Long(words[4]),
            Value = words[5],
            LeaseSeconds = Long(words[6]),
            AtRevision = Long(words[7]),
            InvokedAt = Long(words[8]),
        };
        _operations.Add(Int(words[1]), operation);
        history.Operations.Add(operation);
    }

    private static Observation Entry(string text)
    {
        string[] words = text.Split(',');
        return new Observation(words[0], (AppendKind)Int(words[1]), Long(words[2]), Long(words[3]), words[4] == "!" ? null : words[4]);
    }

    private static int Int(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static long Long(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
