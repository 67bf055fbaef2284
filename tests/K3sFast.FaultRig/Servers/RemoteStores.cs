using K3sFast.FaultRig.Scenarios;
using K3sFast.Tests.Databases;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.FaultRig.Servers;

/// <summary>The databases that the product keeps its log in, as servers of the rig's own from Debian's packages.</summary>
internal sealed class RemoteStores : IAsyncDisposable
{
    private readonly IReadOnlyList<DatabaseProcess> _servers;

    private RemoteStores(string name, IReadOnlyList<DatabaseProcess> servers, Func<IReadOnlyList<int>, string> endpoint)
    {
        _servers = servers;
        Endpoint = endpoint([.. servers.Select(server => server.Port)]);
        Store = new RemoteStore(name, ports => OpenAsync(endpoint(ports)), [.. servers.Select(server => server.Port)], KillAsync);
    }

    public RemoteStore Store { get; }

    /// <summary>Where they are, in k3s's form.</summary>
    public string Endpoint { get; }

    /// <summary>The engines that are installed here, and for the others why not.</summary>
    public static IEnumerable<(string Name, string? Absence, Func<Task<RemoteStores>> StartAsync)> All =>
    [
        ("etcd", EtcdServer.SkipReason, StartEtcdAsync),
        ("MariaDB", MariaDbServer.SkipReason, StartMariaDbAsync),
        ("PostgreSQL", PostgresServer.SkipReason, StartPostgresAsync),
    ];

    /// <summary>Three members, one of which may be dead.</summary>
    public static async Task<RemoteStores> StartEtcdAsync() =>
        new("etcd", await EtcdServer.StartClusterAsync(3).ConfigureAwait(false), ports => string.Join(',', ports.Select(port => $"http://127.0.0.1:{port}")));

    public static async Task<RemoteStores> StartMariaDbAsync() =>
        new("MariaDB", [await MariaDbServer.StartNewAsync().ConfigureAwait(false)], ports => $"mysql://k3s:secret@tcp(127.0.0.1:{ports[0]})/k3s");

    public static async Task<RemoteStores> StartPostgresAsync() =>
        new("PostgreSQL", [await PostgresServer.StartNewAsync().ConfigureAwait(false)], ports => $"postgres://postgres:secret@127.0.0.1:{ports[0]}/k3s?sslmode=disable");

    public async ValueTask DisposeAsync()
    {
        foreach (var server in _servers) await server.DisposeAsync().ConfigureAwait(false);
    }

    private static Task<IDatastore> OpenAsync(string endpoint) =>
        DatastoreEndpoint.Parse(endpoint, new DatastoreTls(), "", "/").OpenAsync(NullLoggerFactory.Instance, CancellationToken.None);

    private async Task KillAsync(int index)
    {
        await _servers[index].KillAsync().ConfigureAwait(false);
        await Task.Delay(300).ConfigureAwait(false);
        await _servers[index].StartAsync().ConfigureAwait(false);
    }
}
