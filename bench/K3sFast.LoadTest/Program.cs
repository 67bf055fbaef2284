using K3sFast.LoadTest;

// Usage: K3sFast.LoadTest <kubeconfig> [--pid N] [--scenarios create,get,list,watch,pods] [--out results.json]
// Loads a server that is already running; every load is bounded in count and time. Start-up is measured by bench/start.sh.
if (args.Length == 0)
{
    Console.Error.WriteLine("usage: K3sFast.LoadTest <kubeconfig> [--pid SERVER] [--scenarios create,get,list,watch,pods] [--seconds N] [--out FILE]");
    return 2;
}
var options = LoadOptions.Parse(args);
using var api = ApiConnection.FromKubeconfig(options.Kubeconfig);
var report = new Report(options);
foreach (var scenario in options.Scenarios)
{
    switch (scenario)
    {
        case "create": await WriteScenarios.CreateAsync(api, report, options); break;
        case "get": await ReadScenarios.GetAsync(api, report, options); break;
        case "list": await ReadScenarios.ListAsync(api, report, options); break;
        case "watch": await WatchScenario.RunAsync(api, report, options); break;
        case "pods": await PodScenario.RunAsync(api, report, options); break;
        default:
            Console.Error.WriteLine($"no scenario named {scenario}");
            return 2;
    }
}
report.Write(Console.Out);
if (options.Out is { } path) await File.WriteAllTextAsync(path, report.ToJson());
return report.HasFailed ? 1 : 0;
