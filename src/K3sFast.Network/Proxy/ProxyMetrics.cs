using K3sFast.Client;

namespace K3sFast.Network.Proxy;

/// <summary>
/// kube-proxy's metrics, under its names. Who asked for iptables finds what failed under that mode's name too, because alerts look there; what counts its
/// rules is not there: there are no such rules.
/// </summary>
internal sealed class ProxyMetrics
{
    private static readonly double[] s_syncBounds = Histogram.Exponential(0.001, 2, 15);

    private readonly MetricFamily<Counter> _syncFailures;
    private readonly MetricFamily<Counter>? _restoreFailures;

    internal ProxyMetrics(MetricRegistry registry, bool isIptablesAsked = false)
    {
        Registry = registry;
        Sync = registry.Histograms("kubeproxy_sync_proxy_rules_duration_seconds", "[ALPHA] SyncProxyRules latency in seconds", s_syncBounds, "ip_family");
        FullSync = registry.Histograms("kubeproxy_sync_full_proxy_rules_duration_seconds", "[ALPHA] SyncProxyRules latency in seconds for full resyncs", s_syncBounds, "ip_family");
        PartialSync = registry.Histograms("kubeproxy_sync_partial_proxy_rules_duration_seconds", "[ALPHA] SyncProxyRules latency in seconds for partial resyncs", s_syncBounds, "ip_family");
        NetworkProgramming = registry.Histograms("kubeproxy_network_programming_duration_seconds", "[ALPHA] In Cluster Network Programming Latency in seconds", ProgrammingBounds(), "ip_family");
        LastSync = registry.Gauges("kubeproxy_sync_proxy_rules_last_timestamp_seconds", "[ALPHA] The last time proxy rules were successfully synced", "ip_family");
        LastQueued = registry.Gauges("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", "[ALPHA] The last time a sync of proxy rules was queued", "ip_family");
        EndpointChanges = registry.Counter("kubeproxy_sync_proxy_rules_endpoint_changes_total", "[ALPHA] Cumulative proxy rules Endpoint changes");
        ServiceChanges = registry.Counter("kubeproxy_sync_proxy_rules_service_changes_total", "[ALPHA] Cumulative proxy rules Service changes");
        EndpointsPending = registry.Gauge("kubeproxy_sync_proxy_rules_endpoint_changes_pending", "[ALPHA] Pending proxy rules Endpoint changes");
        ServicesPending = registry.Gauge("kubeproxy_sync_proxy_rules_service_changes_pending", "[ALPHA] Pending proxy rules Service changes");
        _syncFailures = registry.Counters("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", "[ALPHA] Cumulative proxy nftables sync failures", "ip_family");
        if (isIptablesAsked)
        {
            _restoreFailures = registry.Counters("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", "[ALPHA] Cumulative proxy iptables restore failures", "ip_family");
        }
        CleanupFailures = registry.Counters("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total", "[ALPHA] Cumulative proxy nftables cleanup failures", "ip_family");
        Healthz = registry.Counters("kubeproxy_proxy_healthz_total", "[ALPHA] Cumulative proxy healthz HTTP status", "code");
        Livez = registry.Counters("kubeproxy_proxy_livez_total", "[ALPHA] Cumulative proxy livez HTTP status", "code");
        WithoutLocal = registry.Gauges(
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total", "[ALPHA] Number of services with a Local traffic policy and no endpoints", "ip_family", "traffic_policy");
        ForgetFlows = registry.Histograms("kubeproxy_conntrack_reconciler_sync_duration_seconds", "[ALPHA] ReconcileConntrackFlowsLatency latency in seconds", s_syncBounds, "ip_family");
        ForgottenFlows = registry.Counters("kubeproxy_conntrack_reconciler_deleted_entries_total", "[ALPHA] Cumulative conntrack flows deleted by conntrack reconciler", "ip_family");
        MapRefused = registry.Gauges("k3sfast_proxy_map_refused_entries", "Entries of Services and endpoints that a map of the eBPF programs has no room for", "map");
        MapFull = registry.Counters("k3sfast_proxy_map_full_total", "Times that an eBPF program found no room in a map", "map");
        Connections = registry.Gauge("k3sfast_proxy_connections", "Connections from outside that the eBPF programs keep");
        ConnectionsMax = registry.Gauge("k3sfast_proxy_connections_max", "Connections from outside that the eBPF programs have room for");
        ConnectionsBegun = registry.Counter("k3sfast_proxy_connections_begun_total", "Connections from outside that the eBPF programs began to carry");
    }

    internal MetricRegistry Registry { get; }
    internal MetricFamily<Histogram> Sync { get; }
    internal MetricFamily<Histogram> FullSync { get; }
    internal MetricFamily<Histogram> PartialSync { get; }
    internal MetricFamily<Histogram> NetworkProgramming { get; }
    internal MetricFamily<Gauge> LastSync { get; }
    internal MetricFamily<Gauge> LastQueued { get; }
    internal Counter EndpointChanges { get; }
    internal Counter ServiceChanges { get; }
    internal Gauge EndpointsPending { get; }
    internal Gauge ServicesPending { get; }
    internal MetricFamily<Counter> CleanupFailures { get; }
    internal MetricFamily<Counter> Healthz { get; }
    internal MetricFamily<Counter> Livez { get; }
    internal MetricFamily<Gauge> WithoutLocal { get; }
    internal MetricFamily<Histogram> ForgetFlows { get; }
    internal MetricFamily<Counter> ForgottenFlows { get; }
    internal MetricFamily<Gauge> MapRefused { get; }
    internal MetricFamily<Counter> MapFull { get; }
    internal Gauge Connections { get; }
    internal Gauge ConnectionsMax { get; }
    internal Counter ConnectionsBegun { get; }

    /// <summary>Rules of a family could not be written.</summary>
    internal void SyncFailed(string family)
    {
        _syncFailures.With(family).Add();
        _restoreFailures?.With(family).Add();
    }

    // A quarter and a half second; a minute by seconds, two by fives, five by thirties.
    private static double[] ProgrammingBounds()
    {
        List<double> bounds = [0.25, 0.5];
        for (var second = 1; second <= 60; second++) bounds.Add(second);
        for (var second = 65; second <= 120; second += 5) bounds.Add(second);
        for (var second = 150; second <= 300; second += 30) bounds.Add(second);
        return [.. bounds];
    }
}
