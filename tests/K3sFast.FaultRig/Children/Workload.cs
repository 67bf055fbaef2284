using System.Collections.Concurrent;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Children;

/// <summary>What the clients of one life do.</summary>
internal sealed record WorkloadOptions
{
    /// <summary>Names the values of this life; no other life of the history has it.</summary>
    public required string Life { get; init; }

    public int Seed { get; init; } = 1;

    public int Writers { get; init; } = 8;

    /// <summary>Clients that only read.</summary>
    public int Readers { get; init; } = 1;

    /// <summary>Few keys, so that writers meet.</summary>
    public int Keys { get; init; } = 40;

    public string Prefix { get; init; } = "/fault/";

    public int MaxValueBytes { get; init; } = 6_000;

    /// <summary>In a thousand operations.</summary>
    public int Compactions { get; init; } = 4;

    /// <summary>Creates with a lease, in a hundred.</summary>
    public int Leased { get; init; } = 5;

    public long LeaseSeconds { get; init; } = 2;

    /// <summary>
    /// Not zero = all values are large, and whenever so many bytes have been written all writers wait until all history is compacted: so much at once leaves free pages that
    /// are given back, and the log a moment to end and begin anew.
    /// </summary>
    public int HistoryBytes { get; init; }

    /// <summary>Between two operations of one writer.</summary>
    public TimeSpan Pause { get; init; }
}

/// <summary>
/// Writers that meet on few keys, conditional on what they last heard of each, and readers of now and of the past; everything goes
/// through the <see cref="HistoryWriter"/>.
/// </summary>
internal sealed class Workload(IDatastore store, HistoryWriter history, WorkloadOptions options)
{
    private static readonly TimeSpan s_rest = TimeSpan.FromMilliseconds(50);

    private readonly ConcurrentDictionary<string, long> _known = new();
    private readonly SemaphoreSlim _turn = new(1);
    private int _values;
    private long _bytes;

    /// <summary>Runs until stopped.</summary>
    public Task RunAsync(CancellationToken stop) => Task.WhenAll(
    [
        .. Enumerable.Range(0, options.Writers).Select(writer => Task.Run(() => ActUntilStoppedAsync(writer, stop), CancellationToken.None)),
        .. Enumerable.Range(0, options.Readers).Select(_ => Task.Run(() => ReadUntilStoppedAsync(stop), CancellationToken.None)),
    ]);

    /// <summary>Reads all keys as they are; returns the revision that was shown, 0 = it failed.</summary>
    public Task<long> ListAsync() => ReadAsync(OperationKind.List, options.Prefix, 0);

    /// <summary>Hears of a key's present revision; 0 = absent.</summary>
    public void Hear(string key, long revision) => _known[key] = revision;

