using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>Puts the authenticators together that the options ask for, and keeps those current that come from files.</summary>
internal sealed class AuthenticationWiring : IAsyncDisposable
{
    private readonly List<Func<CancellationToken, Task>> _loops = [];
    private readonly JwtIssuers _issuers;
    private readonly WebhookClient? _webhook;

    /// <exception cref="ApiServerStartException">A file cannot be read, or options contradict each other.</exception>
    internal AuthenticationWiring(ApiServerOptions options, ResourceCatalog catalog, ServiceAccountTokens accounts, LegacyTokenTracking tracking, ApiServerMetrics metrics, ILogger logger)
    {
        var wanted = options.Authentication;
        var clock = options.Clock;
        var audiences = accounts.Audiences;
        _issuers = new JwtIssuers(clock, logger);

        var kinds = new List<ITokenAuthenticator>();
        if (wanted.TokenFile.Length > 0)
            kinds.Add(new AudienceAgnostic(new StaticTokens(wanted.TokenFile, logger), audiences));
        kinds.Add(new ServiceAccountAuthenticator(accounts, new CachedBoundObjects(catalog), tracking, clock));
        if (wanted.AllowsBootstrapTokens)
            kinds.Add(new AudienceAgnostic(new BootstrapTokens(catalog.Storage("", "secrets"), clock), audiences));
        // Behind the service accounts: a token of an unknown key may cost its issuer a request.
        var anonymous = UseIssuers(options, accounts, metrics, logger);
        kinds.Add(new AudienceAgnostic(_issuers, audiences));
        if (wanted.WebhookFile.Length > 0)
        {
            if (wanted.WebhookVersion is not ("v1" or "v1beta1"))
                throw new ApiServerStartException($"unsupported authentication webhook version \"{wanted.WebhookVersion}\", supported versions are \"v1\", \"v1beta1\"");
            var kubeconfig = WebhookKubeconfig.Load("authentication-token-webhook-config-file", wanted.WebhookFile);
            _webhook = new WebhookClient(kubeconfig, TimeSpan.FromSeconds(30), WebhookBackoff.Default);
            kinds.Add(new TokenCache(new WebhookTokens(_webhook, wanted.WebhookVersion, audiences, logger), wanted.WebhookCacheTtl, wanted.WebhookCacheTtl, clock));
        }
        var clients = new ClientChain(options.ClientAuthorities, clock);
        FollowFile(options.ClientAuthoritiesFile, clients, clock, logger);
        FrontProxy? proxy = null;
        ClientChain? proxies = null;
        if (wanted.RequestHeaders is { } headers)
        {
            proxies = new ClientChain(headers.Authorities, clock);
            FollowFile(headers.AuthoritiesFile, proxies, clock, logger);
            proxy = new FrontProxy(headers, proxies);
        }
        Trust = new ClusterTrust(clients, wanted.RequestHeaders, proxies, clock);
        Authenticator = new Authenticator(proxy, new ClientCertificates(clients), new TokenUnion(kinds), anonymous, logger);
    }

    internal Authenticator Authenticator { get; }

    /// <summary>What other servers are told of whom this one believes.</summary>
    internal ClusterTrust Trust { get; }

    /// <summary>Called when CAs have been read again; false = call again soon.</summary>
    internal Func<CancellationToken, Task<bool>>? TrustChanged { get; set; }

    /// <summary>Loops that follow files; each ends with the token.</summary>
    internal IEnumerable<Task> Follow(CancellationToken cancel) => _loops.Select(loop => loop(cancel));

    public async ValueTask DisposeAsync()
    {
        await _issuers.DisposeAsync().ConfigureAwait(false);
        _webhook?.Dispose();
    }

    // A file of CAs that is changed while the server runs.
    private void FollowFile(string path, ClientChain chain, TimeProvider clock, ILogger logger)
    {
        if (path.Length == 0)
            return;
        var file = new ReloadedFile(path, [], async (bytes, cancel) =>
        {
            var authorities = new X509Certificate2Collection();
            try
            {
                authorities.ImportFromPem(System.Text.Encoding.ASCII.GetString(bytes));
            }
            catch (CryptographicException error)
            {
                throw new ApiServerStartException(error.Message, error);
            }
            if (authorities.Count == 0)
                throw new ApiServerStartException("data does not contain any valid RSA or ECDSA certificates");
            chain.Use(authorities);
            // Who asks this server's ConfigMap whom to believe learns it too; when that fails now it is tried again.
            return TrustChanged is not { } tell || await tell(cancel).ConfigureAwait(false);
        }, clock, logger);
        _loops.Add(file.FollowAsync);
    }

    private AnonymousAccess UseIssuers(ApiServerOptions options, ServiceAccountTokens accounts, ApiServerMetrics metrics, ILogger logger)
    {
        var wanted = options.Authentication;
        if (wanted.ConfigurationFile.Length == 0)
        {
            var errors = new K3sFast.ApiMachinery.FieldErrorList();
            AuthenticationConfiguration.Validate(new AuthenticationConfiguration(wanted.Issuers, null), accounts.Issuers, errors);
            if (errors.Count > 0)
                throw new ApiServerStartException($"invalid authentication configuration: {errors}");
            _issuers.Start(wanted.Issuers);
            return wanted.Anonymous;
        }
        if (wanted.Issuers.Count > 0)
            throw new ApiServerStartException("authentication-config file and oidc-* flags are mutually exclusive");
        var path = wanted.ConfigurationFile;
        var bytes = ConfigDocument.Load(AuthenticationConfiguration.Flag, path);
        var configuration = AuthenticationConfiguration.Read(path, bytes, accounts.Issuers);
        if (configuration.Anonymous is not null && wanted.IsAnonymousGiven)
        {
            throw new ApiServerStartException(
                "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file");
        }
        _issuers.Start(configuration.Issuers);
        var file = new ReloadedFile(path, bytes, async (changed, cancel) =>
        {
            var next = AuthenticationConfiguration.Read(path, changed, accounts.Issuers);
            if (!Equals(next.Anonymous, configuration.Anonymous))
                throw new ApiServerStartException("anonymous: Forbidden: changed from initial configuration file");
            return await _issuers.TryReplaceAsync(next.Issuers, cancel).ConfigureAwait(false);
        }, options.Clock, logger, metrics.Reloads("authentication"));
        _loops.Add(file.FollowAsync);
        return configuration.Anonymous ?? wanted.Anonymous;
    }
}
