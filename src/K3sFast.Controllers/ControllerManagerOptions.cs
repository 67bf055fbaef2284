namespace K3sFast.Controllers;

/// <summary>What the controllers need to know of the cluster. Immutable.</summary>
public sealed record ControllerManagerOptions
{
    /// <summary>Pod address ranges, comma separated for dual stack (k3s: 10.42.0.0/16). Each node gets a part as its podCIDR.</summary>
    public required string ClusterCidr { get; init; }

    /// <summary>Service address ranges, comma separated; kept out of the pod ranges where the two overlap.</summary>
    public required string ServiceCidr { get; init; }

    /// <summary>PEM of the CA that signed the API server's certificate: published to pods as <c>kube-root-ca.crt</c>.</summary>
    public required string RootCaPem { get; init; }

    /// <summary>Signs client certificates that are asked for; null signs none.</summary>
    public SigningAuthority? ClientAuthority { get; init; }

    /// <summary>Signs kubelets' serving certificates, and what asks for the legacy signer; null signs none.</summary>
    public SigningAuthority? ServingAuthority { get; init; }

    /// <summary>The longest, and by default the only, life of certificates that are signed.</summary>
    public TimeSpan SigningDuration { get; init; } = TimeSpan.FromDays(365);

    /// <summary>
    /// Makes the token of a Secret of type kubernetes.io/service-account-token from namespace, account name, account uid and Secret name; null makes none.
    /// </summary>
    public Func<string, string, string, string, string>? SignTokenOfSecret { get; init; }

    /// <summary>Tokens of Secrets that nobody used for so long are marked invalid, and deleted as long after that.</summary>
    public TimeSpan LegacyTokenCleanUpPeriod { get; init; } = TimeSpan.FromDays(365);

    /// <summary>Prefix length of a node's IPv4 pod range.</summary>
    public int NodeCidrMaskSize { get; init; } = 24;

    /// <summary>Prefix length of a node's IPv6 pod range.</summary>
    public int NodeCidrMaskSizeV6 { get; init; } = 64;

    /// <summary>A node that gave no sign of life for this long is Unknown.</summary>
    public TimeSpan NodeMonitorGracePeriod { get; init; } = TimeSpan.FromSeconds(40);

    /// <summary>Finished pods beyond this number are deleted, oldest first; 0 keeps all.</summary>
    public int TerminatedPodThreshold { get; init; } = 12500;

    /// <summary>How long after a pod finished the surplus of finished ones is looked for.</summary>
    public TimeSpan PodGcPeriod { get; init; } = TimeSpan.FromSeconds(20);

    /// <summary>Controllers that are not to run, by their service account's name (such as <c>job-controller</c>).</summary>
    public IReadOnlySet<string> Disabled { get; init; } = new HashSet<string>();
}
