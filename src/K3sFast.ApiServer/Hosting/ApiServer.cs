using System.Net;
using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiMachinery;
using K3sFast.Client;
using K3sFast.Datastore;
using K3sFast.WatchCache;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// The Kubernetes API over one datastore: the request pipeline, the caches that it reads from, and the objects that it keeps itself. The datastore
/// stays the caller's.
/// </summary>
/// <remarks>Start once, stop once. <see cref="InProcess"/> works from <see cref="StartAsync"/> on.</remarks>
public sealed class ApiServer : IAsyncDisposable
{
    private readonly ApiServerOptions _options;
    private readonly ILogger _logger;
    private readonly IDatastore _store;
    private readonly ServedState _state;
    private readonly Cacher _cacher;
    private readonly ResourceCatalog _catalog;
    private readonly StartGate _gate;
    private readonly ServiceRepair _services;
    private readonly WriteFlow _writes;
    private readonly RbacController _rbac;
    private readonly SystemObjects _system;
    private readonly FlowController? _flows;
    private readonly StartHook[] _flowsReady;
    private readonly Authorizer _authorizer;
    private readonly AuthorizationWiring _authorization;
    private readonly AuthenticationWiring _authentication;
    private readonly ServiceAccountTokens _tokens;
    private readonly LegacyTokenTracking _legacyTokens;
    private readonly AuditLog? _audit;
    private readonly KubeletConnector _kubelets;
    private readonly BackendProxy _proxy;
    private readonly KestrelHost _host;
    private readonly RequestPipeline _pipeline;
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<Task> _loops = [];
    private readonly HealthChecks _health = new();
    private readonly ApiServerMetrics _metrics;
    private readonly StartHook _storageReady, _namespacesReady, _prioritiesReady, _trustPublished, _rolesReady, _addressesLoaded, _serviceReady, _identityPublished, _identitiesCollected;
    private readonly IdentityLease _identity;
    private readonly StoreProbe _storeProbe;
    private readonly StoreSize _storeSize;
    private bool _isReady, _isShuttingDown;

    /// <summary>Puts the server together; nothing is read or listened to yet.</summary>
    /// <exception cref="ApiServerStartException">A certificate cannot be used.</exception>
    public ApiServer(ApiServerOptions options, IDatastore store, ILoggerFactory loggers)
        : this(options, new ServedState(store, ServedStateOptions.Of(options), loggers), loggers)
    {
    }

