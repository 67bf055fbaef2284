using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.Servers;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>The whole API server over HTTPS, its data directory on a medium that loses power, its process killed. Clients live through all of it.</summary>
internal sealed class ServerFaults(FaultFileSystem files, string binary, int seed, RigTime? time = null)
{
    private readonly Random _random = new(seed);
    private readonly RigTime _time = time ?? RigTime.Endless;

    /// <summary>The product's binary: of the environment (K3SFAST_BINARY), or where install.sh --build-only puts it.</summary>
    public static string Binary => Environment.GetEnvironmentVariable("K3SFAST_BINARY") is { Length: > 0 } given ? given : Path.Combine(NativeTool.RepositoryRoot(), "artifacts/bin/k3sfast");

    public async Task<Outcome> RunAsync(int strikes, bool withPowerCuts)
    {
        var outcome = new Outcome(withPowerCuts ? "API server, power cut" : "API server, kill -9");
        await files.ResetAsync().ConfigureAwait(false);
        await using var server = new ApiServerProcess(binary, Path.Combine(files.MountPoint, "k3s"));
        var workload = new WorkloadOptions { Life = "H", Seed = _random.Next(), Writers = 6, Readers = 1, Keys = 25, Compactions = 0, Leased = 0, Pause = TimeSpan.FromMilliseconds(2) };
        var store = new ApiStore(() => server.Client, workload.Prefix);
        await using var clients = new ClientsUnderTest();
        if (!await server.StartAsync().ConfigureAwait(false)) return Ended(outcome, "did not start", server);
        await clients.AddFromListAsync(store, workload).ConfigureAwait(false);
        clients.Start();
        for (int i = 0; i < strikes && !_time.IsOver; i++)
        {
            await Task.Delay(_random.Next(100, 700)).ConfigureAwait(false);
            if (withPowerCuts)
            {
                await files.CutAsync(_random.Next()).ConfigureAwait(false);
                await Task.Delay(_random.Next(30)).ConfigureAwait(false);
            }
            await server.KillAsync().ConfigureAwait(false);
            if (withPowerCuts) await files.RemountAsync().ConfigureAwait(false);
            outcome.Strikes++;
            if (!await server.StartAsync().ConfigureAwait(false)) return Ended(outcome, $"did not start after strike {i}", server);
        }
        await Task.Delay(500).ConfigureAwait(false);
        outcome.Add(await clients.JudgeAsync(new CheckerOptions(AreRevisionsDense: false, MayExpire: true)).ConfigureAwait(false), $"seed {seed}", clients.Complaints);
        return _time.Note(outcome, strikes);
    }

    private static Outcome Ended(Outcome outcome, string what, ApiServerProcess server)
    {
        outcome.Find($"{what}:\n{server.LogTail}");
        return outcome;
    }
}
