using System.Globalization;

namespace K3sFast.FaultRig.Children;

/// <summary>What a parent tells its child at the start: pairs of <c>--name value</c>.</summary>
internal sealed class ChildArguments
{
    public ChildArguments(IReadOnlyList<string> args)
    {
        Workload = new WorkloadOptions { Life = "0" };
        for (int i = 0; i + 1 < args.Count; i += 2) Read(args[i], args[i + 1]);
    }

    public string Engine { get; private set; } = "sqlite";

    public string Path { get; private set; } = "";

    /// <summary>True = the log is flushed beside the writer, several flushes at once, as on a slow medium.</summary>
    public bool IsFlushedBeside { get; private set; }

    /// <summary>Pages of the log from which on writes are held back until it begins anew.</summary>
    public int MaxLogPages { get; private set; } = 16 * 1024;

    /// <summary>Revisions after which watches go on.</summary>
    public IReadOnlyList<long> Resume { get; private set; } = [];

    public WorkloadOptions Workload { get; private set; }

    /// <summary>The same as a command line.</summary>
    public static string[] Write(string engine, string path, bool isFlushedBeside, int maxLogPages, IEnumerable<long> resume, WorkloadOptions workload) =>
    [
        "child", "--engine", engine, "--path", path, "--beside", $"{isFlushedBeside}", "--log", Text(maxLogPages), "--resume", string.Join(',', resume), "--life", workload.Life,
        "--seed", Text(workload.Seed), "--writers", Text(workload.Writers), "--readers", Text(workload.Readers), "--keys", Text(workload.Keys), "--value", Text(workload.MaxValueBytes),
        "--compactions", Text(workload.Compactions), "--leased", Text(workload.Leased), "--lease", Text(workload.LeaseSeconds), "--pause", Text((long)workload.Pause.TotalMilliseconds),
        "--history", Text(workload.HistoryBytes),
    ];

    private void Read(string name, string value)
    {
        switch (name)
        {
            case "--engine": Engine = value; break;
            case "--path": Path = value; break;
            case "--log": MaxLogPages = Int(value); break;
            case "--beside": IsFlushedBeside = bool.Parse(value); break;
            case "--resume": Resume = [.. value.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(long.Parse)]; break;
            case "--life": Workload = Workload with { Life = value }; break;
            case "--seed": Workload = Workload with { Seed = Int(value) }; break;
            case "--writers": Workload = Workload with { Writers = Int(value) }; break;
            case "--readers": Workload = Workload with { Readers = Int(value) }; break;
            case "--keys": Workload = Workload with { Keys = Int(value) }; break;
            case "--value": Workload = Workload with { MaxValueBytes = Int(value) }; break;
            case "--compactions": Workload = Workload with { Compactions = Int(value) }; break;
            case "--leased": Workload = Workload with { Leased = Int(value) }; break;
            case "--lease": Workload = Workload with { LeaseSeconds = Int(value) }; break;
            case "--history": Workload = Workload with { HistoryBytes = Int(value) }; break;
            case "--pause": Workload = Workload with { Pause = TimeSpan.FromMilliseconds(Int(value)) }; break;
            default: throw new ArgumentException($"there is no argument {name}", nameof(name));
        }
    }

    private static int Int(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
