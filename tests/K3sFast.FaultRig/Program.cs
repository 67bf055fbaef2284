using System.Globalization;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.Scenarios;
using K3sFast.FaultRig.Servers;

// The fault rig: hits a store with faults under load and judges what its clients saw.
//   K3sFast.FaultRig [--kills N] [--cuts N] [--kine-cuts N] [--others N] [--servers N] [--seed N]
// --servers: kills and power cuts of the whole API server ($K3SFAST_BINARY, or artifacts/bin/k3sfast), and kills of two and three that share a database.
// A line per kind of fault; exit code 1 = something was lost, seen twice, or served wrong. "child ..." is the process that is hit.
if (args is ["child", ..]) return await StoreChild.RunAsync(args[1..]);
int Number(string name, int otherwise) => Array.IndexOf(args, name) is var at and >= 0 ? int.Parse(args[at + 1], CultureInfo.InvariantCulture) : otherwise;
int kills = Number("--kills", 500), cuts = Number("--cuts", 500), kineCuts = Number("--kine-cuts", 100), others = Number("--others", 5), servers = Number("--servers", 0), seed = Number("--seed", Environment.TickCount);
if (FaultFileSystem.Absence is { } absence)
{
    await Console.Error.WriteLineAsync(absence);
    return 2;
}
Console.WriteLine($"seed {seed}");
await using var files = await FaultFileSystem.MountAsync();
var process = new ProcessFaults(files, seed);
var medium = new MediumFaults(files, seed);
bool isClean = true;
if (kills > 0) await RunAsync(process.KillAsync(kills));
if (cuts > 0) await RunAsync(medium.PowerCutAsync(cuts));
if (others > 0)
{
    await RunAsync(process.FailPointsAsync(others));
    await RunAsync(process.StopAndContinueAsync(others, TimeSpan.FromSeconds(2)));
    await RunAsync(process.JumpClockAsync(others));
    await RunAsync(medium.FailAsync(FileOperation.Write, FaultFileSystem.InputOutputError, Enumerable.Range(1, others * 5)));
    await RunAsync(medium.FailAsync(FileOperation.Sync, FaultFileSystem.InputOutputError, Enumerable.Range(1, others * 5)));
    await RunAsync(medium.FailAsync(FileOperation.Write, FaultFileSystem.NoSpace, Enumerable.Range(1, others * 5)));
    await RunAsync(medium.FullAsync(others));
    await RunAsync(medium.StallAsync(others));
    await RunAsync(medium.FlipBitsAsync(others * 10));
    await RunAsync(medium.FlipLogBitsAsync(others * 10));
}
if (others > 0)
{
    foreach (var (name, absent, startAsync) in RemoteStores.All)
    {
        if (absent is not null)
        {
            Console.WriteLine($"{name}: not run, {absent}");
            continue;
        }
        await using var remote = await startAsync();
        await RunAsync(new NetworkFaults(seed).RunAsync(remote.Store, others * 4));
    }
}
if (servers > 0)
{
    var server = new ServerFaults(files, ServerFaults.Binary, seed);
    await RunAsync(server.RunAsync(servers, withPowerCuts: false));
    await RunAsync(server.RunAsync(servers, withPowerCuts: true));
    foreach (var (name, absent, startAsync) in RemoteStores.All)
    {
        if (absent is not null)
        {
            Console.WriteLine($"{name}: not run, {absent}");
            continue;
        }
        foreach (int count in (int[])[2, 3])
        {
            await using var remote = await startAsync();
            await RunAsync(new SharedServerFaults(ServerFaults.Binary, seed).RunAsync(remote, count, servers));
        }
    }
}
if (kineCuts > 0) await RunAsync(medium.PowerCutOfKineAsync(kineCuts));
return isClean ? 0 : 1;

async Task RunAsync(Task<Outcome> running)
{
    var outcome = await running.ConfigureAwait(false);
    Console.WriteLine(outcome);
    foreach (string finding in outcome.Findings) Console.WriteLine($"  {finding}");
    isClean &= outcome.IsClean;
}
