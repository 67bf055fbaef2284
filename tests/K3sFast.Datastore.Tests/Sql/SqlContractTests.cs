using K3sFast.Datastore.MySql;
using K3sFast.Datastore.PostgreSql;
using K3sFast.Datastore.Sql;
using K3sFast.Tests.Databases;

namespace K3sFast.Datastore.Tests.Sql;

/// <summary>The contract on a real PostgreSQL; every test has a database of its own, which the store makes.</summary>
public sealed class PostgresContractTests(DatabaseServers servers) : SharedStoreContractTests
{
    private readonly string _database = $"k{Guid.NewGuid():N}";

    protected override string? SkipReason => PostgresServer.SkipReason;

    protected override async Task<IDatastore> OpenAsync() =>
        await PgEngine.OpenAsync((await servers.Postgres).Url(_database), new DatastoreTls(), new SqlOptions(), CancellationToken.None);
}

/// <summary>The contract on a real MariaDB; every test has a database of its own, which the store makes.</summary>
public sealed class MariaDbContractTests(DatabaseServers servers) : SharedStoreContractTests
{
    private readonly string _database = $"k{Guid.NewGuid():N}";

    protected override string? SkipReason => MariaDbServer.SkipReason;

    protected override async Task<IDatastore> OpenAsync() =>
        await MySqlEngine.OpenAsync((await servers.MariaDb).Url(_database), new DatastoreTls(), new SqlOptions(), CancellationToken.None);
}
