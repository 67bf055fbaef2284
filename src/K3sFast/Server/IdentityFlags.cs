using System.Security.Cryptography.X509Certificates;
using K3sFast.ApiServer;
using K3sFast.Configuration;
using K3sFast.Pki;

namespace K3sFast.Server;

/// <summary>kube-apiserver's flags about who asks and what he may, with k3s's defaults where it sets its own.</summary>
internal static class IdentityFlags
{
    private static readonly string[] s_oidc =
    [
        "oidc-issuer-url", "oidc-client-id", "oidc-ca-file", "oidc-username-claim", "oidc-username-prefix", "oidc-groups-claim", "oidc-groups-prefix",
        "oidc-signing-algs", "oidc-required-claim",
    ];

    /// <summary>Issuers of service-account tokens: the first signs; none = the default one.</summary>
    /// <exception cref="ConfigurationException">One is empty or there twice.</exception>
    public static List<string> Issuers(ComponentArguments arguments)
    {
        var issuers = arguments.Many("service-account-issuer", splits: false);
        if (issuers.Contains(""))
            throw new ConfigurationException("service-account-issuer should not be an empty string");
        foreach (var repeated in issuers.GroupBy(static issuer => issuer).Where(static group => group.Count() > 1))
            throw new ConfigurationException($"service-account-issuer \"{repeated.Key}\" is already specified");
        return issuers;
    }

    /// <exception cref="ConfigurationException">Not an https URL.</exception>
    public static string KeysUrl(ComponentArguments arguments)
    {
        var url = arguments.Text("service-account-jwks-uri");
        return url.Length == 0 || Uri.TryCreate(url, UriKind.Absolute, out var parsed) && parsed.Scheme == "https"
            ? url
            : throw new ConfigurationException($"service-account-jwks-uri requires https scheme, parsed as: {url}");
    }

    public static ServiceAccountTokenOptions Tokens(ComponentArguments arguments) => new()
    {
        ExtendsExpiration = arguments.Switch("service-account-extend-token-expiration", true),
        MaxExpiration = arguments.Duration("service-account-max-token-expiration", TimeSpan.Zero),
    };

    /// <exception cref="ConfigurationException">A value is wrong, or two contradict each other.</exception>
    public static AuthenticationOptions Authentication(ComponentArguments arguments, ClusterPki pki)
    {
        if (!arguments.Switch("service-account-lookup", true))
            throw new ConfigurationException("service-account-lookup=false is not served: a token whose account is gone would still be good");
        return new()
        {
            // k3s's own default; upstream lets everybody in as far as RBAC does.
            Anonymous = arguments.Switch("anonymous-auth", false) ? AnonymousAccess.On : AnonymousAccess.Off,
            IsAnonymousGiven = arguments.Has("anonymous-auth"),
            AllowsBootstrapTokens = arguments.Switch("enable-bootstrap-token-auth", true),
            TokenFile = arguments.Text("token-auth-file"),
            ConfigurationFile = arguments.Text("authentication-config"),
            Issuers = Issuer(arguments) is { } issuer ? [issuer] : [],
            WebhookFile = arguments.Text("authentication-token-webhook-config-file"),
            WebhookVersion = arguments.Text("authentication-token-webhook-version", "v1beta1"),
            WebhookCacheTtl = arguments.Duration("authentication-token-webhook-cache-ttl", TimeSpan.FromMinutes(2)),
            RequestHeaders = RequestHeaders(arguments, pki),
        };
    }

