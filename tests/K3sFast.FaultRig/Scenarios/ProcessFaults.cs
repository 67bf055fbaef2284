using K3sFast.Datastore.FailPoints;
using K3sFast.FaultRig.Faults;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>Faults of the process: killed at random, killed at each named point, stopped for a while. The page cache survives.</summary>
internal sealed class ProcessFaults(FaultFileSystem files, int seed)
{
    // Lives per history: long enough to carry an error from one life to the next, short enough to be judged at once.
    private const int LivesPerStore = 12;

    private readonly Random _random = new(seed);

    private string DatabasePath => Path.Combine(files.MountPoint, "server/db/state.db");

    /// <summary>kill -9 some time after the store opened, or before.</summary>
    public async Task<Outcome> KillAsync(int kills)
    {
        var outcome = new Outcome("kill -9");
        while (outcome.Strikes < kills)
        {
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            var store = new StoreUnderTest(DatabasePath, storeSeed);
            for (int i = 0; i < LivesPerStore && outcome.Strikes < kills; i++)
            {
                await using var life = store.Begin();
                // One in eight dies while it starts.
                if (_random.Next(8) > 0 && !await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
                await Task.Delay(_random.Next(5, 250)).ConfigureAwait(false);
                life.Kill();
                await store.EndAsync(life).ConfigureAwait(false);
                outcome.Strikes++;
            }
            outcome.Add(await store.JudgeAsync().ConfigureAwait(false), $"seed {storeSeed}", store.Complaints);
        }
        return outcome;
    }

    /// <summary>Killed at each named point, <paramref name="times"/> times each, at the first reach and at later ones.</summary>
    public async Task<Outcome> FailPointsAsync(int times, TimeSpan patience)
    {
        var outcome = new Outcome("kill at fail points");
        foreach (string name in FailPointNames.All)
        {
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            // Compaction often, values large: the points of compaction and checkpoint are reached soon.
            var store = new StoreUnderTest(DatabasePath, storeSeed) { Workload = new() { Life = "", Compactions = 30, MaxValueBytes = 12_000 } };
            int reached = 0;
            for (int i = 0; i < times; i++)
            {
                var environment = new Dictionary<string, string> { ["K3SFAST_FAILPOINTS"] = $"{name}=kill@{1 + (_random.Next(3) * _random.Next(12))}" };
                await using var life = store.Begin(environment);
                await Task.WhenAny(life.EndAsync(), Task.Delay(patience)).ConfigureAwait(false);
                if (life.HasEnded) reached++;
                life.Kill();
                await store.EndAsync(life).ConfigureAwait(false);
                if (life.Refusal is not null) store.Complaints.Add($"did not open: {life.Refusal}");
            }
            outcome.Strikes += reached;
            if (reached == 0) outcome.Remarks.Add($"{name} not reached");
            outcome.Add(await store.JudgeAsync().ConfigureAwait(false), $"{name} seed {storeSeed}", store.Complaints);
        }
        return outcome;
    }

    /// <summary>SIGSTOP for a while under load, then SIGCONT.</summary>
    public async Task<Outcome> StopAndContinueAsync(int stops, TimeSpan length)
    {
        var outcome = new Outcome("SIGSTOP, SIGCONT");
        await files.ResetAsync().ConfigureAwait(false);
        var store = new StoreUnderTest(DatabasePath, _random.Next());
        await using var life = store.Begin();
        if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
        for (int i = 0; i < stops; i++)
        {
            await Task.Delay(_random.Next(20, 150)).ConfigureAwait(false);
            await SignalAsync("STOP", life.Id).ConfigureAwait(false);
            await Task.Delay(length).ConfigureAwait(false);
            await SignalAsync("CONT", life.Id).ConfigureAwait(false);
            outcome.Strikes++;
        }
        await Task.Delay(100).ConfigureAwait(false);
        await life.StopAsync().ConfigureAwait(false);
        await store.EndAsync(life).ConfigureAwait(false);
        outcome.Add(await store.JudgeAsync().ConfigureAwait(false), "stop", store.Complaints);
        return outcome;
    }

    private static async Task SignalAsync(string signal, int process)
    {
        using var sender = System.Diagnostics.Process.Start("kill", [$"-{signal}", $"{process}"]);
        await sender.WaitForExitAsync().ConfigureAwait(false);
    }
}
