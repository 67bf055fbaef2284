using K3sFast.LoadTest;

// Loads a server that is already running; every load is bounded in count and time. Two servers are compared by bench/compare.sh, which runs this.
const string Usage = """
    usage: K3sFast.LoadTest KUBECONFIG [--pid N,N] [--scenarios create,get,...] [--seconds N] [--scale X] [--out FILE]
           K3sFast.LoadTest started KUBECONFIG FILE [--out FILE]
           K3sFast.LoadTest compare OURS PEER MACHINE OUT ours-1.json peer-1.json [ours-2.json peer-2.json ...]
    scenarios: create update steady-create read-after-write get steady-get list list-many watch idle-watches growth idle fill pods
    """;
if (args.Length == 0)
{
    Console.Error.WriteLine(Usage);
    return 2;
}
if (args[0] == "compare") return Compare.Run(args[1..]);
var isStart = args[0] == "started";
var options = LoadOptions.Parse(isStart ? [args[1], .. args[3..]] : args);
using var api = ApiConnection.FromKubeconfig(options.Kubeconfig);
var report = new Report(options);
if (isStart) await StartScenario.AwaitAsync(() => ApiConnection.FromKubeconfig(options.Kubeconfig), report, args[2]);
foreach (var scenario in isStart ? [] : options.Scenarios)
{
    Console.Error.WriteLine($"{DateTime.Now:HH:mm:ss} {scenario}");
    switch (scenario)
    {
        case "create": await WriteScenarios.CreateAsync(api, report, options); break;
        case "update": await WriteScenarios.UpdateAsync(api, report, options); break;
        case "steady-create": await WriteScenarios.SteadyAsync(api, report, options); break;
        case "read-after-write": await WriteScenarios.ReadAfterWriteAsync(api, report, options); break;
        case "get": await ReadScenarios.GetAsync(api, report, options); break;
        case "steady-get": await ReadScenarios.SteadyAsync(api, report, options); break;
        case "list": await ReadScenarios.ListAsync(api, report, options); break;
        case "list-many": await ReadScenarios.ListManyAsync(api, report, options); break;
        case "watch": await WatchScenario.RunAsync(api, report, options); break;
        case "idle-watches": await MemoryScenarios.IdleWatchesAsync(api, report, options); break;
        case "growth": await MemoryScenarios.GrowthAsync(api, report, options); break;
        case "idle": await MemoryScenarios.IdleAsync(report, options); break;
        case "fill": await StartScenario.FillAsync(api, options); break;
        case "pods": await PodScenario.RunAsync(api, report, options); break;
        default:
            Console.Error.WriteLine($"no scenario named {scenario}\n{Usage}");
            return 2;
    }
}
report.Write(Console.Out);
if (options.Out is { } path) report.Save(path);
return report.HasFailed ? 1 : 0;