    /// <summary>Puts the server together over a state that may be loading already, and is this server's from here on. Nothing is listened to yet.</summary>
    /// <exception cref="ApiServerStartException">A certificate cannot be used. The state is still the caller's then.</exception>
    public ApiServer(ApiServerOptions options, ServedState state, ILoggerFactory loggers)
    {
        ArgumentNullException.ThrowIfNull(state);
        _options = options;
        _logger = loggers.CreateLogger("K3sFast.ApiServer");
        _state = state;
        var store = state.Store;
        _store = store;
        _cacher = state.Cacher;
        _catalog = state.Catalog;
        _gate = new StartGate(options.MaxRequestsInFlight + options.MaxMutatingRequestsInFlight, options.Clock);

        var policy = new RbacPolicy();
        _metrics = new ApiServerMetrics(options);
        _authorization = new AuthorizationWiring(options, policy, new NodeGraph(_catalog), _metrics, _logger);
        _authorizer = _authorization.Authorizer;
        IPNetwork[] ranges = options.SecondaryServiceCidr is { } second ? [options.ServiceCidr, second] : [options.ServiceCidr];
        var addresses = new ServiceAddresses(_catalog, ranges, () => _writes!, _metrics.Addresses);
        var ports = new NodePorts(
            options.NodePortRange.First, options.NodePortRange.Last, store.IsShared ? new NodePortLedger(store, options.NodePortRange.First, options.NodePortRange.Last) : null,
            _metrics.Addresses);
        AddressMetrics.Follow(_metrics.Registry, addresses, ports);
        foreach (var storage in _catalog.Storages)
            storage.Measured = _metrics.Storage.Store(storage.Info);
        foreach (var endpoint in _catalog.Endpoints)
        {
            endpoint.Watched = _metrics.Storage.Watch(endpoint.Info);
            endpoint.Listed = _metrics.Storage.List(endpoint.Info);
        }
        _storeSize = new StoreSize(store, options.Clock, _logger);
        _metrics.Storage.Follow(_catalog, options.StoreSizeBytes ?? (() => _storeSize.Bytes));
        DatastoreMetrics.Follow(_metrics.Registry, store);
        var admission = new AdmissionParts(_catalog, policy, _authorizer, options, () => _writes!, _metrics);
        _writes = new WriteFlow(AdmissionPlugins.Create(admission, _logger), options.Clock);
        _writes.AddHook(_catalog.Storage("", "services"), new ServiceAllocator(addresses, ports, _catalog.Storage("", "endpoints"), () => _writes!));
        _services = new ServiceRepair(_catalog.Storage("", "services"), addresses, ports, options.Clock, _logger);
        _rbac = new RbacController(_catalog, policy, _writes, options.FurtherRoles, _logger);
        _flows = options.EnablePriorityAndFairness
            ? new FlowController(_catalog, _writes, options.MaxRequestsInFlight + options.MaxMutatingRequestsInFlight, _metrics, options.Clock, _logger)
            : null;
        _tokens = new ServiceAccountTokens(
            [options.Issuer, .. options.FormerServiceAccountIssuers], options.ServiceAccountAudiences ?? [options.Issuer, "k3s"], options.ServiceAccountKeys);
        _legacyTokens = new LegacyTokenTracking(_catalog, _writes, options.Clock, _logger);
        _authentication = new AuthenticationWiring(options, _catalog, _tokens, _legacyTokens, _metrics, _logger);
        _system = new SystemObjects(_catalog, _writes, new MasterLeases(store, options.AdvertiseAddress), _authentication.Trust, options, _logger);
        _authentication.TrustChanged = _system.TellTrustAsync;
        _storeProbe = new StoreProbe(store, _cacher, options.Clock);
        AddHealthChecks();
        _namespacesReady = _health.AddStartHook("start-system-namespaces-controller");
        _trustPublished = _health.AddStartHook("start-cluster-authentication-info-controller");
        _storageReady = _health.AddStartHook("storage-readiness");
        _addressesLoaded = _health.AddStartHook("start-service-ip-repair-controllers");
        _flowsReady = options.EnablePriorityAndFairness
            ? [_health.AddStartHook("priority-and-fairness-config-consumer"), _health.AddStartHook("priority-and-fairness-filter"), _health.AddStartHook("priority-and-fairness-config-producer")]
            : [];
        _rolesReady = _health.AddStartHook("rbac/bootstrap-roles");
        _prioritiesReady = _health.AddStartHook("scheduling/bootstrap-system-priority-classes");
        _serviceReady = _health.AddStartHook("bootstrap-controller");
        _identity = new IdentityLease(_catalog, _system, options, _logger);
        _identityPublished = _health.AddStartHook("start-kube-apiserver-identity-lease-controller");
        _identitiesCollected = _health.AddStartHook("start-kube-apiserver-identity-lease-garbage-collector");
        _health.Add("shutdown", () => Volatile.Read(ref _isShuttingDown) ? "process is shutting down" : null, HealthPages.Ready);
        var dialer = new BackendDialer(options);
        _kubelets = new KubeletConnector(_catalog.Storage("", "nodes"), options, dialer);
        _proxy = new BackendProxy(_kubelets, dialer);
        _audit = AuditLog.Create(options.Audit, _metrics.Audit, options.Clock, _logger);
        _pipeline = MakePipeline();
        _host = new KestrelHost(options, loggers);
    }

    /// <summary>Requests that came before the caches were full, and wait.</summary>
    internal int WaitingRequests => _gate.Waiting;

    internal IdentityLease Identity => _identity;

    /// <summary>What is served, and where it is stored.</summary>
    internal ResourceCatalog Catalog => _catalog;

    /// <summary>Where those who run the other components say how they are.</summary>
    public ComponentHealth Components { get; } = new();

    /// <summary>The port that is listened on, once started.</summary>
    public int Port => _host.Port;

    /// <summary>True when everything that a cluster is born with is there and requests are served.</summary>
    public bool IsReady => Volatile.Read(ref _isReady);

