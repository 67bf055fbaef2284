using System.Text;
using K3sFast.Datastore.FailPoints;
using K3sFast.FaultRig.Faults;
using K3sFast.FaultRig.Scenarios;
using K3sFast.FaultRig.Servers;

namespace K3sFast.FaultRig.Tests;

/// <summary>The binary that is published, as install.sh --build-only makes it.</summary>
public sealed class PublishedBinaryTests : IAsyncLifetime
{
    // Some hundred milliseconds a strike, and a server's start.
    private const int Strikes = 3;
    private const int Seed = 4;

    private FaultFileSystem? _files;

    public async ValueTask InitializeAsync()
    {
        Assert.SkipWhen(!File.Exists(ServerFaults.Binary), $"{ServerFaults.Binary} is missing: run ./install.sh --build-only");
        Assert.SkipWhen(FaultFileSystem.Absence is not null, FaultFileSystem.Absence ?? "");
        _files = await FaultFileSystem.MountAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_files is not null) await _files.DisposeAsync();
    }

    [Fact]
    public async Task FailPoints_AreNotInIt()
    {
        byte[] binary = await File.ReadAllBytesAsync(ServerFaults.Binary);
        // The compiler keeps literals as UTF-16, and u8 ones as they are.
        bool Has(string text) => binary.AsSpan().IndexOf(Encoding.Unicode.GetBytes(text)) >= 0 || binary.AsSpan().IndexOf(Encoding.UTF8.GetBytes(text)) >= 0;
        Assert.True(Has("compact_rev_key"), "a literal of the datastore's own is not found: this test looks in the wrong way");
        Assert.DoesNotContain(FailPointNames.All, Has);
        Assert.False(Has("K3SFAST_FAILPOINTS"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Server_Struck_LosesAndRepeatsNothing(bool withPowerCuts)
    {
        var outcome = await new ServerFaults(_files!, ServerFaults.Binary, Seed).RunAsync(Strikes, withPowerCuts);
        Assert.True(outcome is { IsClean: true, Strikes: Strikes }, $"{outcome}\n{string.Join('\n', outcome.Findings)}");
    }

    [Theory]
    [InlineData("etcd")]
    [InlineData("MariaDB")]
    [InlineData("PostgreSQL")]
    public async Task TwoServersOnOneDatabase_OneAfterTheOtherKilled_LoseAndRepeatNothing(string engine)
    {
        var (_, absence, startAsync) = RemoteStores.All.Single(known => known.Name == engine);
        Assert.SkipWhen(absence is not null, absence ?? "");
        await using var database = await startAsync();
        var outcome = await new SharedServerFaults(ServerFaults.Binary, Seed).RunAsync(database, count: 2, Strikes);
        Assert.True(outcome is { IsClean: true, Strikes: Strikes }, $"{outcome}\n{string.Join('\n', outcome.Findings)}");
    }
}