    /// <exception cref="ConfigurationException">A mode is unknown or named twice, or its file is missing.</exception>
    public static AuthorizationOptions Authorization(ComponentArguments arguments)
    {
        const string Webhook = "authorization-webhook-config-file";
        var file = arguments.Text("authorization-config");
        var modes = arguments.Many("authorization-mode");
        if (file.Length > 0)
        {
            string[] legacy = ["authorization-mode", Webhook, "authorization-webhook-version", "authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl"];
            return legacy.Any(arguments.Has)
                ? throw new ConfigurationException("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined")
                : new() { ConfigurationFile = file };
        }
        if (modes.Count == 0)
            modes = ["Node", "RBAC"];
        if (modes.Distinct().Count() != modes.Count)
            throw new ConfigurationException($"authorization-mode [{string.Join(' ', modes.Select(static mode => $"\"{mode}\""))}] has mode specified more than once");
        var kubeconfig = arguments.Text(Webhook);
        if (modes.Contains("Webhook") && kubeconfig.Length == 0)
            throw new ConfigurationException("authorization-mode Webhook's authorization config file not passed");
        if (!modes.Contains("Webhook") && kubeconfig.Length > 0)
            throw new ConfigurationException("cannot specify --authorization-webhook-config-file without mode Webhook");
        var version = arguments.Text("authorization-webhook-version", "v1beta1");
        if (version is not ("v1" or "v1beta1"))
            throw new ConfigurationException($"unsupported webhook authorizer version \"{version}\", supported versions are \"v1\", \"v1beta1\"");
        var authorized = arguments.Duration("authorization-webhook-cache-authorized-ttl", TimeSpan.FromMinutes(5));
        var unauthorized = arguments.Duration("authorization-webhook-cache-unauthorized-ttl", TimeSpan.FromSeconds(30));
        return new()
        {
            Chain =
            [
                .. modes.Select(mode => new AuthorizerSpec
                {
                    Type = mode, Name = mode.ToLowerInvariant(), KubeconfigFile = mode == "Webhook" ? kubeconfig : "", Version = version, AuthorizedTtl = authorized,
                    UnauthorizedTtl = unauthorized,
                }),
            ],
        };
    }

    private static JwtIssuer? Issuer(ComponentArguments arguments)
    {
        var values = s_oidc.ToDictionary(static name => name, name => arguments.Text(name));
        if (!s_oidc.Any(arguments.Has))
            return null;
        string url = values["oidc-issuer-url"], client = values["oidc-client-id"];
        if (arguments.Has("authentication-config"))
            throw new ConfigurationException("authentication-config file and oidc-* flags are mutually exclusive");
        if (url.Length == 0 || client.Length == 0)
            throw new ConfigurationException("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set");
        var claim = values["oidc-username-claim"] is { Length: > 0 } given ? given : "sub";
        // A name from outside must not be mistaken for one of our own, so the issuer stands before it unless it is an address or the user says otherwise.
        var prefix = values["oidc-username-prefix"] switch { "-" => "", "" => claim == "email" ? "" : url + "#", var own => own };
        var algorithms = arguments.Many("oidc-signing-algs");
        if (algorithms.Find(static name => !JwtIssuer.AllAlgorithms.Contains(name)) is { } unknown)
            throw new ConfigurationException($"oidc: unsupported signing alg: \"{unknown}\"");
        return new()
        {
            Url = url,
            Audiences = [client],
            Authorities = values["oidc-ca-file"] is { Length: > 0 } file ? PemFiles.ReadCertificates(file) : null,
            UsernameClaim = claim,
            UsernamePrefix = prefix,
            GroupsClaim = values["oidc-groups-claim"],
            GroupsPrefix = values["oidc-groups-prefix"],
            RequiredClaims = RequiredClaims(arguments),
            Algorithms = algorithms.Count > 0 ? algorithms : ["RS256"],
        };
    }

    private static Dictionary<string, string> RequiredClaims(ComponentArguments arguments)
    {
        var claims = new Dictionary<string, string>();
        foreach (var text in arguments.Many("oidc-required-claim", splits: false))
        {
            var equals = text.IndexOf('=');
            if (equals <= 0)
                throw new ConfigurationException($"malformed pair in oidc-required-claim, expect string=string: {text}");
            claims[text[..equals].Trim()] = text[(equals + 1)..].Trim();
        }
        return claims;
    }

    private static RequestHeaderOptions RequestHeaders(ComponentArguments arguments, ClusterPki pki)
    {
        var file = arguments.Text("requestheader-client-ca-file");
        X509Certificate2Collection authorities = file.Length > 0 ? PemFiles.ReadCertificates(file) : pki.RequestHeaderCa.Chain;
        var names = Headers(arguments, "requestheader-allowed-names", ["system:auth-proxy"]);
        if (names.Count == 0 && authorities.Any(authority => pki.ClientCa.Chain.Any(own => own.RawDataMemory.Span.SequenceEqual(authority.RawDataMemory.Span))))
        {
            throw new ConfigurationException(
                "--requestheader-client-ca-file and --client-ca-file contain overlapping certificates; --requestheader-allowed-names must be specified to ensure regular client certificates cannot set authenticating proxy headers for arbitrary users");
        }
        return new()
        {
            Authorities = authorities,
            AuthoritiesFile = file,
            AllowedNames = names,
            UsernameHeaders = Headers(arguments, "requestheader-username-headers", ["X-Remote-User"]),
            UidHeaders = Headers(arguments, "requestheader-uid-headers", ["X-Remote-Uid"]),
            GroupHeaders = Headers(arguments, "requestheader-group-headers", ["X-Remote-Group"]),
            ExtraHeaderPrefixes = Headers(arguments, "requestheader-extra-headers-prefix", ["X-Remote-Extra-"]),
        };
    }

    private static List<string> Headers(ComponentArguments arguments, string name, List<string> fallback)
    {
        if (!arguments.Has(name))
            return fallback;
        var values = arguments.Many(name);
        return values.Exists(string.IsNullOrWhiteSpace) ? throw new ConfigurationException($"empty value in \"{name}\"") : values;
    }
}