    /// <summary>
    /// Listens, loads the caches, and writes what a new cluster needs. When it returns the server is ready; who asks before that waits (<see cref="StartGate"/>).
    /// </summary>
    /// <exception cref="ApiServerStartException">The port is taken, or the address is not ours; the message says what to do.</exception>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var loaded = _state.LoadAsync();
        await _host.StartAsync(new ApiServerApp(_pipeline, _stopping.Token), cancellationToken).ConfigureAwait(false);
        await loaded.WaitAsync(cancellationToken).ConfigureAwait(false);
        _storageReady.Done();
        _addressesLoaded.Done();
        await _system.StartAsync(cancellationToken).ConfigureAwait(false);
        await _services.StartAsync(cancellationToken).ConfigureAwait(false);
        _namespacesReady.Done();
        _prioritiesReady.Done();
        _trustPublished.Done();
        await _rbac.StartAsync(cancellationToken).ConfigureAwait(false);
        await StartFlowControlAsync(cancellationToken).ConfigureAwait(false);
        _rolesReady.Done();
        _loops.AddRange(_rbac.Follow(_stopping.Token));
        _loops.AddRange(_authentication.Follow(_stopping.Token));
        _loops.AddRange(_host.Follow(_stopping.Token));
        _loops.AddRange(_authorization.Follow(_stopping.Token));
        await _legacyTokens.EnsureSinceAsync(cancellationToken).ConfigureAwait(false);
        await _system.PublishAsync(_host.Port, cancellationToken).ConfigureAwait(false);
        _serviceReady.Done();
        var isNew = !_identity.IsThere;
        if (isNew)
            await _identity.RenewAsync(cancellationToken).ConfigureAwait(false);
        _identityPublished.Done();
        _loops.Add(_identity.FollowAsync(isRenewed: isNew, _stopping.Token));
        _identitiesCollected.Done();
        _loops.Add(_system.FollowAsync(_host.Port, _stopping.Token));
        _loops.Add(_services.FollowAsync(_stopping.Token));
        if (_options.StoreSizeBytes is null)
            _loops.Add(_storeSize.FollowAsync(_stopping.Token));
        Volatile.Write(ref _isReady, true);
        _gate.Open();
        Log.Listening(_logger, $"{_options.BindAddress}:{_host.Port}");
    }

    /// <summary>Ends watches and streams, waits for requests in flight up to the configured time, then cuts them.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_stopping.IsCancellationRequested)
            return;
        Volatile.Write(ref _isReady, false);
        Volatile.Write(ref _isShuttingDown, true);
        _gate.Close();
        await _system.WithdrawAsync(cancellationToken).ConfigureAwait(false);
        if (_options.ShutdownDelay > TimeSpan.Zero && _loops.Count > 0)
            await Task.Delay(_options.ShutdownDelay, _options.Clock, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _stopping.CancelAsync().ConfigureAwait(false);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.ShutdownTimeout);
        await _host.StopAsync(limit.Token).ConfigureAwait(false);
        await Task.WhenAll(_loops).ConfigureAwait(false);
    }

    /// <summary>The API for a component in this process, as that user; authorization and admission apply to it.</summary>
    public IApiTransport InProcess(UserInfo identity) => new InProcessTransport(identity, _pipeline, _authorizer, _catalog, _stopping.Token);

    /// <summary>
    /// The token that belongs into a Secret of type kubernetes.io/service-account-token: it has no end, and is good as long as Secret and account are there.
    /// </summary>
    public string SignTokenOfSecret(string ns, string account, string accountUid, string secret) => _tokens.SignLegacy(ns, new BoundObject(account, accountUid), secret);

    /// <summary>Serves new connections with a renewed certificate.</summary>
    public void UseServingCertificate(X509Certificate2 certificate, X509Certificate2Collection chain) => _host.UseCertificate(certificate, chain);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await StopAsync(CancellationToken.None).ConfigureAwait(false);
        await _host.DisposeAsync().ConfigureAwait(false);
        if (_audit is not null)
            await _audit.DisposeAsync().ConfigureAwait(false);
        await _authentication.DisposeAsync().ConfigureAwait(false);
        _authorization.Dispose();
        _proxy.Dispose();
        _kubelets.Dispose();
        await _state.DisposeAsync().ConfigureAwait(false);
        _stopping.Dispose();
    }

    private async Task StartFlowControlAsync(CancellationToken cancel)
    {
        // The objects are kept by upstream's servers with fairness only, so by ours.
        if (_flows is null)
            return;
        var bootstrap = new FlowControlBootstrap(_catalog, _writes, new DeleteFlow(_writes, _options.Clock), _options.Clock, _logger);
        await bootstrap.EnsureAsync(cancel).ConfigureAwait(false);
        await _flows.SyncAsync(cancel).ConfigureAwait(false);
        _loops.AddRange(_flows.Follow(_stopping.Token));
        _loops.Add(bootstrap.FollowAsync(_stopping.Token));
        foreach (var hook in _flowsReady)
            hook.Done();
    }

    private void AddHealthChecks()
    {
        _health.Add("ping", static () => null);
        _health.Add("log", () => _logger.IsEnabled(LogLevel.Error) || _logger is Microsoft.Extensions.Logging.Abstractions.NullLogger ? null : "errors are not logged");
        _health.Add("loopback-serving-certificate", () => _options.ServingCertificate.NotAfter.ToUniversalTime() > _options.Clock.GetUtcNow().UtcDateTime ? null : "the serving certificate has expired",
            HealthPages.Live | HealthPages.Health);
        _health.Add("etcd", _storeProbe.CheckAsync, HealthPages.Live | HealthPages.Health);
        _health.Add("datastore-space", () => DatastoreMetrics.SpaceComplaint(_store), HealthPages.Ready);
        _health.Add("datastore-medium", () => DatastoreMetrics.Complaint(_store), HealthPages.Ready);
        _health.Add("informer-sync", () => _cacher.Failure is { } failure ? $"the watch cache has stopped: {failure.Message}" : null, HealthPages.Ready);
    }

    private RequestPipeline MakePipeline()
    {
        var clock = _options.Clock;
        var limit = _options.MaxRequestBodyBytes;
        var reader = new ObjectReader(clock);
        var deletes = new DeleteFlow(_writes, clock);
        var writer = new ResourceWriter(_writes, deletes, reader, _authorizer, clock, limit, _options.DeleteCollectionWorkers);
        var streams = new StreamRouter(
            _kubelets, new PodTargets(_catalog.Storage("", "pods")), new ProxyTargets(_catalog, _kubelets), _proxy, new LogStreamer(_kubelets), _writes, _authorizer, _logger);
        var bindings = new PodBinding(_writes, clock, limit);
        var subresources = new SubresourceHandlers(
            _writes, deletes, reader, writer, bindings, new PodEviction(_catalog.Storage("policy", "poddisruptionbudgets"), _writes, clock, limit),
            new TokenRequests(_catalog, _tokens, _options.ServiceAccountTokens, _writes, clock, limit), new ScaleHandler(_writes, clock, limit), streams, limit);
        var reviews = new ReviewHandlers(_catalog, _writes, bindings, _authorizer, _authentication.Authenticator.Tokens, _tokens.Audiences, clock, limit) { ComponentStatuses = new ComponentStatuses(Components, _storeProbe, clock) };
        var resources = new ResourceRouter(_catalog, reader, new ObjectWatcher(clock, _options.MinRequestTimeout), writer, subresources, reviews, _metrics.Requests);
        var discovery = new DiscoveryDocuments(_catalog, $"{(_options.ExternalHostname.Length > 0 ? _options.ExternalHostname : _options.AdvertiseAddress)}:{_options.Port}");
        var openApi = new OpenApiDocuments(_catalog.Endpoints.Select(static endpoint => endpoint.Info));
        var paths = new PathRouter(discovery, openApi, _tokens, _metrics, _health, _options) { FlowControl = _flows is null ? null : new FlowControlDump(_flows) };
        RequestLimiter limiter = _flows is null
            ? new InFlightLimiter(_options.MaxRequestsInFlight, _options.MaxMutatingRequestsInFlight)
            : new FairLimiter(_flows, _catalog, clock, _options.RequestTimeout);
        return new RequestPipeline(
            _authentication.Authenticator, _authorizer, new Impersonation(_authorizer), _audit, limiter, resources, paths, _options.Supervisor, _metrics,
            new RequestLimits(_options.RequestTimeout, _options.GoAwayChance), _gate, new BrowserAccess(_options.AllowedOrigins, _options.StrictTransportSecurity), clock, _logger);
    }
}
