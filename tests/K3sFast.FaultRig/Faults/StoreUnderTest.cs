using System.Diagnostics;
using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Faults;

/// <summary>One store over many lives, and its one history.</summary>
internal sealed class StoreUnderTest(string path, int seed, string engine = "sqlite")
{
    // The product's, and such that even a short life's log begins anew under writers that never pause.
    private static readonly int[] s_logPages = [16 * 1024, 300, 1200];

    private readonly Random _random = new(seed);
    private int _lives;
    private int _watchesBefore;

    public OperationHistory History { get; } = new();

    public string Path => path;

    /// <summary>What the clients do; each life gets its own name and seed.</summary>
    public WorkloadOptions Workload { get; set; } = new() { Life = "" };

    /// <summary>What children complained of besides.</summary>
    public List<string> Complaints { get; } = [];

    public int Lives => _lives;

    /// <summary>Begins a life: its watches go on from where those of the last one were, and from anywhere.</summary>
    public StoreLife Begin(IReadOnlyDictionary<string, string>? environment = null)
    {
        var workload = Workload with { Life = $"L{_lives}", Seed = _random.Next() };
        // Two lives in three flush as on a slow medium, whose ways are the more.
        var arguments = ChildArguments.Write(engine, path, isFlushedBeside: _random.Next(3) > 0, s_logPages[_random.Next(s_logPages.Length)], Resume(), workload);
        _lives++;
        _watchesBefore = History.Watches.Count;
        return new StoreLife(History, environment ?? new Dictionary<string, string>(), arguments);
    }

    /// <summary>The life is over, however it came.</summary>
    public async Task EndAsync(StoreLife life)
    {
        await life.EndAsync().ConfigureAwait(false);
        History.EndLife(Stopwatch.GetTimestamp());
        Complaints.AddRange(life.Complaints);
    }

    /// <summary>A last life that ends in order, without writers; then the verdict.</summary>
    public async Task<Verdict> JudgeAsync(CheckerOptions? options = null)
    {
        Workload = Workload with { Writers = 0, Readers = 0 };
        await using (var last = Begin())
        {
            if (!await last.Opened.ConfigureAwait(false)) Complaints.Add($"did not open at the end: {last.Refusal}");
            await last.StopAsync().ConfigureAwait(false);
            await EndAsync(last).ConfigureAwait(false);
        }
        return HistoryChecker.Check(History, options);
    }

    private List<long> Resume()
    {
        var positions = new List<long>();
        for (int i = History.Watches.Count - 1; i >= _watchesBefore && positions.Count < 2; i--)
        {
            if (History.Watches[i].Items is { Count: > 0 } items) positions.Add(items[^1].Change.Revision);
        }
        long newest = History.NewestRevision;
        if (newest > 2) positions.Add(Math.Max(1, newest - _random.NextInt64(Math.Min(newest, 500))));
        return positions.Count == 0 ? [1] : positions;
    }
}
