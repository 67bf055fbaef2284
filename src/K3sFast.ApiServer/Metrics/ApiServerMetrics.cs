using System.Buffers;
using System.Diagnostics;
using K3sFast.ApiMachinery;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>The metrics of one API server, and how /metrics prints them together with those of the process.</summary>
internal sealed class ApiServerMetrics
{
    private readonly MetricFamily<Counter> _authenticationAttempts, _authorizationAttempts, _users;
    private readonly Histogram _authenticated, _unauthenticated, _allowed, _denied;
    private readonly Counter _authenticationSuccesses, _authenticationFailures, _allowedAttempts, _deniedAttempts, _adminRequests, _clientRequests, _otherRequests;
    private readonly Histogram _certificateExpirations;
    private readonly string _identity;

    internal ApiServerMetrics(ApiServerOptions options)
    {
        ProcessMetrics.Register();
        _identity = IdentityLease.NameOf(options.Hostname);
        Requests = new RequestMetrics(Registry);
        Admission = new AdmissionMetrics(Registry);
        Storage = new StorageMetrics(Registry);
        Flows = new FlowMetrics(Registry, options.Clock);
        Audit = new AuditMetrics(Registry);
        PodSecurity = new PodSecurityMetrics(Registry);
        Policies = new PolicyMetrics(Registry);
        Addresses = new AddressMetrics(Registry);
        var seconds = Histogram.Exponential(0.001, 2, 15);
        _authenticationAttempts = Registry.Counters("authentication_attempts", "[ALPHA] Counter of authenticated attempts.", "result");
        _authenticationSuccesses = _authenticationAttempts.With("success");
        _authenticationFailures = _authenticationAttempts.With("failure");
        var durations = Registry.Histograms("authentication_duration_seconds", "[ALPHA] Authentication duration in seconds broken out by result.", seconds, "result");
        _authenticated = durations.With("success");
        _unauthenticated = durations.With("failure");
        _authorizationAttempts = Registry.Counters(
            "authorization_attempts_total", "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.", "result");
        _allowedAttempts = _authorizationAttempts.With("allowed");
        _deniedAttempts = _authorizationAttempts.With("denied");
        durations = Registry.Histograms("authorization_duration_seconds", "[ALPHA] Authorization duration in seconds broken out by result.", seconds, "result");
        _allowed = durations.With("allowed");
        _denied = durations.With("denied");
        _users = Registry.Counters("authenticated_user_requests", "[ALPHA] Counter of authenticated requests broken out by username.", "username");
        _adminRequests = _users.With("admin");
        _clientRequests = _users.With("client");
        _otherRequests = _users.With("other");
        _certificateExpirations = Registry.Histogram(
            "apiserver_client_certificate_expiration_seconds", "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.",
            [0, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000]);
        AddBuild(options);
    }

    /// <summary>Where other parts of the server register theirs.</summary>
    internal MetricRegistry Registry { get; } = new();

    internal RequestMetrics Requests { get; }

    internal AdmissionMetrics Admission { get; }

    internal StorageMetrics Storage { get; }

    internal FlowMetrics Flows { get; }

    internal AuditMetrics Audit { get; }

    internal PodSecurityMetrics PodSecurity { get; }

    internal PolicyMetrics Policies { get; }

    internal AddressMetrics Addresses { get; }

    /// <summary>Where it is told that a configuration file was taken over.</summary>
    internal ReloadMetrics Reloads(string subject) => new(Registry, subject, _identity);

    /// <summary>Someone was recognized, or not.</summary>
    internal void Authenticated(UserInfo? user, System.Security.Cryptography.X509Certificates.X509Certificate2? certificate, long started, TimeProvider clock)
    {
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        if (user is null)
        {
            _authenticationFailures.Add();
            _unauthenticated.Observe(seconds);
            return;
        }
        _authenticationSuccesses.Add();
        _authenticated.Observe(seconds);
        (user.Name switch { "admin" or "kube_proxy" => _adminRequests, "client" => _clientRequests, _ => _otherRequests }).Add();
        if (certificate is not null)
            _certificateExpirations.Observe((certificate.NotAfter.ToUniversalTime() - clock.GetUtcNow().UtcDateTime).TotalSeconds);
    }

    /// <summary>Someone may, or may not.</summary>
    internal void Authorized(bool isAllowed, long started)
    {
        var seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        (isAllowed ? _allowedAttempts : _deniedAttempts).Add();
        (isAllowed ? _allowed : _denied).Observe(seconds);
    }

    internal void Write(IBufferWriter<byte> output) => Registry.Write(output, MetricRegistry.Process);

    private void AddBuild(ApiServerOptions options)
    {
        using var document = System.Text.Json.JsonDocument.Parse(VersionDocument.Write(options));
        string Of(string name) => document.RootElement.GetProperty(name).GetString()!;
        Registry.Gauges(
            "kubernetes_build_info",
            "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
            "build_date", "compiler", "git_commit", "git_tree_state", "git_version", "go_version", "major", "minor", "platform")
            .With(Of("buildDate"), Of("compiler"), Of("gitCommit"), Of("gitTreeState"), Of("gitVersion"), Of("goVersion"), Of("major"), Of("minor"), Of("platform")).Set(1);
        Registry.Gauges(
            "version_info",
            "[ALPHA] Provides the compatibility version info of the component. The component label is the name of the component, usually kube, but is relevant for aggregated-apiservers.",
            "binary", "component", "emulation", "min_compat")
            .With(Of("gitVersion").TrimStart('v').Split('+')[0], "kube", $"{Of("emulationMajor")}.{Of("emulationMinor")}", $"{Of("minCompatibilityMajor")}.{Of("minCompatibilityMinor")}").Set(1);
        var features = Registry.Gauges("kubernetes_feature_enabled", "[BETA] This metric records the data about the stage and enablement of a k8s feature.", "name", "stage");
        foreach (var (name, stage, isOn) in options.FeatureGates.All)
            features.With(name, stage == "GA" ? "" : stage.ToUpperInvariant()).Set(isOn ? 1 : 0);
        // No metric is ever disabled or hidden here.
        Registry.Counter("disabled_metrics_total", "[BETA] The count of disabled metrics.");
        Registry.Counter("hidden_metrics_total", "[BETA] The count of hidden metrics.");
        Registry.Collected("registered_metrics_total", "counter", "[BETA] The count of registered metrics broken by stability level and deprecation version.", text =>
        {
            foreach (var group in Registry.CountByStability().Concat(MetricRegistry.Process.CountByStability()).GroupBy(static entry => entry.Stability).OrderBy(static group => group.Key, StringComparer.Ordinal))
                text.Sample("registered_metrics_total", $"deprecated_version=\"\",stability_level=\"{group.Key}\"", group.Sum(static entry => entry.Count));
        });
    }
}
