using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using K3sFast.ApiServer;
using K3sFast.Configuration;
using K3sFast.Server;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace K3sFast.Tests.Server;

/// <summary>What becomes of every flag of kube-apiserver in --kube-apiserver-arg.</summary>
public sealed class ApiServerFlagsTests
{
    // kube-apiserver 1.36 --help, but -h and --version.
    private const string Upstream = """
        admission-control admission-control-config-file advertise-address aggregator-reject-forwarding-redirect allow-metric-labels
        allow-metric-labels-manifest allow-privileged anonymous-auth api-audiences audit-log-batch-buffer-size audit-log-batch-max-size
        audit-log-batch-max-wait audit-log-batch-throttle-burst audit-log-batch-throttle-enable audit-log-batch-throttle-qps audit-log-compress
        audit-log-format audit-log-maxage audit-log-maxbackup audit-log-maxsize audit-log-mode audit-log-path audit-log-truncate-enabled
        audit-log-truncate-max-batch-size audit-log-truncate-max-event-size audit-log-version audit-policy-file audit-webhook-batch-buffer-size
        audit-webhook-batch-max-size audit-webhook-batch-max-wait audit-webhook-batch-throttle-burst audit-webhook-batch-throttle-enable
        audit-webhook-batch-throttle-qps audit-webhook-config-file audit-webhook-initial-backoff audit-webhook-mode audit-webhook-truncate-enabled
        audit-webhook-truncate-max-batch-size audit-webhook-truncate-max-event-size audit-webhook-version authentication-config
        authentication-token-webhook-cache-ttl authentication-token-webhook-config-file authentication-token-webhook-version authorization-config
        authorization-mode authorization-policy-file authorization-webhook-cache-authorized-ttl authorization-webhook-cache-unauthorized-ttl
        authorization-webhook-config-file authorization-webhook-version bind-address cert-dir client-ca-file contention-profiling
        coordinated-leadership-lease-duration coordinated-leadership-renew-deadline coordinated-leadership-retry-period cors-allowed-origins debug-socket-path
        default-not-ready-toleration-seconds default-unreachable-toleration-seconds delete-collection-workers disable-admission-plugins disable-http2-serving
        disabled-metrics egress-selector-config-file emulated-version emulation-forward-compatible enable-admission-plugins enable-aggregator-routing
        enable-bootstrap-token-auth enable-garbage-collector enable-logs-handler enable-priority-and-fairness encryption-provider-config
        encryption-provider-config-automatic-reload endpoint-reconciler-type etcd-cafile etcd-certfile etcd-compaction-interval etcd-count-metric-poll-period
        etcd-db-metric-poll-interval etcd-healthcheck-timeout etcd-keyfile etcd-prefix etcd-readycheck-timeout etcd-servers etcd-servers-overrides event-ttl
        external-hostname feature-gates goaway-chance http2-max-streams-per-connection kubelet-certificate-authority kubelet-client-certificate
        kubelet-client-key kubelet-preferred-address-types kubelet-timeout kubernetes-service-node-port lease-reuse-duration-seconds livez-grace-period
        log-flush-frequency log-json-info-buffer-size log-json-split-stream log-text-info-buffer-size log-text-split-stream logging-format
        max-connection-bytes-per-sec max-mutating-requests-inflight max-requests-inflight min-compatibility-version min-request-timeout oidc-ca-file
        oidc-client-id oidc-groups-claim oidc-groups-prefix oidc-issuer-url oidc-required-claim oidc-signing-algs oidc-username-claim oidc-username-prefix
        peer-advertise-ip peer-advertise-port peer-ca-file permit-address-sharing permit-port-sharing profiling proxy-client-cert-file proxy-client-key-file
        request-timeout requestheader-allowed-names requestheader-client-ca-file requestheader-extra-headers-prefix requestheader-group-headers
        requestheader-uid-headers requestheader-username-headers runtime-config runtime-config-emulation-forward-compatible secure-port
        send-retry-after-while-not-ready-once service-account-extend-token-expiration service-account-issuer service-account-jwks-uri service-account-key-file
        service-account-lookup service-account-max-token-expiration service-account-signing-endpoint service-account-signing-key-file service-cluster-ip-range
        service-node-port-range show-hidden-metrics-for-version shutdown-delay-duration shutdown-send-retry-after shutdown-watch-termination-grace-period
        storage-backend storage-initialization-timeout storage-media-type strict-transport-security-directives tls-cert-file tls-cipher-suites
        tls-curve-preferences tls-min-version tls-private-key-file tls-sni-cert-key token-auth-file tracing-config-file v vmodule watch-cache watch-cache-sizes
        """;

