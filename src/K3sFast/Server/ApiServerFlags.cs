using System.Collections.Frozen;
using K3sFast.Configuration;
using Microsoft.Extensions.Logging;

namespace K3sFast.Server;

/// <summary>What becomes of a flag of kube-apiserver here.</summary>
internal enum FlagFate
{
    /// <summary>It does what it does there.</summary>
    Honoured,

    /// <summary>It has no effect here, and nobody is harmed by that: the log says why.</summary>
    Warned,

    /// <summary>Passing over it would do harm: the server does not start with it.</summary>
    Refused,
}

/// <summary>
/// Every flag of kube-apiserver 1.36 with its fate in --kube-apiserver-arg. A flag that is not here is none of its flags, and is refused as there.
/// </summary>
internal static class ApiServerFlags
{
    private const string K3sDecides = "k3s sets it from its own flags";
    private const string NoEtcd = "the store is chosen with --datastore-endpoint";
    private const string NoAggregation = "API services are stored, not served";
    private const string OwnLog = "the log is k3sfast's own: see --log, --debug and -v";
    private const string OneServer = "one server serves the whole API";

    private static readonly (FlagFate Fate, string Why, string[] Names)[] s_others =
    [
        (FlagFate.Warned, K3sDecides, ["advertise-address", "bind-address", "secure-port", "cert-dir", "service-cluster-ip-range", "service-node-port-range", "permit-address-sharing", "permit-port-sharing"]),
        (FlagFate.Refused, "agents and k3s.yaml trust the certificate of --tls-san, which renews itself; show another by name with tls-sni-cert-key", ["tls-cert-file", "tls-private-key-file"]),
        (FlagFate.Refused, "connections would be made on curves that were not chosen: curves are OpenSSL's choice", ["tls-curve-preferences"]),
        (FlagFate.Warned, NoEtcd,
            ["etcd-compaction-interval", "etcd-count-metric-poll-period", "etcd-db-metric-poll-interval", "etcd-healthcheck-timeout", "etcd-readycheck-timeout", "lease-reuse-duration-seconds"]),
        (FlagFate.Refused, NoEtcd, ["etcd-cafile", "etcd-certfile", "etcd-keyfile", "etcd-prefix", "etcd-servers", "etcd-servers-overrides", "storage-backend"]),
        (FlagFate.Warned, "objects are stored as JSON, whatever their clients speak", ["storage-media-type"]),
        (FlagFate.Warned, "the cache is what the server serves from; it sizes itself", ["watch-cache", "watch-cache-sizes"]),
        (FlagFate.Refused, "secrets would be stored in the clear", ["encryption-provider-config", "encryption-provider-config-automatic-reload"]),
        (FlagFate.Refused, "it gave way to --enable-admission-plugins and --disable-admission-plugins", ["admission-control"]),
        (FlagFate.Refused, "the ABAC authorizer is not there", ["authorization-policy-file"]),
        (FlagFate.Refused, "tokens are signed by the server's own keys: see --service-account-signing-key-file", ["service-account-signing-endpoint"]),
        (FlagFate.Refused, "privileged pods cannot be forbidden by a flag: use PodSecurity", ["allow-privileged"]),
        (FlagFate.Refused, "connections would be made past the egress selector", ["egress-selector-config-file"]),
        (FlagFate.Refused, "the garbage collector is part of the server", ["enable-garbage-collector"]),
        (FlagFate.Refused, "the server speaks HTTP/2", ["disable-http2-serving"]),
        (FlagFate.Refused, "the API is that of 1.36", ["emulated-version", "emulation-forward-compatible", "min-compatibility-version", "runtime-config-emulation-forward-compatible"]),
        (FlagFate.Warned, NoAggregation, ["aggregator-reject-forwarding-redirect", "enable-aggregator-routing", "proxy-client-cert-file", "proxy-client-key-file"]),
        (FlagFate.Warned, "profiles are not served", ["profiling", "contention-profiling", "debug-socket-path"]),
        (FlagFate.Warned, OwnLog,
            ["log-flush-frequency", "log-json-info-buffer-size", "log-json-split-stream", "log-text-info-buffer-size", "log-text-split-stream", "logging-format"]),
        (FlagFate.Warned, "log lines have no source files; see v", ["vmodule"]),
        (FlagFate.Warned, "traces are not exported", ["tracing-config-file"]),
        (FlagFate.Warned, "all metrics are told", ["allow-metric-labels", "allow-metric-labels-manifest", "disabled-metrics"]),
        (FlagFate.Warned, "the port opens when all start hooks are done", ["storage-initialization-timeout", "send-retry-after-while-not-ready-once"]),
        (FlagFate.Warned, "a stopping server ends watches at once and other requests after five seconds", ["shutdown-send-retry-after", "shutdown-watch-termination-grace-period"]),
        (FlagFate.Warned, OneServer,
            [
                "endpoint-reconciler-type", "coordinated-leadership-lease-duration", "coordinated-leadership-renew-deadline", "coordinated-leadership-retry-period",
                "peer-advertise-ip", "peer-advertise-port", "peer-ca-file",
            ]),
        (FlagFate.Warned, "the server's own certificate for kubelets is k3s's, which renews itself",
            ["kubelet-certificate-authority", "kubelet-client-certificate", "kubelet-client-key", "kubelet-preferred-address-types", "kubelet-timeout"]),
        (FlagFate.Warned, "the kubernetes Service is a ClusterIP", ["kubernetes-service-node-port"]),
        (FlagFate.Warned, "streams are not throttled", ["max-connection-bytes-per-sec"]),
        (FlagFate.Warned, "logs of nodes are the kubelet's", ["enable-logs-handler"]),
    ];

