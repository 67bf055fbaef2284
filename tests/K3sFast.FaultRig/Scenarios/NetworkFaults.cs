using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Children;
using K3sFast.FaultRig.Faults;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>What the rig needs to know of a store behind the network.</summary>
/// <param name="Name">For reports.</param>
/// <param name="OpenAsync">Opens the store over these ports, one for each of <paramref name="Ports"/>.</param>
/// <param name="Ports">Where its servers listen.</param>
/// <param name="KillAsync">Ends the n-th server without a word and starts it again; null = not done.</param>
internal sealed record RemoteStore(string Name, Func<IReadOnlyList<int>, Task<IDatastore>> OpenAsync, IReadOnlyList<int> Ports, Func<int, Task>? KillAsync);

/// <summary>Faults between the store and its database: two stores share it, each over links of its own that stall, half close and break; servers die.</summary>
internal sealed class NetworkFaults(int seed, RigTime? time = null)
{
    private readonly Random _random = new(seed);
    private readonly RigTime _time = time ?? RigTime.Endless;

    public async Task<Outcome> RunAsync(RemoteStore remote, int strikes)
    {
        var outcome = new Outcome($"{remote.Name} failover");
        var links = new List<FaultyLink>();
        var stores = new List<IDatastore>();
        try
        {
            await using var clients = new ClientsUnderTest();
            for (int i = 0; i < 2; i++)
            {
                var own = remote.Ports.Select(port => new FaultyLink(port)).ToList();
                links.AddRange(own);
                var store = await remote.OpenAsync([.. own.Select(link => link.Port)]).ConfigureAwait(false);
                stores.Add(store);
                clients.Add(store, new WorkloadOptions { Life = $"S{i}", Seed = _random.Next(), Writers = 4, Pause = TimeSpan.FromMilliseconds(3), Leased = 0, Compactions = 1 });
            }
            clients.Start();
            for (int i = 0; i < strikes && !_time.IsOver; i++)
            {
                await Task.Delay(_random.Next(50, 300)).ConfigureAwait(false);
                await StrikeAsync(remote, links, i).ConfigureAwait(false);
                outcome.Strikes++;
            }
            await Task.Delay(300).ConfigureAwait(false);
            outcome.Add(await clients.JudgeAsync(new CheckerOptions(AreRevisionsDense: false)).ConfigureAwait(false), $"seed {seed}", clients.Complaints);
        }
        finally
        {
            foreach (var link in links) link.Turn(LinkState.Open);
            foreach (var store in stores) await store.DisposeAsync().ConfigureAwait(false);
            foreach (var link in links) await link.DisposeAsync().ConfigureAwait(false);
        }
        return _time.Note(outcome, strikes);
    }

    private async Task StrikeAsync(RemoteStore remote, List<FaultyLink> links, int strike)
    {
        if (strike % 4 == 3 && remote.KillAsync is { } killAsync)
        {
            await killAsync(_random.Next(remote.Ports.Count)).ConfigureAwait(false);
            return;
        }
        var link = links[_random.Next(links.Count)];
        link.Turn((strike % 3) switch
        {
            0 => LinkState.Cut,
            1 => LinkState.Stalled,
            _ => LinkState.HalfClosed,
        });
        await Task.Delay(_random.Next(50, 1_500)).ConfigureAwait(false);
        link.Turn(LinkState.Open);
    }
}