    private async Task ActUntilStoppedAsync(int writer, CancellationToken stop)
    {
        var random = new Random(HashCode.Combine(options.Seed, writer, options.Life));
        while (!stop.IsCancellationRequested)
        {
            await ActAsync(random).ConfigureAwait(false);
            if (options.HistoryBytes > 0) await ForgetMuchAsync().ConfigureAwait(false);
            if (options.Pause > TimeSpan.Zero) await Task.Delay(options.Pause, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private async Task ReadUntilStoppedAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            await ListAsync().ConfigureAwait(false);
            await Task.Delay(20, CancellationToken.None).ConfigureAwait(false);
        }
    }

    private async Task ForgetMuchAsync()
    {
        if (Interlocked.Read(ref _bytes) < options.HistoryBytes) return;
        await _turn.WaitAsync().ConfigureAwait(false);
        try
        {
            // The first does it, the others find it done.
            if (Interlocked.Read(ref _bytes) < options.HistoryBytes) return;
            await CompactAsync(store.CurrentRevision).ConfigureAwait(false);
            // Pages are given back, and the log ends, while nobody writes.
            await Task.Delay(s_rest, CancellationToken.None).ConfigureAwait(false);
            Interlocked.Exchange(ref _bytes, 0);
        }
        finally
        {
            _turn.Release();
        }
    }

    private Task ActAsync(Random random)
    {
        string key = $"{options.Prefix}{random.Next(options.Keys):d3}";
        long known = _known.GetValueOrDefault(key);
        int die = random.Next(1000);
        if (die < options.Compactions) return CompactAsync(Math.Max(1, store.CurrentRevision - random.Next(200)));
        return die switch
        {
            < 30 => ReadAsync(OperationKind.List, options.Prefix, 0),
            < 60 => ReadAsync(OperationKind.List, options.Prefix, Math.Max(1, store.CurrentRevision - random.Next(300))),
            < 160 => ReadAsync(OperationKind.Get, key, 0),
            // An expectation that is long out of date, or of a key that is not there.
            < 190 => WriteAsync(OperationKind.Update, key, Math.Max(2, known - random.Next(100)), random),
            < 220 => WriteAsync(OperationKind.Create, key, 0, random),
            < 300 when known > 0 => WriteAsync(OperationKind.Delete, key, known, random),
            _ => WriteAsync(known > 0 ? OperationKind.Update : OperationKind.Create, key, known, random),
        };
    }

    private async Task WriteAsync(OperationKind kind, string key, long expected, Random random)
    {
        string name = kind == OperationKind.Delete ? "" : $"{options.Life}.{Interlocked.Increment(ref _values)}";
        byte[] value = kind == OperationKind.Delete ? [] : Payload.Make(name, options.HistoryBytes > 0 || random.Next(4) == 0 ? random.Next(options.MaxValueBytes) : random.Next(600));
        Interlocked.Add(ref _bytes, value.Length);
        long lease = kind == OperationKind.Create && random.Next(100) < options.Leased ? options.LeaseSeconds : 0;
        int id = history.Call(kind, key, expected, name, lease);
        try
        {
            var result = await store.AppendAsync(new AppendRequest(key, expected, value, (AppendKind)kind, lease)).ConfigureAwait(false);
            history.Answer(id, Outcome(result.Outcome), result.Revision);
            if (result.Outcome == AppendOutcome.Committed) Hear(key, kind == OperationKind.Delete ? 0 : result.Revision);
            else if (result.Outcome is AppendOutcome.Conflict or AppendOutcome.NotFound) Hear(key, result.Revision);
            else await Task.Delay(20).ConfigureAwait(false);
        }
        catch (DatastoreException)
        {
            history.Answer(id, OperationOutcome.Unknown, 0);
            await Task.Delay(20).ConfigureAwait(false);
        }
    }

    private async Task<long> ReadAsync(OperationKind kind, string key, long revision)
    {
        int id = history.Call(kind, key, at: revision);
        var seen = new SeenEntries();
        try
        {
            var result = await store.RangeAsync(new RangeRequest(key, revision), seen).ConfigureAwait(false);
            history.Answer(id, OperationOutcome.Ok, result.Revision, seen.Entries);
            if (revision == 0) foreach (var entry in seen.Entries) Hear(entry.Key, entry.Revision);
            if (kind == OperationKind.Get && seen.Entries.Count == 0) Hear(key, 0);
            return result.Revision;
        }
        catch (DatastoreCompactedException)
        {
            history.Answer(id, OperationOutcome.Compacted, 0);
        }
        catch (DatastoreException)
        {
            history.Answer(id, OperationOutcome.Unknown, 0);
            await Task.Delay(20).ConfigureAwait(false);
        }
        return 0;
    }

    private async Task CompactAsync(long revision)
    {
        int id = history.Call(OperationKind.Compact, "", at: revision);
        try
        {
            await store.CompactAsync(revision).ConfigureAwait(false);
            history.Answer(id, OperationOutcome.Ok, 0);
        }
        catch (DatastoreException)
        {
            history.Answer(id, OperationOutcome.Unknown, 0);
        }
    }

    private static OperationOutcome Outcome(AppendOutcome outcome) => outcome switch
    {
        AppendOutcome.Committed => OperationOutcome.Ok,
        AppendOutcome.Conflict => OperationOutcome.Conflict,
        AppendOutcome.NotFound => OperationOutcome.NotFound,
        _ => OperationOutcome.Refused,
    };

    private sealed class SeenEntries : IDatastoreVisitor
    {
        public List<Observation> Entries { get; } = [];

        public void OnEntry(in DatastoreEntry entry) =>
            Entries.Add(new Observation(entry.Key, entry.Kind, entry.Revision, entry.CreateRevision, Payload.NameOf(entry.Value)));
    }
}
