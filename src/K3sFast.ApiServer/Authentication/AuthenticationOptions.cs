namespace K3sFast.ApiServer;

/// <summary>Which credentials are believed besides client certificates and service-account tokens, which always are.</summary>
public sealed record AuthenticationOptions
{
    /// <summary>Who is let in without credentials. k3s: nobody.</summary>
    public AnonymousAccess Anonymous { get; init; } = AnonymousAccess.Off;

    /// <summary>True when a flag said so: a configuration file may not say it too.</summary>
    public bool IsAnonymousGiven { get; init; }

    /// <summary>Bootstrap tokens in Secrets of kube-system.</summary>
    public bool AllowsBootstrapTokens { get; init; } = true;

    /// <summary>A file of static tokens; "" = none.</summary>
    public string TokenFile { get; init; } = "";

    /// <summary>The file of --authentication-config; "" = none. Read again when it changes.</summary>
    public string ConfigurationFile { get; init; } = "";

    /// <summary>Issuers that flags configured; not together with a file.</summary>
    public IReadOnlyList<JwtIssuer> Issuers { get; init; } = [];

    /// <summary>A webhook that knows tokens, as a kubeconfig file; "" = none.</summary>
    public string WebhookFile { get; init; } = "";

    /// <summary>In which version of authentication.k8s.io it is asked.</summary>
    public string WebhookVersion { get; init; } = "v1beta1";

    /// <summary>How long its answers are remembered.</summary>
    public TimeSpan WebhookCacheTtl { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Front proxies; null = none.</summary>
    public RequestHeaderOptions? RequestHeaders { get; init; }
}
