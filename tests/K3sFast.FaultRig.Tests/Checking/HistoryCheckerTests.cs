using K3sFast.FaultRig.Checking;
using K3sFast.FaultRig.Tests.Model;

namespace K3sFast.FaultRig.Tests.Checking;

/// <summary>The judge itself on trial: it lets the right store go and convicts every wrong one.</summary>
public sealed class HistoryCheckerTests
{
    public static TheoryData<Bug> Bugs => [.. Enum.GetValues<Bug>().Where(bug => bug != Bug.None)];

    [Fact]
    public void RightStore_CrashesAndUnansweredWrites_IsAccepted()
    {
        int unknown = 0;
        for (int seed = 1; seed <= 60; seed++)
        {
            var verdict = HistoryChecker.Check(Simulation.Run(Bug.None, seed).History);
            Assert.True(verdict.IsClean, $"seed {seed}: {verdict}");
            unknown += Math.Min(verdict.UnknownHappened, verdict.UnknownNever);
        }
        Assert.True(unknown > 100, $"only {unknown} unanswered writes of both fates");
    }

    [Theory]
    [MemberData(nameof(Bugs))]
    public void WrongStore_IsRefused(Bug bug)
    {
        int shown = 0, convicted = 0;
        var missed = new List<string>();
        for (int seed = 1; seed <= 30 && convicted < 8; seed++)
        {
            var (history, slips) = Simulation.Run(bug, seed);
            if (slips == 0) continue;
            shown++;
            if (HistoryChecker.Check(history).IsClean) missed.Add($"seed {seed}: showed {slips} times");
            else convicted++;
        }
        // A slip at the very end, or one that the calls under way at the time excuse, leaves no evidence.
        Assert.True(convicted >= 3 && missed.Count <= convicted, $"{bug} showed in {shown} histories and was noticed in {convicted}; {string.Join(", ", missed)}");
    }
}
