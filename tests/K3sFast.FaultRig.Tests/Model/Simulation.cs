using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Tests.Model;

/// <summary>
/// Clients, watchers and crashes over a <see cref="ModelStore"/>, interleaved by one seed on a clock of their own: the same seed is the
/// same history. An operation is called, carried out and answered in three steps that others come between.
/// </summary>
internal sealed class Simulation
{
    private const int Clients = 6;
    private const int Watchers = 3;
    private const int Keys = 8;

    private readonly Random _random;
    private readonly ModelStore _store;
    private readonly OperationHistory _history = new();
    private readonly (Operation Operation, bool IsDone)?[] _pending = new (Operation, bool)?[Clients];
    private readonly WatchRecord[] _watches = new WatchRecord[Watchers];
    private readonly long[] _positions = new long[Watchers];
    private readonly Dictionary<string, long> _known = [];
    private long _now = 1;
    private int _values;

    private Simulation(Bug bug, int seed)
    {
        _random = new Random(seed);
        _store = new ModelStore(bug, _random);
    }

    /// <summary>Runs a history; tells how often the bug showed.</summary>
    public static (OperationHistory History, int Slips) Run(Bug bug, int seed, int steps = 4_000)
    {
        var simulation = new Simulation(bug, seed);
        for (int i = 0; i < Watchers; i++) simulation.StartWatch(i, after: 1);
        for (int step = 0; step < steps; step++) simulation.Step();
        simulation.Finish();
        return (simulation._history, simulation._store.Slips);
    }

    private void Step()
    {
        // Leases are in seconds: now and then a lot of time passes.
        _now += _random.Next(1000) == 0 ? 20_000_000_000 : 1;
        int die = _random.Next(1000);
        if (die < 4) Crash();
        else if (die < 150) Show(_random.Next(Watchers));
        else if (die < 160) _store.ExpireOne(_now);
        else Advance(_random.Next(Clients));
    }

    private void Advance(int client)
    {
        if (_pending[client] is not { } pending)
        {
            var call = Call();
            _history.Operations.Add(call);
            _pending[client] = (call, false);
        }
        else if (!pending.IsDone)
        {
            CarryOut(pending.Operation, isUnanswered: false);
            _pending[client] = (pending.Operation, true);
        }
        else
        {
            pending.Operation.CompletedAt = _now;
            Learn(pending.Operation);
            _pending[client] = null;
        }
    }

    private void CarryOut(Operation operation, bool isUnanswered)
    {
        if (operation.IsWrite) _store.Write(operation, isUnanswered);
        else _store.Read(operation);
    }

    private Operation Call()
    {
        string key = $"/k/{_random.Next(Keys)}";
        long known = _known.GetValueOrDefault(key);
        int die = _random.Next(100);
        if (die < 12) return Make(OperationKind.List, "/k/", _random.Next(2) == 0 ? 0 : Math.Max(1, _store.CurrentRevision - _random.Next(40)));
        if (die < 25) return Make(OperationKind.Get, key, 0);
        if (die < 26) return Make(OperationKind.Compact, "", Math.Max(1, _store.CurrentRevision - 20 - _random.Next(40)));
        if (known == 0 || die < 32) return Write(OperationKind.Create, key, 0);
        return Write(die < 45 ? OperationKind.Delete : OperationKind.Update, key, known);
    }

    private Operation Make(OperationKind kind, string key, long at) => new() { Kind = kind, Key = key, AtRevision = at, InvokedAt = _now };

    private Operation Write(OperationKind kind, string key, long expected) => new()
    {
        Kind = kind,
        Key = key,
        ExpectedRevision = expected,
        Value = kind == OperationKind.Delete ? "" : $"v{_values++}",
        LeaseSeconds = kind == OperationKind.Create && _random.Next(5) == 0 ? 10 : 0,
        InvokedAt = _now,
    };

    private void Learn(Operation answered)
    {
        if (answered is { IsWrite: true, Outcome: OperationOutcome.Ok }) _known[answered.Key] = answered.Kind == OperationKind.Delete ? 0 : answered.Revision;
        else if (answered.IsWrite || answered is { Kind: OperationKind.Get, Entries.Count: 0 }) _known[answered.Key] = 0;
        foreach (var entry in answered.Entries) _known[entry.Key] = entry.Revision;
    }

    private void Show(int index)
    {
        var watch = _watches[index];
        if (watch.End != WatchEnd.None) return;
        Operation? uncommitted = null;
        foreach (var pending in _pending)
        {
            if (pending is { IsDone: false, Operation: { Kind: OperationKind.Create } create }) uncommitted = create;
        }
        foreach (var change in _store.Changes(_positions[index], 1 + _random.Next(8), uncommitted))
        {
            watch.Items.Add(new WatchItem(change, _now));
            _positions[index] = Math.Max(_positions[index], change.Revision);
        }
        if (_random.Next(4) == 0)
        {
            long promised = _store.PromiseAt(_positions[index]);
            watch.Items.Add(WatchItem.Progress(promised, _now));
            _positions[index] = promised;
        }
    }

    private void StartWatch(int index, long after)
    {
        _watches[index] = new WatchRecord { AfterRevision = after, StartedAt = _now };
        _history.Watches.Add(_watches[index]);
        _positions[index] = _store.StartOf(after);
        if (after < _store.CompactRevision)
        {
            (_watches[index].End, _watches[index].EndedAt) = (WatchEnd.Compacted, _now + 1);
            _now += 2;
            StartWatch(index, _store.CompactRevision);
        }
    }

    /// <summary>What was called may still be carried out; nobody is answered.</summary>
    private void Crash()
    {
        for (int client = 0; client < Clients; client++)
        {
            if (_pending[client] is not { } pending) continue;
            if (!pending.IsDone && _random.Next(2) == 0) CarryOut(pending.Operation, isUnanswered: true);
            pending.Operation.Outcome = OperationOutcome.Unknown;
            pending.Operation.Revision = 0;
            pending.Operation.Entries = [];
            _pending[client] = null;
        }
        _now++;
        _history.EndLife(_now);
        _now++;
        _store.Crash();
        for (int i = 0; i < Watchers; i++) StartWatch(i, i == 0 ? _store.CompactRevision : _positions[i]);
    }

    private void Finish()
    {
        Crash();
        for (int i = 0; i < 600; i++) Show(i % Watchers);
        var list = Make(OperationKind.List, "/k/", 0);
        _history.Operations.Add(list);
        _now++;
        _store.Read(list);
        list.CompletedAt = ++_now;
    }
}
