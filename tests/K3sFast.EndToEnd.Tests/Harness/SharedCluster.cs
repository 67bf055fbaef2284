using System.Net;
using K3sFast.Tests.Databases;

namespace K3sFast.EndToEnd.Tests;

/// <summary>The tests of several API servers on one etcd: one after the other on the same servers.</summary>
[CollectionDefinition(nameof(EtcdCluster))]
public sealed class EtcdCluster : SharedCluster, ICollectionFixture<EtcdCluster>
{
    protected override string? MissingDatabase => EtcdServer.SkipReason;

    private protected override async Task<(DatabaseProcess Database, string Endpoint)> StartDatabaseAsync(DatabasePlace place)
    {
        var member = (await EtcdServer.StartClusterAsync(1, place: place))[0];
        return (member, member.Url);
    }
}

/// <summary>The same on one MariaDB.</summary>
[CollectionDefinition(nameof(MariaDbCluster))]
public sealed class MariaDbCluster : SharedCluster, ICollectionFixture<MariaDbCluster>
{
    protected override string? MissingDatabase => MariaDbServer.SkipReason;

    private protected override async Task<(DatabaseProcess Database, string Endpoint)> StartDatabaseAsync(DatabasePlace place)
    {
        var server = await MariaDbServer.StartNewAsync(place: place);
        return (server, server.Url("kubernetes"));
    }
}

/// <summary>The same on one PostgreSQL.</summary>
[CollectionDefinition(nameof(PostgresCluster))]
public sealed class PostgresCluster : SharedCluster, ICollectionFixture<PostgresCluster>
{
    protected override string? MissingDatabase => PostgresServer.SkipReason;

    private protected override async Task<(DatabaseProcess Database, string Endpoint)> StartDatabaseAsync(DatabasePlace place)
    {
        var server = await PostgresServer.StartNewAsync(place: place);
        return (server, server.Url("kubernetes"));
    }
}

/// <summary>Three API servers of one cluster, without an agent, on a real database; and what stands before them: 127.0.0.1:6443, which leads to each in turn.</summary>
public abstract class SharedCluster : IAsyncLifetime
{
    internal const string Token = "the-clusters-secret";

    private SharedServers? _servers;
    private DatabaseProcess? _database;
    private LoadBalancer? _balancer;
    private ServerNode? _front;
    private string _endpoint = "";

    /// <summary>Why the tests cannot run here, or null.</summary>
    internal string? SkipReason { get; private set; }

    internal SharedServers Servers => _servers!;

    internal LoadBalancer Balancer => _balancer!;

    /// <summary>The database, as the servers are told of it.</summary>
    internal string Endpoint => _endpoint;

    /// <summary>The cluster as who knows the one address sees it.</summary>
    internal Cluster Front { get; private set; } = new();

    internal IEnumerable<SharedServer> Alive => Servers.All.Where(static server => server.IsAlive);

    protected abstract string? MissingDatabase { get; }

    /// <summary>Starts the database; answers it, and how the servers are told of it.</summary>
    private protected abstract Task<(DatabaseProcess Database, string Endpoint)> StartDatabaseAsync(DatabasePlace place);

    public async ValueTask InitializeAsync()
    {
        SkipReason = Environment.IsPrivilegedProcess ? MissingDatabase : "needs root: network namespaces";
        if (SkipReason is not null) return;
        _servers = await SharedServers.CreateAsync(3);
        (_database, _endpoint) = await StartDatabaseAsync(_servers.Place);
        // All at once: one founds the cluster, the others find it.
        await RestoreAsync();
        _balancer = LoadBalancer.Start(_servers.Namespace, new IPEndPoint(IPAddress.Loopback, 6443), [.. _servers.All.Select(static server => new IPEndPoint(IPAddress.Parse(server.Address), 6443))]);
        _front = new ServerNode("front", _servers.Namespace, "127.0.0.1", Directory.CreateDirectory(Path.Combine(_servers.Folder, "front")).FullName);
        await _servers.All[0].WriteKubeconfigAsync(_front.Kubeconfig, "https://127.0.0.1:6443");
        Front = new Cluster(_front);
    }

    /// <summary>Starts those that do not run, and waits until all are ready.</summary>
    internal async Task RestoreAsync()
    {
        foreach (var server in Servers.All.Where(static server => !server.IsAlive)) server.Start(_endpoint, Token);
        foreach (var server in Servers.All) await server.WaitReadyAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (_balancer is not null) await _balancer.DisposeAsync();
        foreach (var server in _servers?.All ?? []) await server.KillAsync();
        if (_database is not null) await _database.DisposeAsync();
        if (_servers is not null) await _servers.DisposeAsync();
        await Front.DisposeAsync();
        GC.SuppressFinalize(this);
    }
}

/// <summary>A test class on such a cluster; prints the servers' last words when a test fails.</summary>
public abstract class SharedClusterTest(SharedCluster cluster) : IAsyncLifetime
{
    private protected SharedCluster Cluster { get; } = cluster;

    private protected SharedServers Servers => Cluster.Servers;

    public virtual ValueTask InitializeAsync()
    {
        if (Cluster.SkipReason is { } reason) Assert.Skip(reason);
        return ValueTask.CompletedTask;
    }

    public virtual ValueTask DisposeAsync()
    {
        if (TestContext.Current.TestState?.Result == TestResult.Failed && Cluster.SkipReason is null)
        {
            foreach (var server in Servers.All) TestContext.Current.TestOutputHelper?.WriteLine($"--- {server.Name}\n{server.LogTail(30)}");
        }
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }
}