    public static TheoryData<string> Names => [.. Upstream.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Flag_OfUpstream_IsHonouredOrSaysWhyNot(string name)
    {
        var (_, fate, why) = Assert.Single(ApiServerFlags.All, flag => flag.Name == name);
        Assert.Equal(fate == FlagFate.Honoured, why.Length == 0);
        var log = new Lines();
        // A value that is never what happens anyhow; honoured flags are judged where they are read.
        var words = new ComponentArguments("kube-apiserver-arg", [$"{name}={(name == "show-hidden-metrics-for-version" ? "1.35" : "odd")}"]);
        switch (fate)
        {
            case FlagFate.Refused:
                Assert.Equal($"--kube-apiserver-arg={name}=odd is not served: {why}", Assert.Throws<ConfigurationException>(() => ApiServerFlags.Check(words, log)).Message);
                break;
            case FlagFate.Warned:
                ApiServerFlags.Check(words, log);
                Assert.Equal([$"flag --kube-apiserver-arg={name} has no effect: {why}"], log.Texts);
                break;
            default:
                ApiServerFlags.Check(words, log);
                Assert.Empty(log.Texts);
                break;
        }
    }

    [Fact]
    public void Table_HasNoFlagThatUpstreamDoesNotHave() =>
        // The name that the back-off of audit webhooks had before.
        Assert.Equal(["audit-webhook-batch-initial-backoff"], ApiServerFlags.All.Select(static flag => flag.Name).Except(Names.Select(static row => row.Data)));

    [Fact]
    public void Flag_ThatIsNone_IsRefused() => Assert.Equal(
        "unknown flag: --no-such-flag in --kube-apiserver-arg",
        Assert.Throws<ConfigurationException>(() => ApiServerFlags.Check(new ComponentArguments("kube-apiserver-arg", ["no-such-flag=1"]), NullLogger.Instance)).Message);

    [Theory]
    [InlineData("profiling=false")]
    [InlineData("allow-privileged=true")]
    [InlineData("watch-cache=true")]
    [InlineData("disable-http2-serving=false")]
    [InlineData("enable-garbage-collector=true")]
    public void Flag_AskingForWhatHappensAnyhow_IsSilent(string word)
    {
        var log = new Lines();
        ApiServerFlags.Check(new ComponentArguments("kube-apiserver-arg", [word]), log);
        Assert.Empty(log.Texts);
    }

    [Theory]
    [InlineData("show-hidden-metrics-for-version=1.34", "--show-hidden-metrics-for-version must be omitted or have the value '1.35'. Only the previous minor version is allowed")]
    public void Flag_WithAWrongValue_IsRefused(string word, string message) => Assert.Equal(
        message, Assert.Throws<ConfigurationException>(() => ApiServerFlags.Check(new ComponentArguments("kube-apiserver-arg", [word]), NullLogger.Instance)).Message);

    [Theory]
    [InlineData("tls-min-version=VersionTLS99", "unknown tls version \"VersionTLS99\"")]
    [InlineData("tls-cipher-suites=TLS_NULL", "Cipher suite TLS_NULL not supported or doesn't exist")]
    [InlineData("cors-allowed-origins=example.com", "--cors-allowed-origins has an invalid regular expression: regular expression does not pin to start/end of host in the origin header")]
    [InlineData("strict-transport-security-directives=never", "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information")]
    [InlineData("tls-sni-cert-key=a.crt", "invalid value \"a.crt\" for tls-sni-cert-key in --kube-apiserver-arg: expected comma separated certificate and key file paths")]
    [InlineData("tls-sni-cert-key=a.crt,a.key:", "invalid value \"a.crt,a.key:\" for tls-sni-cert-key in --kube-apiserver-arg: empty names list is not allowed")]
    [InlineData("shutdown-delay-duration=x", "invalid value \"x\" for shutdown-delay-duration in --kube-apiserver-arg: must be a duration such as 1h30m")]
    public void Transport_WithAWrongValue_IsRefused(string word, string message) =>
        Assert.Equal(message, Assert.Throws<ConfigurationException>(() => TransportArguments.Apply(Options(), new ComponentArguments("kube-apiserver-arg", [word]))).Message);

    [Fact]
    public void Transport_ByFlags_IsAsTheySay()
    {
        var options = TransportArguments.Apply(Options(), new ComponentArguments("kube-apiserver-arg",
            [
                "tls-min-version=VersionTLS13", "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "external-hostname=api.example.com",
                "cors-allowed-origins=//a\\.com(:|$)", "strict-transport-security-directives=max-age=31536000,includeSubDomains", "shutdown-delay-duration=3s",
                "tls-sni-cert-key=a.crt,a.key", "tls-sni-cert-key=b.crt, b.key:*.b.com, b.com",
            ]));
        Assert.Equal(["a.crt a.key ", "b.crt b.key *.b.com b.com"], options.NamedCertificates.Select(static named => $"{named.CertificateFile} {named.KeyFile} {string.Join(' ', named.Names)}"));
        Assert.Equal(SslProtocols.Tls13, options.TlsVersions);
        Assert.Equal([TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TlsCipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256], options.CipherSuites);
        Assert.Equal(("api.example.com", "max-age=31536000; includeSubDomains", TimeSpan.FromSeconds(3)), (options.ExternalHostname, options.StrictTransportSecurity, options.ShutdownDelay));
        Assert.Equal(["//a\\.com(:|$)"], options.AllowedOrigins);
    }

    [Fact]
    public void Keys_OfServiceAccounts_ComeFromAllFilesWithTheSigningKeyFirst()
    {
        using var folder = new TemporaryFolder();
        using RSA own = RSA.Create(2048), signing = RSA.Create(2048), other = RSA.Create(2048);
        using var curve = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        string signer = Path.Combine(folder.Path, "signer.pem"), several = Path.Combine(folder.Path, "several.pem"), nothing = Path.Combine(folder.Path, "nothing.pem");
        File.WriteAllText(signer, signing.ExportPkcs8PrivateKeyPem());
        File.WriteAllText(several, other.ExportSubjectPublicKeyInfoPem() + "\n" + curve.ExportSubjectPublicKeyInfoPem() + "\n" + other.ExportRSAPublicKeyPem());
        File.WriteAllText(nothing, "nothing");
        Assert.Equal([Public(own)], Read([]).Select(Public));
        Assert.Equal([Public(signing), Public(own)], Read([$"service-account-signing-key-file={signer}"]).Select(Public));
        Assert.Equal(
            [Public(signing), Public(other), Public(curve)],
            Read([$"service-account-signing-key-file={signer}", $"service-account-key-file={several}", $"service-account-key-file={signer}"]).Select(Public));
        Assert.Contains("does not contain any valid", Assert.Throws<ConfigurationException>(() => Read([$"service-account-key-file={nothing}"])).Message);

        IReadOnlyList<AsymmetricAlgorithm> Read(List<string> words) => ServiceAccountKeyFiles.Read(new ComponentArguments("kube-apiserver-arg", words), [own]);
        static string Public(AsymmetricAlgorithm key) => Convert.ToBase64String(key.ExportSubjectPublicKeyInfo());
    }

    private static ApiServerOptions Options() => new()
    {
        BindAddress = System.Net.IPAddress.Loopback, Port = 0, AdvertiseAddress = System.Net.IPAddress.Loopback, ServingCertificate = null!, ServerAuthorities = [],
        ClientAuthorities = [], ServiceAccountKeys = [],
    };

    private sealed class Lines : ILogger
    {
        internal List<string> Texts { get; } = [];

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Texts.Add(formatter(state, exception));
    }
}
