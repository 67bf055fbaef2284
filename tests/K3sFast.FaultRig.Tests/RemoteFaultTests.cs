using K3sFast.FaultRig.Scenarios;
using K3sFast.FaultRig.Servers;
using K3sFast.Tests.Databases;

namespace K3sFast.FaultRig.Tests;

/// <summary>Two stores on one database whose links stall, half close and break and whose servers die, judged as one history.</summary>
public sealed class RemoteFaultTests
{
    private const int Seed = 4;
    private const int Strikes = 6;

    [Fact]
    public async Task Etcd_LinksAndMembersFail_LosesAndRepeatsNothing()
    {
        Assert.SkipWhen(EtcdServer.SkipReason is not null, EtcdServer.SkipReason ?? "");
        await using var servers = await RemoteStores.StartEtcdAsync();
        await AcceptAsync(servers);
    }

    [Fact]
    public async Task MariaDb_LinksAndServerFail_LosesAndRepeatsNothing()
    {
        Assert.SkipWhen(MariaDbServer.SkipReason is not null, MariaDbServer.SkipReason ?? "");
        await using var servers = await RemoteStores.StartMariaDbAsync();
        await AcceptAsync(servers);
    }

    [Fact]
    public async Task Postgres_LinksAndServerFail_LosesAndRepeatsNothing()
    {
        Assert.SkipWhen(PostgresServer.SkipReason is not null, PostgresServer.SkipReason ?? "");
        await using var servers = await RemoteStores.StartPostgresAsync();
        await AcceptAsync(servers);
    }

    private static async Task AcceptAsync(RemoteStores servers)
    {
        var outcome = await new NetworkFaults(Seed).RunAsync(servers.Store, Strikes);
        Assert.True(outcome is { IsClean: true, Strikes: > 0 }, $"{outcome}\n{string.Join('\n', outcome.Findings)}");
    }
}
