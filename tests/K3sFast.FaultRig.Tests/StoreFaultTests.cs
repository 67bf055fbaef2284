using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.Scenarios;

namespace K3sFast.FaultRig.Tests;

/// <summary>A short run of the rig against the embedded store. <c>tests/faults.sh</c> is the long one.</summary>
public sealed class StoreFaultTests : IAsyncLifetime
{
    // A run that found something names its own seed; this one makes every run the same plan.
    private const int Seed = 4;

    private FaultFileSystem? _files;

    private FaultFileSystem Files => _files!;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(FaultFileSystem.Absence is not null, FaultFileSystem.Absence ?? "");
        _files = await FaultFileSystem.MountAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_files is not null) await _files.DisposeAsync();
    }

    [Fact]
    public async Task Kill9_AtAnyTime_LosesAndRepeatsNothing() => Accept(await new ProcessFaults(Files, Seed).KillAsync(25));

    [Fact]
    public async Task PowerCut_TornAndReorderedSectors_LosesAndRepeatsNothing() => Accept(await new MediumFaults(Files, Seed).PowerCutAsync(25));

    /// <summary>The rig can find a loss: the settings that k3s ships lose acknowledged writes on the same medium.</summary>
    [Fact]
    public async Task PowerCut_UnflushedCommits_AreFoundLost()
    {
        var outcome = await new MediumFaults(Files, Seed).PowerCutOfKineAsync(8);
        Assert.True(outcome.Lost > 0, $"{outcome}");
    }

    [Fact]
    public async Task Kill_AtEveryFailPoint_LosesAndRepeatsNothing() => Accept(await new ProcessFaults(Files, Seed).FailPointsAsync(1));

    [Fact]
    public async Task PowerCut_AtEveryFailPoint_LosesAndRepeatsNothing() => Accept(await new ProcessFaults(Files, Seed).FailPointsAsync(1, withPowerCut: true));

    [Fact]
    public async Task StopAndContinue_UnderLoad_LosesAndRepeatsNothing() => Accept(await new ProcessFaults(Files, Seed).StopAndContinueAsync(2, TimeSpan.FromSeconds(1)));

    [Fact]
    public async Task JumpingClock_LeasesLastTheirTime() => Accept(await new ProcessFaults(Files, Seed).JumpClockAsync(5));

    [Fact]
    public async Task FlippedBits_AreSaidOrHarmless() => Accept(await new MediumFaults(Files, Seed).FlipBitsAsync(12));

    [Fact]
    public async Task FlippedBitsOfTheLog_AreSaidOrHarmless() => Accept(await new MediumFaults(Files, Seed).FlipLogBitsAsync(8));

    [Fact]
    public async Task FailingWrite_AtAnyTime_LosesAndRepeatsNothing() =>
        Accept(await new MediumFaults(Files, Seed).FailAsync(FileOperation.Write, FaultFileSystem.InputOutputError, Enumerable.Range(1, 8)));

    [Fact]
    public async Task FailingFlush_AtAnyTime_LosesAndRepeatsNothing() =>
        Accept(await new MediumFaults(Files, Seed).FailAsync(FileOperation.Sync, FaultFileSystem.InputOutputError, Enumerable.Range(1, 8)));

    [Fact]
    public async Task NoSpace_AtAnyWrite_LosesAndRepeatsNothing() =>
        Accept(await new MediumFaults(Files, Seed).FailAsync(FileOperation.Write, FaultFileSystem.NoSpace, Enumerable.Range(1, 8)));

    [Fact]
    public async Task FullFileSystem_AndSpaceAgain_LosesAndRepeatsNothing() => Accept(await new MediumFaults(Files, Seed).FullAsync(2));

    [Fact]
    public async Task StalledFlush_WritersWait_ReadersGoOn() => Accept(await new MediumFaults(Files, Seed).StallAsync(3));

    [Fact]
    public async Task FileFlush_FailedFlush_Throws()
    {
        string path = Path.Combine(Files.MountPoint, "f");
        await using var file = File.Create(path, bufferSize: 0);
        await file.WriteAsync(new byte[100]);
        await Files.FailAsync(FileOperation.Sync, FaultFileSystem.InputOutputError, 1, 1);
        Assert.Throws<IOException>(() => FileFlush.Flush(file.SafeFileHandle));
        FileFlush.Flush(file.SafeFileHandle);
    }

    private static void Accept(Outcome outcome) => Assert.True(outcome is { IsClean: true, Strikes: > 0 }, $"{outcome}\n{string.Join('\n', outcome.Findings)}");
}
