using System.Net;
using K3sFast.ApiMachinery;
using K3sFast.ApiServer;
using K3sFast.Client;
using K3sFast.Configuration;
using K3sFast.Datastore;
using K3sFast.Logging;
using K3sFast.Pki;
using K3sFast.Supervisor;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>Datastore and API server, in the order in which they lean on each other. Disposed in the other order, so that the last write is on disk.</summary>
internal sealed class ControlPlane : IAsyncDisposable
{
    private readonly IDatastore _store;
    private readonly ApiServer.ApiServer _api;
    private readonly InformerFactory _informers;

    private ControlPlane(IDatastore store, ApiServer.ApiServer api, SupervisorPaths supervisor, ClusterPki certificates, ILoggerFactory loggers)
    {
        Certificates = certificates;
        _store = store;
        _api = api;
        var client = ClientFor("system:k3s-supervisor", "system:masters");
        _informers = new(client, loggers);
        Passwords = new(client, loggers.CreateLogger("K3sFast.Supervisor"));
        supervisor.UseCluster(Passwords, client);
    }

    /// <summary>The cluster's, and this server's own.</summary>
    public ClusterPki Certificates { get; }

    /// <summary>By what nodes are known.</summary>
    public NodePasswords Passwords { get; }

    /// <summary>Forgets passwords of nodes that are gone, until cancelled.</summary>
    public Task FollowPasswordsAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(Passwords.FollowAsync(_informers, cancellationToken), _informers.RunAsync(cancellationToken));

    /// <summary>Opens the store while certificates may still be in the making, and returns when the API is ready.</summary>
    /// <exception cref="ConfigurationException">The database or the port cannot be used; the message says what to do.</exception>
    public static Task<ControlPlane> StartAsync(ServerConfig config, Task<ClusterPki> pki, ILoggerFactory loggers, CancellationToken ct) =>
        StartAsync(config, _ => pki, loggers, ct);

    /// <summary>The same where certificates and keys come out of the store that the servers of a cluster share.</summary>
    /// <exception cref="ConfigurationException">The database or the port cannot be used; the message says what to do.</exception>
    public static async Task<ControlPlane> StartAsync(ServerConfig config, Func<IDatastore, Task<ClusterPki>> pki, ILoggerFactory loggers, CancellationToken ct)
    {
        IDatastore? store = null;
        ServedState? state = null;
        ApiServer.ApiServer? api = null;
        ApiServerFlags.Check(config.ApiServerArgs, loggers.CreateLogger("K3sFast.Server"));
        if (loggers is LogrusLoggerFactory lines)
            lines.Raise("apiserver", LogrusLoggerFactory.LevelOf(config.ApiServerArgs.Number("v", 0, 0, 100)));
        // Nothing is unready without being dead here, so there is nothing to be patient with; what is no duration is refused all the same.
        config.ApiServerArgs.Duration("livez-grace-period", TimeSpan.Zero);
        try
        {
            store = await config.Datastore.OpenAsync(loggers, ct).ConfigureAwait(false);
            var stored = StateOptions(config);
            state = new(store, stored, loggers);
            // Goes on while certificates are looked at and the server is put together. Who waits for it is told how it ended.
            _ = state.LoadAsync();
            var certificates = await pki(store).ConfigureAwait(false);
            var supervisor = new SupervisorPaths(
                certificates, certificates.JoinSecrets, ClusterSettings.Of(config), new IPEndPoint(config.AdvertiseAddress, config.AdvertisePort).ToString(), loggers.CreateLogger("K3sFast.Supervisor"));
            api = new(Options(config, stored, certificates) with { Supervisor = supervisor, FurtherRoles = SystemRoles.Rows }, state, loggers);
            await api.StartAsync(ct).ConfigureAwait(false);
            // Long there, nearly always; nobody has needed one yet.
            await certificates.ServiceAccountKeys.Made.WaitAsync(ct).ConfigureAwait(false);
            return new(store, api, supervisor, certificates, loggers);
        }
        catch (Exception e)
        {
            if (api is not null)
                await api.DisposeAsync().ConfigureAwait(false);
            if (state is not null)
                await state.DisposeAsync().ConfigureAwait(false);
            if (store is not null)
                await store.DisposeAsync().ConfigureAwait(false);
            if (e is DatastoreException or ApiServerStartException or FeatureGateException)
                throw new ConfigurationException(e.Message, e);
            throw;
        }
    }

    /// <summary>Where the health of scheduler and controllers is told.</summary>
    public ComponentHealth Components => _api.Components;

