using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.History;

namespace K3sFast.FaultRig.Scenarios;

/// <summary>Faults of the medium: power cuts, failing writes and flushes, slow flushes, no space, flipped bits.</summary>
internal sealed class MediumFaults(FaultFileSystem files, int seed, RigTime? time = null)
{
    private const int LivesPerStore = 12;

    // Without space the store compacts its history by itself.
    private static readonly CheckerOptions s_compactsByItself = new(AreRevisionsDense: false, MayExpire: true);

    private readonly Random _random = new(seed);
    private readonly RigTime _time = time ?? RigTime.Endless;

    private string DatabasePath => Path.Combine(files.MountPoint, "server/db/state.db");

    /// <summary>The power goes at some time, or right before some write, flush or directory change; sectors are lost, torn and reordered.</summary>
    public async Task<Outcome> PowerCutAsync(int cuts)
    {
        var outcome = new Outcome("power cut");
        while (outcome.Strikes < cuts && !_time.IsOver)
        {
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            var store = new StoreUnderTest(DatabasePath, storeSeed);
            for (int i = 0; i < LivesPerStore && outcome.Strikes < cuts && !_time.IsOver; i++)
            {
                await CutOnceAsync(store).ConfigureAwait(false);
                outcome.Strikes++;
            }
            outcome.Add(await store.JudgeAsync().ConfigureAwait(false), $"seed {storeSeed}", store.Complaints);
        }
        return _time.Note(outcome, cuts);
    }

    /// <summary>The same with kine's settings; counts the writes that were acknowledged and are gone.</summary>
    public async Task<Outcome> PowerCutOfKineAsync(int cuts)
    {
        var outcome = new Outcome("power cut, kine's settings");
        int cutsWithLoss = 0, refusals = 0;
        for (int i = 0; i < cuts && !_time.IsOver; i++)
        {
            await files.ResetAsync().ConfigureAwait(false);
            var store = new StoreUnderTest(DatabasePath, _random.Next(), "kine") { Workload = new() { Life = "", Compactions = 0, Leased = 0 } };
            await CutOnceAsync(store).ConfigureAwait(false);
            outcome.Strikes++;
            int watchesBefore = store.History.Watches.Count;
            var verdict = await store.JudgeAsync().ConfigureAwait(false);
            outcome.Count(verdict);
            if (store.History.Watches.Count == watchesBefore || store.History.Watches[watchesBefore].Items.Count == 0)
            {
                refusals++;
                continue;
            }
            int lost = Lost(store.History, store.History.Watches[watchesBefore]);
            outcome.Lost += lost;
            if (lost > 0) cutsWithLoss++;
        }
        outcome.Remarks.Add($"lost in {cutsWithLoss} of the cuts, {refusals} times the store did not open");
        return _time.Note(outcome, cuts);
    }

    /// <summary>
    /// The n-th write or flush fails, for n from 1 on, or all from the n-th on; then the process goes on, and ends by a kill or a power cut. After a kill another life builds on
    /// what the kernel shows of it, which is more than the medium has, and ends by a power cut.
    /// </summary>
    public async Task<Outcome> FailAsync(FileOperation operation, int errno, IEnumerable<int> nths)
    {
        var outcome = new Outcome($"{(errno == FaultFileSystem.NoSpace ? "ENOSPC" : "EIO")} at {operation} n");
        foreach (int nth in nths)
        {
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            // Compaction often: its steps are flushed by the groups that follow them.
            var store = new StoreUnderTest(DatabasePath, storeSeed) { Workload = new() { Life = "", Compactions = 30 } };
            await using (var life = store.Begin())
            {
                // One in three fails from the very start on.
                if (nth % 3 > 0) await life.Opened.ConfigureAwait(false);
                files.TakeEvents();
                await files.FailAsync(operation, errno, nth, _random.Next(4) == 0 ? int.MaxValue : 1 + _random.Next(3)).ConfigureAwait(false);
                await life.Opened.ConfigureAwait(false);
                for (int i = 0; i < 100 && files.TakeEvents() == 0 && !life.HasEnded; i++) await Task.Delay(10).ConfigureAwait(false);
                outcome.Strikes++;
                await Task.Delay(_random.Next(30, 150)).ConfigureAwait(false);
                await EndSomehowAsync(life).ConfigureAwait(false);
                await store.EndAsync(life).ConfigureAwait(false);
            }
            if (!files.WhenCut.IsCompleted)
            {
                await files.CalmAsync().ConfigureAwait(false);
                await GoOnAndCutAsync(store).ConfigureAwait(false);
            }
            await files.RemountAsync().ConfigureAwait(false);
            outcome.Add(await store.JudgeAsync(errno == FaultFileSystem.NoSpace ? s_compactsByItself : null).ConfigureAwait(false), $"n {nth} seed {storeSeed}", store.Complaints);
        }
        return outcome;
    }

