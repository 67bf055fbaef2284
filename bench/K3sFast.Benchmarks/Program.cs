using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Exporters.Json;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;

// Usage: dotnet run -c Release -- --filter '*PodCodec*' [--short]
// --short: few iterations in this very process, for a first look; without it each class is built and run apart (start it inside the repository).
//        dotnet run -c Release -- store [--seconds N] [--directory D] [--json FILE]: durable writes of many writers against kine's shape, see StoreComparison;
//            with --maintenance only what compaction and giving back pages cost writers, see MaintenanceUnderLoad.
//        sudo dotnet run -c Release -- network [--rounds N]: how soon packets follow policies and nodes, see NetworkMeasurements.
//        dotnet run -c Release -- start [--objects N] [--pods]: until the caches of a big store show everything, and what an object costs then, see CacheStart.
//        sudo dotnet run -c Release -- services [--rounds N]: connections through Services and their programming, both back ends, see ServiceMeasurements.
//        dotnet run -c Release -- hostile [NAME-PART]: time and bytes that refusing a hostile body takes, see HostileRequests.
//        dotnet run -c Release -- streams [--streams N]: what an idle watch costs above Kestrel's stream, see IdleStreams.
//        dotnet run -c Release -- dns [--port N] [--services N] [--threads N] [--queries FILE]: the cluster's DNS alone, for dnsperf, see bench/dns.sh.
//        dotnet run -c Release -- dns-client --queries FILE [--server A:P] [--rate N] [--seconds N]: how long any name server's answers take, see DnsPacedClient.
// Every class of this assembly runs with this one configuration: workstation, non-concurrent collector, allocated bytes shown, JSON results.
internal static class Program
{
    private static int Main(string[] arguments)
    {
        if (arguments is ["store", ..]) return K3sFast.Benchmarks.StoreComparison.RunAsync(arguments).GetAwaiter().GetResult();
        if (arguments is ["network", ..]) return K3sFast.Benchmarks.Network.NetworkMeasurements.RunAsync(arguments).GetAwaiter().GetResult();
        if (arguments is ["start", ..]) return K3sFast.Benchmarks.CacheStart.RunAsync(arguments).GetAwaiter().GetResult();
        if (arguments is ["services", ..]) return K3sFast.Benchmarks.Network.ServiceMeasurements.Run(arguments);
        if (arguments is ["hostile", ..]) return K3sFast.Benchmarks.HostileRequests.RunAsync(arguments).GetAwaiter().GetResult();
        if (arguments is ["streams", ..]) return K3sFast.Benchmarks.IdleStreams.RunAsync(arguments).GetAwaiter().GetResult();
        if (arguments is [K3sFast.Benchmarks.IdleStreams.ServerMode, var kind, var clientFile]) return K3sFast.Benchmarks.IdleStreams.ServeAsync(kind, clientFile).GetAwaiter().GetResult();
        if (arguments is ["dns", ..]) return K3sFast.Benchmarks.Dns.DnsUnderLoad.Run(arguments);
        if (arguments is ["dns-client", ..]) return K3sFast.Benchmarks.Dns.DnsPacedClient.Run(arguments);
        var isShort = arguments.Contains("--short");
        var job = (isShort ? Job.ShortRun.WithToolchain(new InProcessEmitToolchain(new())) : Job.Default).WithGcServer(false).WithGcConcurrent(false);
        var config = ManualConfig.CreateEmpty()
            .AddJob(job)
            .AddLogger(ConsoleLogger.Default)
            .AddColumnProvider(DefaultColumnProviders.Instance)
            .AddDiagnoser(MemoryDiagnoser.Default)
            .AddExporter(JsonExporter.Full);
        var summaries = BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run([.. arguments.Where(argument => argument != "--short")], config);
        return summaries.Any(summary => summary.HasCriticalValidationErrors) ? 1 : 0;
    }
}
