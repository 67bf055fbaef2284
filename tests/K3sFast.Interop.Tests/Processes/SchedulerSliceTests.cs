using K3sFast.Interop.Processes;

namespace K3sFast.Interop.Tests.Processes;

public sealed class SchedulerSliceTests
{
    private const int Sigkill = 9;

    // The first kernel that lets ordinary threads choose.
    private static readonly Version s_since = new(6, 12);

    [Fact]
    public void TryShorten_OfAThread_IsItsOwnAndOfTheThreadsThatItStarts()
    {
        SkipOnOldKernels();
        TimeSpan before = default, after = default, started = default, back = default;
        var usual = SchedulerSlice.Of(0);
        InThread(() =>
        {
            before = SchedulerSlice.Of(0);
            Assert.True(SchedulerSlice.TryShorten());
            after = SchedulerSlice.Of(0);
            InThread(() => started = SchedulerSlice.Of(0));
            Assert.True(SchedulerSlice.TryReset());
            back = SchedulerSlice.Of(0);
        });
        Assert.Equal(usual, before);
        Assert.Equal(TimeSpan.FromMicroseconds(200), after);
        Assert.Equal(after, started);
        Assert.Equal(usual, back);
        Assert.Equal(usual, SchedulerSlice.Of(0));
    }

    [Fact]
    public void StartDetached_ByAThreadOfShortSlices_StartsAProgramOfUsualOnes()
    {
        SkipOnOldKernels();
        TimeSpan ofProgram = default, ofThread = default;
        var usual = SchedulerSlice.Of(0);
        InThread(() =>
        {
            Assert.True(SchedulerSlice.TryShorten());
            var pid = ChildProcess.StartDetached("/bin/sleep", ["sleep", "60"], [], "/dev/null");
            try
            {
                ofProgram = SchedulerSlice.Of(pid);
            }
            finally
            {
                ChildProcess.Signal(pid, Sigkill);
                SpinWait.SpinUntil(() => ChildProcess.TryReap(pid), TimeSpan.FromSeconds(60));
            }
            ofThread = SchedulerSlice.Of(0);
        });
        Assert.Equal(usual, ofProgram);
        Assert.Equal(TimeSpan.FromMicroseconds(200), ofThread);
    }

    [Fact]
    public void TryReset_WhereNothingWasAskedFor_ChangesNothing()
    {
        var usual = SchedulerSlice.Of(0);
        InThread(() => Assert.False(SchedulerSlice.TryReset()));
        Assert.Equal(usual, SchedulerSlice.Of(0));
    }

    private static void SkipOnOldKernels() =>
        Assert.SkipWhen(Environment.OSVersion.Version < s_since, $"Linux {Environment.OSVersion.Version} gives every thread the same slices; {s_since} lets them choose");

    private static void InThread(Action run)
    {
        Exception? failure = null;
        var thread = new Thread(() => failure = Record.Exception(run));
        thread.Start();
        thread.Join();
        if (failure is not null)
            throw failure;
    }
}
