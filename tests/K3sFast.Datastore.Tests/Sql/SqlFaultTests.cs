using K3sFast.Datastore.MySql;
using K3sFast.Datastore.PostgreSql;
using K3sFast.Datastore.Sql;
using K3sFast.Tests.Databases;

namespace K3sFast.Datastore.Tests.Sql;

/// <summary>PostgreSQL when it breaks.</summary>
public sealed class PostgresFaultTests : SharedStoreFaultTests
{
    private PostgresServer? _server;

    protected override string? SkipReason => PostgresServer.SkipReason;

    private protected override DatabaseProcess Server => _server!;

    private protected override async Task StartServerAsync() => _server = await PostgresServer.StartNewAsync();

    private protected override async Task<IDatastore> OpenAsync(int port) => await PgEngine.OpenAsync(
        _server!.Url("kubernetes").Replace($":{_server.Port}/", $":{port}/", StringComparison.Ordinal), new DatastoreTls(), new SqlOptions(), CancellationToken.None);
}

/// <summary>MariaDB when it breaks.</summary>
public sealed class MariaDbFaultTests : SharedStoreFaultTests
{
    private MariaDbServer? _server;

    protected override string? SkipReason => MariaDbServer.SkipReason;

    private protected override DatabaseProcess Server => _server!;

    private protected override async Task StartServerAsync() => _server = await MariaDbServer.StartNewAsync();

    private protected override async Task<IDatastore> OpenAsync(int port) => await MySqlEngine.OpenAsync(
        _server!.Url("kubernetes").Replace($":{_server.Port})", $":{port})", StringComparison.Ordinal), new DatastoreTls(), new SqlOptions(), CancellationToken.None);
}

/// <summary>A PostgreSQL that dies, and its standby that takes over.</summary>
public sealed class PostgresFailoverTests
{
    [Fact]
    public async Task Primary_KilledAndStandbyPromoted_LosesNothingAndIsFollowedOn()
    {
        Assert.SkipWhen(PostgresServer.SkipReason is not null, PostgresServer.SkipReason ?? "");
        await using var primary = await PostgresServer.StartNewAsync();
        // The database is made before the standby copies it.
        await using (await OpenAsync(primary.Url("kubernetes")))
        {
        }
        await using var standby = await primary.StartStandbyAsync();
        string both = primary.Url("kubernetes").Replace($"127.0.0.1:{primary.Port}", $"127.0.0.1:{standby.Port},127.0.0.1:{primary.Port}", StringComparison.Ordinal);
        await using var store = await OpenAsync(both);
        await using var other = await OpenAsync(both);
        var seen = new RecordingObserver();
        using var watch = other.Watch(other.CurrentRevision, seen);
        using var enough = new CancellationTokenSource();
        var counters = new Counters(store, other);
        var counting = counters.StartAsync(enough.Token);
        await seen.WaitForAsync(other.CurrentRevision + 20);
        await primary.KillAsync();
        await standby.PromoteAsync();
        await seen.WaitForAsync(other.CurrentRevision + 20);
        await enough.CancelAsync();
        var counts = await counting;
        Assert.Null(seen.Error);
        await counters.VerifyAsync(counts, seen);
    }

    private static async Task<IDatastore> OpenAsync(string url) => await PgEngine.OpenAsync(url, new DatastoreTls(), new SqlOptions(), CancellationToken.None);
}
