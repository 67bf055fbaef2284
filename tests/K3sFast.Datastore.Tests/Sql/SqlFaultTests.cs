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