    /// <summary>A client in this process that acts as a user. RBAC applies to it as over the wire.</summary>
    public ApiClient ClientFor(string user, params string[] groups) => new(_api.InProcess(new UserInfo(user, [.. groups, UserInfo.AuthenticatedGroup])));

    /// <summary>The token that a Secret of type kubernetes.io/service-account-token holds.</summary>
    public string SignTokenOfSecret(string ns, string account, string uid, string secret) => _api.SignTokenOfSecret(ns, account, uid, secret);

    public async ValueTask DisposeAsync()
    {
        await _api.DisposeAsync().ConfigureAwait(false);
        Passwords.Dispose();
        await _store.DisposeAsync().ConfigureAwait(false);
    }

    private static ServedStateOptions StateOptions(ServerConfig config) => new()
    {
        RuntimeConfig = RuntimeConfig.Parse(config.ApiServerArgs.Text("runtime-config")),
        FeatureGates = config.ApiServerArgs.Text("feature-gates") is { Length: > 0 } gates ? FeatureGates.Parse(gates) : FeatureGates.Default,
        EventTtl = config.ApiServerArgs.Duration("event-ttl", TimeSpan.FromHours(1)),
    };

    private static ApiServerOptions Options(ServerConfig config, ServedStateOptions state, ClusterPki pki)
    {
        var arguments = config.ApiServerArgs;
        var issuers = IdentityFlags.Issuers(arguments);
        var options = new ApiServerOptions
        {
            BindAddress = config.BindAddress,
            Port = config.HttpsPort,
            AdvertiseAddress = config.AdvertiseAddress,
            ServingCertificate = pki.ServingApi.Load(),
            ServingChain = pki.ServerCa.Chain,
            ServerAuthorities = pki.ServerCa.Chain,
            ClientAuthorities = arguments.Text("client-ca-file") is { Length: > 0 } clientCa ? PemFiles.ReadCertificates(clientCa) : pki.ClientCa.Chain,
            ClientAuthoritiesFile = arguments.Text("client-ca-file"),
            KubeletClientCertificate = pki.ApiServerToKubelet.Load(),
            ServiceAccountKeys = ServiceAccountKeyFiles.Read(arguments, pki.ServiceAccountKeys),
            ServiceAccountIssuer = issuers.Count > 0 ? issuers[0] : null,
            FormerServiceAccountIssuers = [.. issuers.Skip(1)],
            ServiceAccountAudiences = arguments.Many("api-audiences") is { Count: > 0 } audiences ? audiences : null,
            ServiceAccountKeysUrl = IdentityFlags.KeysUrl(arguments),
            ServiceAccountTokens = IdentityFlags.Tokens(arguments),
            Authentication = IdentityFlags.Authentication(arguments, pki),
            Authorization = IdentityFlags.Authorization(arguments),
            Audit = AuditFlags.Read(arguments),
            ServiceCidr = config.ServiceCidrs[0],
            SecondaryServiceCidr = config.ServiceCidrs.Count > 1 ? config.ServiceCidrs[1] : null,
            NodePortRange = (config.NodePortFirst, config.NodePortLast),
            EnabledAdmissionPlugins = Words(arguments.Text("enable-admission-plugins", "NodeRestriction")),
            DisabledAdmissionPlugins = Words(arguments.Text("disable-admission-plugins")),
            AdmissionControlConfigFile = arguments.Text("admission-control-config-file"),
            DefaultNotReadyTolerationSeconds = arguments.Number("default-not-ready-toleration-seconds", 300, 0, int.MaxValue),
            DefaultUnreachableTolerationSeconds = arguments.Number("default-unreachable-toleration-seconds", 300, 0, int.MaxValue),
            ClusterDomain = config.ClusterDomain,
            Flags = arguments.Given(),
            RuntimeConfig = state.RuntimeConfig,
            FeatureGates = state.FeatureGates,
            GitVersion = ProductVersion.Text,
            GitCommit = ProductVersion.Commit,
            BuildDate = ProductVersion.Date,
            EventTtl = state.EventTtl,
            StoreSizeBytes = config.Datastore.IsShared ? null : () => SizeOf(config.Datastore.SqlitePath),
        };
        return TransportArguments.Apply(RequestLimitArguments.Apply(options, arguments), arguments);
    }

    private static string[] Words(string list) => list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    // The database and its log.
    private static long SizeOf(string path) => new[] { path, path + "-wal" }.Sum(static file => File.Exists(file) ? new FileInfo(file).Length : 0);
}
