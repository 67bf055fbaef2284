using K3sFast.Tests.Databases;

[assembly: AssemblyFixture(typeof(K3sFast.Datastore.Tests.DatabaseServers))]

namespace K3sFast.Datastore.Tests;

/// <summary>The database servers that the contract tests share: each is started by the first test that asks for it, and ended after the last test.</summary>
public sealed class DatabaseServers : IAsyncDisposable
{
    private readonly Lazy<Task<EtcdServer[]>> _etcd = new(() => EtcdServer.StartClusterAsync(1));
    private readonly Lazy<Task<MariaDbServer>> _mariaDb = new(() => MariaDbServer.StartNewAsync());
    private readonly Lazy<Task<PostgresServer>> _postgres = new(() => PostgresServer.StartNewAsync());

    public Task<EtcdServer[]> Etcd => _etcd.Value;

    public Task<MariaDbServer> MariaDb => _mariaDb.Value;

    public Task<PostgresServer> Postgres => _postgres.Value;

    public async ValueTask DisposeAsync()
    {
        if (_etcd is { IsValueCreated: true, Value.IsCompletedSuccessfully: true })
        {
            foreach (var member in await _etcd.Value) await member.DisposeAsync();
        }
        if (_mariaDb is { IsValueCreated: true, Value.IsCompletedSuccessfully: true }) await (await _mariaDb.Value).DisposeAsync();
        if (_postgres is { IsValueCreated: true, Value.IsCompletedSuccessfully: true }) await (await _postgres.Value).DisposeAsync();
    }
}
