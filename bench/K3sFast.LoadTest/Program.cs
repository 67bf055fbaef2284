using K3sFast.LoadTest;

// Loads a server that is already running; every load is bounded in count and time. Two servers are compared by bench/compare.sh, which runs this.
const string Usage = """
    usage: K3sFast.LoadTest KUBECONFIG [--pid N,N] [--scenarios create,get,...] [--seconds N] [--scale X] [--out FILE] [--keep true]
           K3sFast.LoadTest started KUBECONFIG FILE [--out FILE]
           K3sFast.LoadTest compare OURS PEER MACHINE OUT ours-1.json peer-1.json [ours-2.json peer-2.json ...]
    scenarios: create update steady-create read-after-write get steady-get list list-many watch idle-watches growth idle fill pods dns-follow
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
else await api.WaitReadyAsync();
foreach (var scenario in isStart ? [] : options.Scenarios)
{
    Console.Error.WriteLine($"{DateTime.Now:HH:mm:ss} {scenario}");
    if (LoadOf(scenario) is not { } load)
    {
        Console.Error.WriteLine($"no scenario named {scenario}\n{Usage}");
        return 2;
    }
    try
    {
        // What an earlier load left is nobody's.
        if (scenario != "idle") await Objects.ResetNamespaceAsync(api);
        await load();
    }
    catch (Exception failure) when (failure is HttpRequestException or IOException or OperationCanceledException or InvalidOperationException)
    {
        // A server that does not bear a load is a result; what was measured until then stays.
        report.Fail($"{scenario}: {failure.Message}");
    }
}
if (!options.Keeps && !isStart && options.Scenarios[^1] is not ("idle" or "fill")) await Objects.ResetNamespaceAsync(api);
report.Write(Console.Out);
if (options.Out is { } path) report.Save(path);
return report.HasFailed ? 1 : 0;

Func<Task>? LoadOf(string scenario) => scenario switch
{
    "create" => () => WriteScenarios.CreateAsync(api, report, options),
    "update" => () => WriteScenarios.UpdateAsync(api, report, options),
    "steady-create" => () => WriteScenarios.SteadyAsync(api, report, options),
    "read-after-write" => () => WriteScenarios.ReadAfterWriteAsync(api, report, options),
    "get" => () => ReadScenarios.GetAsync(api, report, options),
    "steady-get" => () => ReadScenarios.SteadyAsync(api, report, options),
    "list" => () => ReadScenarios.ListAsync(api, report, options),
    "list-many" => () => ReadScenarios.ListManyAsync(api, report, options),
    "watch" => () => WatchScenario.RunAsync(api, report, options),
    "idle-watches" => () => MemoryScenarios.IdleWatchesAsync(api, report, options),
    "growth" => () => MemoryScenarios.GrowthAsync(api, report, options),
    "idle" => () => MemoryScenarios.IdleAsync(report, options),
    "fill" => () => StartScenario.FillAsync(api, options),
    "pods" => () => PodScenario.RunAsync(api, report, options),
    "dns-follow" => () => DnsScenario.RunAsync(api, report, options),
    _ => null,
};
