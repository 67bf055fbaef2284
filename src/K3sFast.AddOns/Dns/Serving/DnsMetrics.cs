using System.Diagnostics;
using System.Net.Sockets;
using K3sFast.Client;

namespace K3sFast.AddOns.Dns;

/// <summary>Metrics under CoreDNS' names, so that its dashboards and rules go on telling the truth.</summary>
internal sealed class DnsMetrics
{
    private static readonly double[] s_durations = Client.Histogram.Exponential(0.00025, 2, 16);
    private static readonly double[] s_sizes = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3];

    internal DnsMetrics()
    {
        Requests = Registry.Counters("coredns_dns_requests_total", "Counter of DNS requests made per zone, protocol and family.", "server", "zone", "view", "proto", "family", "type");
        DoRequests = Registry.Counters("coredns_dns_do_requests_total", "Counter of DNS requests with DO bit set per zone.", "server", "zone", "view");
        Duration = Registry.Histograms("coredns_dns_request_duration_seconds", "Histogram of the time (in seconds) each request took per zone.", s_durations, "server", "zone", "view", "type");
        RequestSize = Registry.Histograms("coredns_dns_request_size_bytes", "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.", s_sizes, "server", "zone", "view", "proto");
        ResponseSize = Registry.Histograms("coredns_dns_response_size_bytes", "Size of the returned response in bytes.", s_sizes, "server", "zone", "view", "proto");
        Responses = Registry.Counters("coredns_dns_responses_total", "Counter of response status codes.", "server", "zone", "view", "rcode", "plugin");
        PluginEnabled = Registry.Gauges("coredns_plugin_enabled", "A metric that indicates whether a plugin is enabled on per server and zone basis.", "server", "zone", "view", "name");
        Panics = Registry.Counter("coredns_panics_total", "A metrics that counts the number of panics.");
        CacheHits = Registry.Counters("coredns_cache_hits_total", "The count of cache hits.", "server", "type", "view", "zones");
        CacheMisses = Registry.Counters("coredns_cache_misses_total", "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.", "server", "view", "zones");
        CacheRequests = Registry.Counters("coredns_cache_requests_total", "The count of cache requests.", "server", "view", "zones");
        CacheEntries = Registry.Gauges("coredns_cache_entries", "The number of elements in the cache.", "server", "type", "view", "zones");
        CachePrefetches = Registry.Counters("coredns_cache_prefetch_total", "The number of times the cache has prefetched a cached item.", "server", "view", "zones");
        CacheStale = Registry.Counters("coredns_cache_served_stale_total", "The number of requests served from stale cache entries.", "server", "view", "zones");
        HealthcheckBroken = Registry.Counter("coredns_forward_healthcheck_broken_total", "Counter of the number of complete failures of the healthchecks.");
        ForwardRejects = Registry.Counter("coredns_forward_max_concurrent_rejects_total", "Counter of the number of queries rejected because the concurrent queries were at maximum.");
        ProxyDuration = Registry.Histograms("coredns_proxy_request_duration_seconds", "Histogram of the time each request took.", s_durations, "proxy_name", "rcode", "to");
        HealthFailures = Registry.Counters("coredns_proxy_healthcheck_failures_total", "Counter of the number of failed healthchecks.", "proxy_name", "to");
        TemplateMatches = Registry.Counters("coredns_template_matches_total", "Counter of template regex matches.", "server", "zone", "view", "class", "type");
        TemplateFailures = Registry.Counters("coredns_template_rr_failures_total", "Counter of mis-templated RRs.", "server", "zone", "view", "class", "type");
        LocalhostRequests = Registry.Counter("coredns_local_localhost_requests_total", "Counter of localhost.<domain> requests.");
        AutoPathSuccesses = Registry.Counters("coredns_autopath_success_total", "Counter of requests that did autopath.", "server");
        AclBlocked = Registry.Counters("coredns_acl_blocked_requests_total", "Counter of DNS requests being blocked.", "server", "zone", "view");
        AclFiltered = Registry.Counters("coredns_acl_filtered_requests_total", "Counter of DNS requests being filtered.", "server", "zone", "view");
        AclDropped = Registry.Counters("coredns_acl_dropped_requests_total", "Counter of DNS requests being dropped.", "server", "zone", "view");
        AclAllowed = Registry.Counters("coredns_acl_allowed_requests_total", "Counter of DNS requests being allowed.", "server", "view");
        HostsEntries = Registry.Gauge("coredns_hosts_entries", "The combined number of entries in hosts and Corefile.");
        ReloadFailed = Registry.Counter("coredns_reload_failed_total", "Counter of the number of failed reload attempts.");
        Loops = Registry.Counter("k3sfast_dns_forwarding_loops_total", "Forwarding loops that were found; forwarding ends with one.");
    }

    internal MetricRegistry Registry { get; } = new();

    internal MetricFamily<Counter> Requests { get; }

    internal MetricFamily<Counter> DoRequests { get; }

    internal MetricFamily<Histogram> Duration { get; }

    internal MetricFamily<Histogram> RequestSize { get; }

    internal MetricFamily<Histogram> ResponseSize { get; }

    internal MetricFamily<Counter> Responses { get; }

    internal MetricFamily<Gauge> PluginEnabled { get; }

    internal Counter Panics { get; }

    internal MetricFamily<Counter> CacheHits { get; }

    internal MetricFamily<Counter> CacheMisses { get; }

    internal MetricFamily<Counter> CacheRequests { get; }

    internal MetricFamily<Gauge> CacheEntries { get; }

    internal MetricFamily<Counter> CachePrefetches { get; }

    internal MetricFamily<Counter> CacheStale { get; }

    internal Counter HealthcheckBroken { get; }

    internal Counter ForwardRejects { get; }

    internal MetricFamily<Histogram> ProxyDuration { get; }

    internal MetricFamily<Counter> HealthFailures { get; }

    internal MetricFamily<Counter> TemplateMatches { get; }

    internal MetricFamily<Counter> TemplateFailures { get; }

    internal Counter LocalhostRequests { get; }

    internal MetricFamily<Counter> AutoPathSuccesses { get; }

    internal MetricFamily<Counter> AclBlocked { get; }

    internal MetricFamily<Counter> AclFiltered { get; }

    internal MetricFamily<Counter> AclDropped { get; }

    internal MetricFamily<Counter> AclAllowed { get; }

    internal Gauge HostsEntries { get; }

    internal Counter ReloadFailed { get; }

    internal Counter Loops { get; }
}