    private static readonly FrozenDictionary<string, (FlagFate Fate, string Why)> s_all = Table().ToFrozenDictionary(static row => row.Name, static row => (row.Fate, row.Why));

    /// <summary>All flags, for tests and for who wants to know.</summary>
    public static IEnumerable<(string Name, FlagFate Fate, string Why)> All => s_all.Select(static row => (row.Key, row.Value.Fate, row.Value.Why));

    /// <summary>Refuses what must not be passed over, and tells the log of what has no effect.</summary>
    /// <exception cref="ConfigurationException">A flag is unknown, or refused; the message says why.</exception>
    public static void Check(ComponentArguments arguments, ILogger log)
    {
        foreach (var name in arguments.Names)
        {
            if (!s_all.TryGetValue(name, out var flag))
                throw new ConfigurationException($"unknown flag: --{name} in --kube-apiserver-arg");
            if (flag.Fate == FlagFate.Honoured)
                continue;
            // What is asked for is what happens anyhow.
            var value = arguments.Text(name);
            if (IsMet(name, value))
                continue;
            if (flag.Fate == FlagFate.Refused)
                throw new ConfigurationException($"--kube-apiserver-arg={name}={value} is not served: {flag.Why}");
            log.Warning($"flag --kube-apiserver-arg={name} has no effect: {flag.Why}");
        }
        if (arguments.Text("show-hidden-metrics-for-version") is { Length: > 0 } version && version != "1.35")
            throw new ConfigurationException("--show-hidden-metrics-for-version must be omitted or have the value '1.35'. Only the previous minor version is allowed");
    }

    private static bool IsMet(string name, string value) => (name, value) is ("allow-privileged" or "enable-garbage-collector" or "watch-cache", "true")
        or ("profiling" or "contention-profiling" or "disable-http2-serving" or "enable-logs-handler" or "encryption-provider-config-automatic-reload", "false")
        or ("storage-media-type", "application/json") or ("logging-format", "text") or ("endpoint-reconciler-type", "lease") or ("kubernetes-service-node-port", "0")
        or ("max-connection-bytes-per-sec", "0");

    private static IEnumerable<(string Name, FlagFate Fate, string Why)> Table()
    {
        foreach (var name in (string[])
            [
                "admission-control-config-file", "anonymous-auth", "api-audiences", "audit-log-batch-buffer-size", "audit-log-batch-max-size", "audit-log-batch-max-wait",
                "audit-log-batch-throttle-burst", "audit-log-batch-throttle-enable", "audit-log-batch-throttle-qps", "audit-log-compress", "audit-log-format", "audit-log-maxage",
                "audit-log-maxbackup", "audit-log-maxsize", "audit-log-mode", "audit-log-path", "audit-log-truncate-enabled", "audit-log-truncate-max-batch-size",
                "audit-log-truncate-max-event-size", "audit-log-version", "audit-policy-file", "audit-webhook-batch-buffer-size", "audit-webhook-batch-max-size",
                "audit-webhook-batch-max-wait", "audit-webhook-batch-throttle-burst", "audit-webhook-batch-throttle-enable", "audit-webhook-batch-throttle-qps",
                "audit-webhook-config-file", "audit-webhook-initial-backoff", "audit-webhook-batch-initial-backoff", "audit-webhook-mode", "audit-webhook-truncate-enabled",
                "audit-webhook-truncate-max-batch-size", "audit-webhook-truncate-max-event-size", "audit-webhook-version", "authentication-config",
                "authentication-token-webhook-cache-ttl", "authentication-token-webhook-config-file", "authentication-token-webhook-version", "authorization-config",
                "authorization-mode", "authorization-webhook-cache-authorized-ttl", "authorization-webhook-cache-unauthorized-ttl", "authorization-webhook-config-file",
                "authorization-webhook-version", "client-ca-file", "cors-allowed-origins", "default-not-ready-toleration-seconds", "default-unreachable-toleration-seconds",
                "delete-collection-workers", "disable-admission-plugins", "enable-admission-plugins", "enable-bootstrap-token-auth", "enable-priority-and-fairness", "event-ttl", "external-hostname",
                "feature-gates", "goaway-chance", "http2-max-streams-per-connection", "livez-grace-period", "max-mutating-requests-inflight", "max-requests-inflight", "min-request-timeout",
                "oidc-ca-file", "oidc-client-id", "oidc-groups-claim", "oidc-groups-prefix", "oidc-issuer-url", "oidc-required-claim", "oidc-signing-algs", "oidc-username-claim",
                "oidc-username-prefix", "request-timeout", "requestheader-allowed-names", "requestheader-client-ca-file", "requestheader-extra-headers-prefix",
                "requestheader-group-headers", "requestheader-uid-headers", "requestheader-username-headers", "runtime-config", "service-account-extend-token-expiration",
                "service-account-issuer", "service-account-jwks-uri", "service-account-key-file", "service-account-lookup", "service-account-max-token-expiration",
                "service-account-signing-key-file", "show-hidden-metrics-for-version", "shutdown-delay-duration", "strict-transport-security-directives", "tls-cipher-suites",
                "tls-min-version", "tls-sni-cert-key", "token-auth-file", "v",
            ])
        {
            yield return (name, FlagFate.Honoured, "");
        }
        foreach (var (fate, why, names) in s_others)
        {
            foreach (var name in names)
                yield return (name, fate, why);
        }
    }
}
