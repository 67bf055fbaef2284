using System.Globalization;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.Scenarios;
using K3sFast.FaultRig.Servers;

// The fault rig: hits a store with faults under load and judges what its clients saw.
//   K3sFast.FaultRig [--kills N] [--cuts N] [--kine-cuts N] [--others N] [--servers N] [--seed N] [--seconds N]
// --servers: kills and power cuts of the whole API server ($K3SFAST_BINARY, or artifacts/bin/k3sfast), and kills of two and three that share a database.
// --seconds: strikes no longer than that; what has run until then is judged and told.
// Faults of the process and of the medium run side by side, each on a medium of its own. A line per kind of fault; exit code 1 = something was lost, seen twice,
// or served wrong. "child ..." is the process that is hit.
if (args is ["child", ..]) return await StoreChild.RunAsync(args[1..]);
int Number(string name, int otherwise) => Array.IndexOf(args, name) is var at and >= 0 ? int.Parse(args[at + 1], CultureInfo.InvariantCulture) : otherwise;
int kills = Number("--kills", 500), cuts = Number("--cuts", 500), kineCuts = Number("--kine-cuts", 100), others = Number("--others", 5), servers = Number("--servers", 0), seed = Number("--seed", Environment.TickCount);
var time = new RigTime(Number("--seconds", 0) is var seconds and > 0 ? TimeSpan.FromSeconds(seconds) : null);
if (FaultFileSystem.Absence is { } absence)
{
    await Console.Error.WriteLineAsync(absence);
    return 2;
}
Console.WriteLine($"seed {seed}");
var printing = new Lock();
bool isClean = true;
await using var files = await FaultFileSystem.MountAsync();
await using var otherFiles = await FaultFileSystem.MountAsync();
await Task.WhenAll(Task.Run(HitProcessesAsync), Task.Run(HitMediumAsync));
if (servers > 0) await HitServersAsync();
return isClean ? 0 : 1;

async Task HitProcessesAsync()
{
    var process = new ProcessFaults(files, seed, time);
    if (kills > 0) await RunAsync("kill -9", () => process.KillAsync(kills));
    if (others == 0) return;
    await RunAsync("kill at fail points", () => process.FailPointsAsync(others));
    await RunAsync("power cut at fail points", () => process.FailPointsAsync(others, withPowerCut: true));
    await RunAsync("SIGSTOP, SIGCONT", () => process.StopAndContinueAsync(others, TimeSpan.FromSeconds(2)));
    await RunAsync("clock jumps", () => process.JumpClockAsync(others));
    foreach (var (name, absent, startAsync) in RemoteStores.All)
    {
        await RunWithAsync(name, absent, async () =>
        {
            await using var remote = await startAsync();
            return await new NetworkFaults(seed, time).RunAsync(remote.Store, others * 4);
        });
    }
}

async Task HitMediumAsync()
{
    var medium = new MediumFaults(otherFiles, seed, time);
    if (cuts > 0) await RunAsync("power cut", () => medium.PowerCutAsync(cuts));
    if (kineCuts > 0) await RunAsync("power cut, kine's settings", () => medium.PowerCutOfKineAsync(kineCuts));
    if (others == 0) return;
    await RunAsync("EIO at writes", () => medium.FailAsync(FileOperation.Write, FaultFileSystem.InputOutputError, Enumerable.Range(1, others * 5)));
    await RunAsync("EIO at flushes", () => medium.FailAsync(FileOperation.Sync, FaultFileSystem.InputOutputError, Enumerable.Range(1, others * 5)));
    await RunAsync("ENOSPC at writes", () => medium.FailAsync(FileOperation.Write, FaultFileSystem.NoSpace, Enumerable.Range(1, others * 5)));
    await RunAsync("file system full", () => medium.FullAsync(others));
    await RunAsync("fsync stall", () => medium.StallAsync(others));
    await RunAsync("flipped bits", () => medium.FlipBitsAsync(others * 10));
    await RunAsync("flipped bits of the log", () => medium.FlipLogBitsAsync(others * 10));
}

async Task HitServersAsync()
{
    var server = new ServerFaults(files, ServerFaults.Binary, seed, time);
    await RunAsync("API server, kill -9", () => server.RunAsync(servers, withPowerCuts: false));
    await RunAsync("API server, power cut", () => server.RunAsync(servers, withPowerCuts: true));
    foreach (var (name, absent, startAsync) in RemoteStores.All)
    {
        foreach (int count in (int[])[2, 3])
        {
            await RunWithAsync($"{count} API servers on {name}", absent, async () =>
            {
                await using var remote = await startAsync();
                return await new SharedServerFaults(ServerFaults.Binary, seed, time).RunAsync(remote, count, servers);
            });
        }
    }
}

async Task RunWithAsync(string fault, string? absent, Func<Task<Outcome>> run)
{
    if (absent is not null) Console.WriteLine($"{fault}: not run, {absent}");
    else await RunAsync(fault, run);
}

async Task RunAsync(string fault, Func<Task<Outcome>> run)
{
    if (time.IsOver)
    {
        Console.WriteLine($"{fault}: not run, the time was over");
        return;
    }
    var outcome = await run().ConfigureAwait(false);
    lock (printing)
    {
        Console.WriteLine(outcome);
        foreach (string finding in outcome.Findings) Console.WriteLine($"  {finding}");
        isClean &= outcome.IsClean;
    }
}
