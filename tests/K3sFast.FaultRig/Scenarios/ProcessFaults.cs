using K3sFast.Datastore.FailPoints;
using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>Faults of the process: killed at random, killed at each named point, stopped for a while. The page cache survives.</summary>
internal sealed class ProcessFaults(FaultFileSystem files, int seed, RigTime? time = null)
{
    // Lives per history: long enough to carry an error from one life to the next, short enough to be judged at once.
    private const int LivesPerStore = 12;

    // The load reaches every point within some seconds, which ends the wait.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(120);

    // Enough for 2048 free pages that are a fifth of the file, from which on they are given back.
    private const int MuchHistory = 14_000_000;

    private readonly Random _random = new(seed);
    private readonly RigTime _time = time ?? RigTime.Endless;

    private string DatabasePath => Path.Combine(files.MountPoint, "server/db/state.db");

    /// <summary>kill -9 some time after the store opened, or before.</summary>
    public async Task<Outcome> KillAsync(int kills)
    {
        var outcome = new Outcome("kill -9");
        while (outcome.Strikes < kills && !_time.IsOver)
        {
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            var store = new StoreUnderTest(DatabasePath, storeSeed);
            for (int i = 0; i < LivesPerStore && outcome.Strikes < kills && !_time.IsOver; i++)
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
        return _time.Note(outcome, kills);
    }

    /// <summary>
    /// Killed at each named point, <paramref name="times"/> times each, at the first reach and at later ones; or the power goes while it stands there. A point that is not
    /// reached is a finding: nobody knows what would happen there.
    /// </summary>
    public async Task<Outcome> FailPointsAsync(int times, bool withPowerCut = false)
    {
        var outcome = new Outcome(withPowerCut ? "power cut at fail points" : "kill at fail points");
        foreach (string name in FailPointNames.All)
        {
            if (_time.IsOver)
            {
                outcome.Remarks.Add($"{name} and those after it not run: the time was over");
                break;
            }
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            // Large values and all history at once: compaction, copying, and much free space come soon.
            var store = new StoreUnderTest(DatabasePath, storeSeed) { Workload = new() { Life = "", MaxValueBytes = 40_000, HistoryBytes = MuchHistory } };
            int reached = 0;
            for (int i = 0; i < times; i++)
            {
                var environment = new Dictionary<string, string> { ["K3SFAST_FAILPOINTS"] = $"{name}={(withPowerCut ? "stop" : "kill")}@{1 + (_random.Next(3) * _random.Next(12))}" };
                await using var life = store.Begin(environment);
                if (await IsReachedAsync(life).ConfigureAwait(false)) reached++;
                if (withPowerCut) await files.CutAsync(_random.Next()).ConfigureAwait(false);
                life.Kill();
                await store.EndAsync(life).ConfigureAwait(false);
                if (withPowerCut) await files.RemountAsync().ConfigureAwait(false);
                if (life.Refusal is not null) store.Complaints.Add($"did not open: {life.Refusal}");
            }
            outcome.Strikes += reached;
            if (reached < times) outcome.Find($"{name} was reached in {reached} of {times} lives");
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

    /// <summary>The wall clock jumps by years, to and fro: leases neither end early nor live for ever, revisions know nothing of it.</summary>
    public async Task<Outcome> JumpClockAsync(int jumps)
    {
        const int EnoughEnded = 5, MaxLives = 12;
        var outcome = new Outcome("clock jumps");
        string library = await NativeTool.BuildAsync("clockjump", "clockjump.so").ConfigureAwait(false);
        await files.ResetAsync().ConfigureAwait(false);
        string offset = Path.GetTempFileName();
        await File.WriteAllBytesAsync(offset, new byte[sizeof(long)]).ConfigureAwait(false);
        // Many keys, all leased: most end by their lease and not by a writer.
        var store = new StoreUnderTest(DatabasePath, _random.Next()) { Workload = new() { Life = "", Writers = 2, Keys = 900, Leased = 100, LeaseSeconds = 1, Pause = TimeSpan.FromMilliseconds(10) } };
        var environment = new Dictionary<string, string> { ["LD_PRELOAD"] = library, ["CLOCKJUMP_FILE"] = offset };
        for (int i = 0; i < MaxLives && EndedByLease(store.History) < EnoughEnded; i++)
        {
            await using var life = store.Begin(environment);
            if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
            for (int j = 0; j < jumps; j++)
            {
                await Task.Delay(400).ConfigureAwait(false);
                await using var file = new FileStream(offset, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
                await file.WriteAsync(BitConverter.GetBytes(_random.NextInt64(-300_000_000, 300_000_000))).ConfigureAwait(false);
                outcome.Strikes++;
            }
            await Task.Delay(2_500).ConfigureAwait(false);
            await life.StopAsync().ConfigureAwait(false);
            await store.EndAsync(life).ConfigureAwait(false);
        }
        File.Delete(offset);
        if (EndedByLease(store.History) < EnoughEnded) outcome.Find("leases live for ever");
        outcome.Add(await store.JudgeAsync().ConfigureAwait(false), "jumps", store.Complaints);
        return outcome;
    }

    /// <summary>The point has ended the process, or stopped it.</summary>
    private static async Task<bool> IsReachedAsync(StoreLife life)
    {
        for (var waited = System.Diagnostics.Stopwatch.StartNew(); waited.Elapsed < s_patience; await Task.Delay(10).ConfigureAwait(false))
        {
            if (life.HasEnded || life.IsStopped) return true;
        }
        return false;
    }

    private static int EndedByLease(OperationHistory history) => new ChangeLog(history, new Verdict()).InOrder.Count(change => !change.IsLive && change.Author is null);

    private static async Task SignalAsync(string signal, int process)
    {
        using var sender = System.Diagnostics.Process.Start("kill", [$"-{signal}", $"{process}"]);
        await sender.WaitForExitAsync().ConfigureAwait(false);
    }
}