/// <summary>The counts of one server block, looked up once: counting an answer allocates nothing.</summary>
internal sealed class BlockMetrics
{
    // Types that metrics tell apart, as CoreDNS does; all others are "other".
    private static readonly DnsType[] s_types =
        [DnsType.A, DnsType.Aaaa, DnsType.Srv, DnsType.Ptr, DnsType.Txt, DnsType.Cname, DnsType.MX, DnsType.NS, DnsType.Soa, DnsType.DS, DnsType.Dnskey,
            DnsType.Nsec, DnsType.Rrsig, DnsType.Https, DnsType.Svcb, DnsType.Any, DnsType.Hinfo];

    private readonly DnsMetrics _metrics;
    private readonly string _server;
    private readonly string _zone;
    private readonly byte[] _typeIndex = new byte[257];
    private readonly Counter?[] _requests;
    private readonly Histogram?[] _durations;
    private readonly Histogram[] _requestSizes;
    private readonly Histogram[] _responseSizes;
    private readonly Counter _doRequests;
    private readonly Dictionary<string, Counter?[]> _responses = [];

    internal BlockMetrics(DnsMetrics metrics, string server, string zone, IEnumerable<string> plugins)
    {
        (_metrics, _server, _zone) = (metrics, server, zone);
        for (var i = 0; i < s_types.Length; i++) _typeIndex[(int)s_types[i]] = (byte)(i + 1);
        _requests = new Counter?[(s_types.Length + 1) * 4];
        _durations = new Histogram?[s_types.Length + 1];
        _requestSizes = [metrics.RequestSize.With(server, zone, "", "udp"), metrics.RequestSize.With(server, zone, "", "tcp")];
        _responseSizes = [metrics.ResponseSize.With(server, zone, "", "udp"), metrics.ResponseSize.With(server, zone, "", "tcp")];
        _doRequests = metrics.DoRequests.With(server, zone, "");
        _responses[""] = new Counter?[32];
        foreach (var plugin in plugins)
        {
            _responses[plugin] = new Counter?[32];
            metrics.PluginEnabled.With(server, zone, "", plugin).Set(1);
        }
    }

    /// <summary>Counts an answer that is finished.</summary>
    internal void Count(Exchange exchange)
    {
        var type = (int)DnsMessage.U16(exchange.Query[(exchange.QuestionEnd - 4)..]);
        var index = type < _typeIndex.Length ? _typeIndex[type] : 0;
        var protocol = exchange.IsUdp ? 0 : 1;
        var family = exchange.Client[0] == (byte)AddressFamily.InterNetwork ? 0 : 1;
        (_requests[index * 4 + protocol * 2 + family] ??= MakeRequests(index, protocol, family)).Add();
        (_durations[index] ??= _metrics.Duration.With(_server, _zone, "", TypeName(index))).Observe(Stopwatch.GetElapsedTime(exchange.StartedAt).TotalSeconds);
        _requestSizes[protocol].Observe(exchange.QueryLength);
        _responseSizes[protocol].Observe(exchange.Length);
        if (exchange.WantsDnssec) _doRequests.Add();
        var responses = _responses.TryGetValue(exchange.AnsweredBy, out var known) ? known : _responses[""];
        (responses[(int)exchange.Code & 31] ??= _metrics.Responses.With(_server, _zone, "", DnsWords.Code(exchange.Code), exchange.AnsweredBy)).Add();
    }

    private Counter MakeRequests(int index, int protocol, int family) =>
        _metrics.Requests.With(_server, _zone, "", protocol == 0 ? "udp" : "tcp", family == 0 ? "1" : "2", TypeName(index));

    private static string TypeName(int index) => index == 0 ? "other" : DnsWords.Type(s_types[index - 1]);
}
