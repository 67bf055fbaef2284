using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.Servers;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>
/// Several API servers of one cluster on one database. One after the other is killed and started again, while the clients of all of them write and read the same
/// objects over HTTPS; what they saw is judged as one history.
/// </summary>
internal sealed class SharedServerFaults(string binary, int seed, RigTime? time = null)
{
    private readonly Random _random = new(seed);
    private readonly RigTime _time = time ?? RigTime.Endless;

    public async Task<Outcome> RunAsync(RemoteStores database, int count, int strikes)
    {
        var outcome = new Outcome($"{count} API servers on {database.Store.Name}");
        string folder = Directory.CreateTempSubdirectory("k3sfast-faultrig-").FullName;
        var servers = Enumerable.Range(0, count)
            .Select(i => new ApiServerProcess(binary, Path.Combine(folder, $"{i}"), $"rig-{i}", $"--token rig --datastore-endpoint '{database.Endpoint}'"))
            .ToList();
        try
        {
            await using var clients = new ClientsUnderTest();
            // All at once: one founds the cluster, the others find it.
            bool[] haveStarted = await Task.WhenAll(servers.Select(server => server.StartAsync())).ConfigureAwait(false);
            if (Array.IndexOf(haveStarted, false) is var missing and >= 0) return Ended(outcome, "did not start", servers[missing]);
            for (int i = 0; i < count; i++)
            {
                var server = servers[i];
                var workload = new WorkloadOptions { Life = $"H{i}", Seed = _random.Next(), Writers = 4, Readers = 1, Keys = 25, Compactions = 0, Leased = 0, Pause = TimeSpan.FromMilliseconds(5) };
                await clients.AddFromListAsync(new ApiStore(() => server.Client, workload.Prefix), workload).ConfigureAwait(false);
            }
            clients.Start();
            for (int i = 0; i < strikes && !_time.IsOver; i++)
            {
                await Task.Delay(_random.Next(100, 700)).ConfigureAwait(false);
                var victim = servers[_random.Next(count)];
                await victim.KillAsync().ConfigureAwait(false);
                outcome.Strikes++;
                // The others have it for themselves for a while.
                await Task.Delay(_random.Next(400)).ConfigureAwait(false);
                if (servers.Find(server => server != victim && server.HasEnded) is { } ended) return Ended(outcome, $"ended by itself at strike {i}", ended);
                if (!await victim.StartAsync().ConfigureAwait(false)) return Ended(outcome, $"did not start after strike {i}", victim);
            }
            await Task.Delay(500).ConfigureAwait(false);
            outcome.Add(await clients.JudgeAsync(new CheckerOptions(AreRevisionsDense: false, MayExpire: true)).ConfigureAwait(false), $"seed {seed}", clients.Complaints);
            if (servers.Find(server => server.HasEnded) is { } gone) return Ended(outcome, "ended by itself", gone);
            return _time.Note(outcome, strikes);
        }
        finally
        {
            foreach (var server in servers) await server.DisposeAsync().ConfigureAwait(false);
            Directory.Delete(folder, recursive: true);
        }
    }

    private static Outcome Ended(Outcome outcome, string what, ApiServerProcess server)
    {
        outcome.Find($"{what}:\n{server.LogTail}");
        return outcome;
    }
}