    /// <summary>Flushes take long: writers wait, reads go on, and writes go on after it.</summary>
    public async Task<Outcome> StallAsync(int stalls)
    {
        var outcome = new Outcome("fsync stall");
        await files.ResetAsync().ConfigureAwait(false);
        var store = new StoreUnderTest(DatabasePath, _random.Next());
        await using var life = store.Begin();
        if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
        int held = 0;
        for (int i = 0; i < stalls; i++)
        {
            int writes = life.Clients.AnsweredWrites;
            if (!await HappensAsync(() => life.Clients.AnsweredWrites > writes + 20).ConfigureAwait(false)) outcome.Find("writes do not go on");
            await files.StallAsync(TimeSpan.FromMinutes(10)).ConfigureAwait(false);
            // Answers that were on their way arrive within the time of some reads.
            if (!await ReadsGoOnAsync(life, 5).ConfigureAwait(false)) outcome.Find("reads wait for a flush");
            writes = life.Clients.AnsweredWrites;
            if (!await ReadsGoOnAsync(life, 20).ConfigureAwait(false)) outcome.Find("reads wait for a flush");
            // The flush of a checkpoint holds no write.
            if (life.Clients.AnsweredWrites == writes) held++;
            await files.CalmAsync().ConfigureAwait(false);
            outcome.Strikes++;
        }
        if (held == 0) outcome.Find("no write waited for a flush");
        await life.StopAsync().ConfigureAwait(false);
        await store.EndAsync(life).ConfigureAwait(false);
        outcome.Add(await store.JudgeAsync().ConfigureAwait(false), "stall", store.Complaints);
        return outcome;
    }

    /// <summary>No space but a little; then there is again.</summary>
    public async Task<Outcome> FullAsync(int times)
    {
        var outcome = new Outcome("file system full");
        await files.ResetAsync().ConfigureAwait(false);
        var store = new StoreUnderTest(DatabasePath, _random.Next());
        for (int i = 0; i < times; i++)
        {
            await using var life = store.Begin();
            if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
            string stats = await files.StatsAsync().ConfigureAwait(false);
            long used = long.Parse(stats[(stats.IndexOf("used=", StringComparison.Ordinal) + 5)..], System.Globalization.CultureInfo.InvariantCulture);
            await files.LimitAsync(used + _random.Next(1, 200_000)).ConfigureAwait(false);
            int before = store.History.Operations.Count;
            await Task.Delay(300).ConfigureAwait(false);
            if (i % 2 == 0)
            {
                // It goes on by itself when there is space.
                await files.CalmAsync().ConfigureAwait(false);
                await Task.Delay(200).ConfigureAwait(false);
                await life.StopAsync().ConfigureAwait(false);
            }
            life.Kill();
            await store.EndAsync(life).ConfigureAwait(false);
            await files.CalmAsync().ConfigureAwait(false);
            outcome.Strikes++;
            if (store.History.Operations.Skip(before).All(operation => operation.Outcome != OperationOutcome.Refused && operation.IsWrite)) outcome.Remarks.Add($"round {i}: nothing was refused");
        }
        outcome.Add(await store.JudgeAsync(s_compactsByItself).ConfigureAwait(false), "full", store.Complaints);
        return outcome;
    }

    /// <summary>Bits of the closed database flip. The store says so, or serves what was written; it never serves another thing.</summary>
    public async Task<Outcome> FlipBitsAsync(int flips)
    {
        var outcome = new Outcome("flipped bits");
        await files.ResetAsync().ConfigureAwait(false);
        int storeSeed = _random.Next();
        var store = new StoreUnderTest(DatabasePath, storeSeed);
        await using (var life = store.Begin())
        {
            if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
            await Task.Delay(400).ConfigureAwait(false);
            await life.StopAsync().ConfigureAwait(false);
            await store.EndAsync(life).ConfigureAwait(false);
        }
        byte[] whole = await File.ReadAllBytesAsync(DatabasePath).ConfigureAwait(false);
        store.Workload = store.Workload with { Writers = 0, Readers = 0 };
        int refused = 0;
        for (int i = 0; i < flips; i++)
        {
            byte[] damaged = [.. whole];
            int at = _random.Next(damaged.Length);
            damaged[at] ^= (byte)(1 << _random.Next(8));
            await File.WriteAllBytesAsync(DatabasePath, damaged).ConfigureAwait(false);
            outcome.Strikes++;
            await using (var life = store.Begin())
            {
                if (await life.Opened.ConfigureAwait(false)) await life.StopAsync().ConfigureAwait(false);
                else refused++;
                await store.EndAsync(life).ConfigureAwait(false);
            }
            if (HistoryChecker.Check(store.History) is { IsClean: false } verdict)
            {
                outcome.Add(verdict, $"bit at {at} of {damaged.Length} seed {storeSeed}", store.Complaints);
                break;
            }
        }
        await File.WriteAllBytesAsync(DatabasePath, whole).ConfigureAwait(false);
        store.Complaints.Clear();
        if (outcome.IsClean) outcome.Add(await store.JudgeAsync().ConfigureAwait(false), "flip", store.Complaints);
        outcome.Remarks.Add($"{refused} of them refused");
        return outcome;
    }

