using K3sFast.ApiServer;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Datastore;
using K3sFast.Datastore.Sqlite;
using K3sFast.Pki;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>Datastore, watch cache and API server, in the order in which they lean on each other.</summary>
internal sealed class ControlPlane : IAsyncDisposable
{
    private readonly IDatastore _store;
    private readonly ApiServer.ApiServer _api;

    private ControlPlane(IDatastore store, ApiServer.ApiServer api) => (_store, _api) = (store, api);

    /// <summary>Opens the store at once; certificates may still be in the making.</summary>
    /// <exception cref="ConfigurationException">The database or the port cannot be used; the message says what to do.</exception>
    public static async Task<ControlPlane> StartAsync(ServerConfig config, Task<ClusterPki> pki, ILoggerFactory loggers, CancellationToken ct)
    {
        IDatastore store;
        try
        {
            store = SqliteDatastore.Open(new() { Path = config.DatastorePath, LoggerFactory = loggers });
        }
        catch (DatastoreOpenException e)
        {
            throw new ConfigurationException(e.Message, e);
        }
        try
        {
            var api = new ApiServer.ApiServer(Options(config, await pki.ConfigureAwait(false)), store, loggers);
            await api.StartAsync(ct).ConfigureAwait(false);
            return new(store, api);
        }
        catch (ApiServerStartException e)
        {
            await store.DisposeAsync().ConfigureAwait(false);
            throw new ConfigurationException(e.Message, e);
        }
        catch
        {
            await store.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>A client in this process that acts as a user. RBAC applies to it as over the wire.</summary>
    public ApiClient ClientFor(string user, params string[] groups) => new(_api.InProcess(new UserInfo(user, [.. groups, UserInfo.AuthenticatedGroup])));

    /// <summary>Stops listening, then closes the store: what was acknowledged is on disk before.</summary>
    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync().ConfigureAwait(false);
        await _store.DisposeAsync().ConfigureAwait(false);
    }

    private static ApiServerOptions Options(ServerConfig config, ClusterPki pki) => new()
    {
        BindAddress = config.BindAddress,
        Port = config.HttpsPort,
        AdvertiseAddress = config.AdvertiseAddress,
        ServingCertificate = pki.ServingApi.Load(),
        ServerAuthorities = pki.ServerCa.Chain,
        ClientAuthorities = pki.ClientCa.Chain,
        RequestHeaderAuthorities = pki.RequestHeaderCa.Chain,
        KubeletClientCertificate = pki.ApiServerToKubelet.Load(),
        ServiceAccountKeys = [PemFiles.ReadKey(pki.ServiceAccountKeyPath)],
        ServiceCidr = config.ServiceCidrs[0],
        NodePortRange = (config.NodePortFirst, config.NodePortLast),
        ClusterDomain = config.ClusterDomain,
        GitVersion = ProductVersion.Text,
    };
}