    /// <summary>Bits of the log flip that a killed store left. It says so, or nothing that was acknowledged is gone.</summary>
    public async Task<Outcome> FlipLogBitsAsync(int flips)
    {
        var outcome = new Outcome("flipped bits of the log");
        int refused = 0;
        for (int i = 0; i < flips; i++)
        {
            await files.ResetAsync().ConfigureAwait(false);
            int storeSeed = _random.Next();
            var store = new StoreUnderTest(DatabasePath, storeSeed);
            await using (var life = store.Begin())
            {
                if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
                await Task.Delay(_random.Next(20, 200)).ConfigureAwait(false);
                life.Kill();
                await store.EndAsync(life).ConfigureAwait(false);
            }
            string log = $"{DatabasePath}-wal";
            byte[] bytes = await File.ReadAllBytesAsync(log).ConfigureAwait(false);
            if (bytes.Length == 0) continue;
            // Half of them in the newest part, which has little or nothing behind it; one in eight in the head.
            int at = _random.Next(8) switch { 0 => _random.Next(32), < 5 => bytes.Length - 1 - _random.Next(Math.Min(bytes.Length, 40_000)), _ => _random.Next(bytes.Length) };
            byte[] damaged = [.. bytes];
            damaged[at] ^= (byte)(1 << _random.Next(8));
            await File.WriteAllBytesAsync(log, damaged).ConfigureAwait(false);
            outcome.Strikes++;
            await using (var life = store.Begin())
            {
                if (await life.Opened.ConfigureAwait(false)) await life.StopAsync().ConfigureAwait(false);
                await store.EndAsync(life).ConfigureAwait(false);
                if (life.Refusal is not null)
                {
                    refused++;
                    await File.WriteAllBytesAsync(log, bytes).ConfigureAwait(false);
                }
            }
            outcome.Add(await store.JudgeAsync().ConfigureAwait(false), $"bit at {at} of {bytes.Length} seed {storeSeed}", store.Complaints);
        }
        outcome.Remarks.Add($"{refused} of them refused");
        return outcome;
    }

    private async Task CutOnceAsync(StoreUnderTest store)
    {
        await using (var life = store.Begin())
        {
            int when = _random.Next(8);
            // One in eight is cut while the store opens.
            if (when > 0 && !await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
            if (when is 0 or 7)
            {
                await files.CutAtAsync(_random.Next(3) == 0 ? FileOperation.Meta : FileOperation.Any, _random.Next(1, 60), _random.Next()).ConfigureAwait(false);
            }
            else if (when > 2)
            {
                await files.CutAtAsync(when % 2 == 0 ? FileOperation.Sync : FileOperation.Write, _random.Next(1, 400), _random.Next()).ConfigureAwait(false);
            }
            await Task.WhenAny(files.WhenCut, Task.Delay(_random.Next(5, 400))).ConfigureAwait(false);
            await files.CutAsync(_random.Next()).ConfigureAwait(false);
            // What it says after the power is gone must not be an acknowledgement of what is lost.
            await Task.Delay(_random.Next(20)).ConfigureAwait(false);
            life.Kill();
            await store.EndAsync(life).ConfigureAwait(false);
        }
        await files.RemountAsync().ConfigureAwait(false);
    }

    private async Task GoOnAndCutAsync(StoreUnderTest store)
    {
        await using var life = store.Begin();
        if (!await life.Opened.ConfigureAwait(false)) store.Complaints.Add($"did not open: {life.Refusal}");
        await Task.Delay(_random.Next(30, 150)).ConfigureAwait(false);
        await files.CutAsync(_random.Next()).ConfigureAwait(false);
        life.Kill();
        await store.EndAsync(life).ConfigureAwait(false);
    }

    private async Task EndSomehowAsync(StoreLife life)
    {
        if (_random.Next(3) > 0)
        {
            await files.CutAsync(_random.Next()).ConfigureAwait(false);
            await Task.Delay(_random.Next(10)).ConfigureAwait(false);
        }
        life.Kill();
    }

    /// <summary>Acknowledged writes that a full look at the log does not show.</summary>
    private static int Lost(OperationHistory history, WatchRecord survey)
    {
        var there = survey.Items.Where(item => !item.IsProgress).Select(item => (item.Change.Revision, item.Change.Key, item.Change.Value)).ToHashSet();
        return history.Operations.Count(operation => operation is { IsWrite: true, Outcome: OperationOutcome.Ok } && !there.Contains((operation.Revision, operation.Key, operation.Value)));
    }

    private static Task<bool> ReadsGoOnAsync(StoreLife life, int count)
    {
        int reads = life.Clients.AnsweredReads;
        return HappensAsync(() => life.Clients.AnsweredReads >= reads + count);
    }

    /// <summary>Waits for a condition, a minute at most.</summary>
    private static async Task<bool> HappensAsync(Func<bool> condition)
    {
        for (int i = 0; i < 6_000; i++)
        {
            if (condition()) return true;
            await Task.Delay(10).ConfigureAwait(false);
        }
        return false;
    }
}
