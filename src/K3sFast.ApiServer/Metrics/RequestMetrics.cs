using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;
using K3sFast.ApiMachinery;
using K3sFast.Client;

namespace K3sFast.ApiServer;

/// <summary>What requests cost, by verb, resource, subresource and scope, under upstream's names.</summary>
/// <remarks>Any thread. Counting a request whose like was seen before allocates nothing.</remarks>
internal sealed class RequestMetrics
{
    // Upstream's bounds.
    private static readonly double[] s_latencies = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60];
    private static readonly double[] s_objectives = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60];
    private static readonly string[] s_labels = ["verb", "group", "version", "resource", "subresource", "scope", "component"];

    private readonly ConcurrentDictionary<SeriesKey, RequestSeries> _series = new();
    private readonly MetricFamily<Counter> _total, _aborts, _terminations;
    private readonly MetricFamily<Histogram> _durations, _objectiveDurations, _responseSizes, _bodySizes;
    private readonly MetricFamily<Gauge> _longRunning, _deprecated;
    private readonly Gauge _readOnly, _mutating;

    internal RequestMetrics(MetricRegistry registry)
    {
        _total = registry.Counters(
            "apiserver_request_total", "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
            [.. s_labels, "dry_run", "code"]);
        _durations = registry.Histograms(
            "apiserver_request_duration_seconds", "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
            s_latencies, [.. s_labels, "dry_run"]);
        _objectiveDurations = registry.Histograms(
            "apiserver_request_sli_duration_seconds",
            "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.",
            s_objectives, s_labels);
        _responseSizes = registry.Histograms(
            "apiserver_response_sizes", "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
            Histogram.Exponential(1000, 10, 7), s_labels);
        _bodySizes = registry.Histograms(
            "apiserver_request_body_size_bytes", "[ALPHA] Apiserver request body size in bytes broken out by resource and verb.", Histogram.Linear(50000, 100000, 31), "resource", "verb", "group");
        _longRunning = registry.Gauges(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.", s_labels);
        _deprecated = registry.Gauges(
            "apiserver_requested_deprecated_apis", "[STABLE] Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.",
            "group", "version", "resource", "subresource", "removed_release");
        _aborts = registry.Counters(
            "apiserver_request_aborts_total", "[ALPHA] Number of requests which apiserver aborted possibly due to a timeout, for each group, version, verb, resource, subresource and scope",
            "verb", "group", "version", "resource", "subresource", "scope");
        _terminations = registry.Counters("apiserver_request_terminations_total", "[ALPHA] Number of requests which apiserver terminated in self-defense.", [.. s_labels, "code"]);
        var inFlight = registry.Gauges(
            "apiserver_current_inflight_requests", "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.", "request_kind");
        _readOnly = inFlight.With("readOnly");
        _mutating = inFlight.With("mutating");
    }

    /// <summary>A request has come.</summary>
    internal void Begin(ApiCall call)
    {
        if (!IsLongRunning(call.Info))
            InFlight(call).Add(1);
    }

    /// <summary>The same request is over, as its <see cref="ApiCall.Served"/> and its answer tell. Long-running ones were noted when they began to be answered.</summary>
    internal void End(ApiCall call, long startedTimestamp)
    {
        if (!IsLongRunning(call.Info))
            InFlight(call).Add(-1);
        if (call.LongRunning is { } gauge)
        {
            call.LongRunning = null;
            gauge.Add(-1);
        }
        if (call.AnsweredStatus == 0)
        {
            if (SeriesOf(call) is { } aborted)
                aborted.Aborts.Add();
            return;
        }
        if (SeriesOf(call) is not { } series)
            return;
        var isDryRun = IsDryRun(call);
        series.Count(call.AnsweredStatus, isDryRun);
        var seconds = Stopwatch.GetElapsedTime(startedTimestamp).TotalSeconds;
        series.Durations(isDryRun).Observe(seconds);
        if (!isDryRun)
            series.Objective.Observe(seconds);
        if (call.Info.Verb is Verb.Get or Verb.List)
            series.ResponseSizes.Observe(call.SentBytes);
        if (call.ReceivedBytes > 0 && call.Served is not null)
            series.BodySizes.Observe(call.ReceivedBytes);
        if (call.AnsweredStatus is 429 or 504)
            series.Terminations(call.AnsweredStatus).Add();
    }

    /// <summary>A request begins an answer that stays: a watch, a stream.</summary>
    internal void BeginLongRunning(ApiCall call)
    {
        if (call.LongRunning is not null || SeriesOf(call) is not { } series)
            return;
        call.LongRunning = series.LongRunning;
        series.LongRunning.Add(1);
    }

    /// <summary>True for requests that end when somebody wants them to: they are in no limit of those in flight.</summary>
    internal static bool IsLongRunning(in RequestInfo info) =>
        info.Verb is Verb.Watch or Verb.Proxy || info.IsResourceRequest && !info.Subresource.IsEmpty && IsConnect(info.Subresource);

    private static bool IsConnect(ReadOnlySpan<byte> subresource) =>
        subresource.SequenceEqual("exec"u8) || subresource.SequenceEqual("attach"u8) || subresource.SequenceEqual("portforward"u8) || subresource.SequenceEqual("proxy"u8) || subresource.SequenceEqual("log"u8);

    private Gauge InFlight(ApiCall call) => call.Method is "GET" or "HEAD" ? _readOnly : _mutating;

    private static bool IsDryRun(ApiCall call) => !call.Info.Query.IsEmpty && call.Info.TryGetQuery("dryRun"u8, out var value) && value.SequenceEqual("All"u8);

    // Null for what upstream does not count: paths and resources that nobody serves.
    private RequestSeries? SeriesOf(ApiCall call)
    {
        var info = call.Info;
        string subresource;
        if (!info.IsResourceRequest)
        {
            subresource = PathLabel(info.Path);
            if (subresource.Length == 0)
                return null;
        }
        else if (call.Served is null)
            return null;
        else
            subresource = info.Subresource.IsEmpty ? "" : KnownSubresource(call.Served, info.Subresource);
        if (subresource is null)
            return null;
        var key = new SeriesKey(Reported(call), call.Served, subresource, Scope(info));
        return _series.TryGetValue(key, out var known) ? known : _series.GetOrAdd(key, Make(key));
    }

    private RequestSeries Make(SeriesKey key)
    {
        if (key.Resource is { Group: "", Resource: "endpoints" or "componentstatuses" } deprecated)
            _deprecated.With(deprecated.Group, deprecated.Version, deprecated.Resource, key.Subresource, "").Set(1);
        string[] labels =
        [
            key.Verb, key.Resource?.Group ?? "", key.Resource?.Version ?? "", key.Resource?.Resource ?? "", key.Subresource, key.Scope, key.Resource is null ? "" : "apiserver",
        ];
        return new RequestSeries(this, labels);
    }

    private static string Reported(ApiCall call)
    {
        var info = call.Info;
        if (info.IsResourceRequest && !info.Subresource.IsEmpty && IsConnect(info.Subresource))
            return "CONNECT";
        return info.Verb switch
        {
            Verb.Watch => "WATCH",
            Verb.List => "LIST",
            Verb.Get or Verb.Head => "GET",
            Verb.Create or Verb.Post => "POST",
            Verb.Update or Verb.Put => "PUT",
            Verb.Patch => call.ContentType is { } type && type.StartsWith("application/apply-patch", StringComparison.Ordinal) ? "APPLY" : "PATCH",
            Verb.Delete or Verb.DeleteCollection => "DELETE",
            Verb.Proxy => "CONNECT",
            Verb.Options => "OPTIONS",
            _ => "other",
        };
    }

    /// <summary>resource, namespace or cluster; "" for what is no resource.</summary>
    internal static string Scope(in RequestInfo info)
    {
        if (!info.Name.IsEmpty || info.Verb == Verb.Create)
            return "resource";
        return !info.Namespace.IsEmpty ? "namespace" : info.IsResourceRequest ? "cluster" : "";
    }

    private static string KnownSubresource(ResourceInfo resource, ReadOnlySpan<byte> name)
    {
        foreach (var subresource in resource.Subresources)
        {
            if (name.Length == subresource.Name.Length && Ascii.Equals(name, subresource.Name))
                return subresource.Name;
        }
        return null!;
    }

    private static string PathLabel(ReadOnlySpan<byte> path)
    {
        if (path.SequenceEqual("/livez"u8)) return "/livez";
        if (path.SequenceEqual("/readyz"u8)) return "/readyz";
        if (path.SequenceEqual("/healthz"u8)) return "/healthz";
        if (path.SequenceEqual("/openapi/v3"u8)) return "openapi/v3";
        return path.StartsWith("/openapi/v3/"u8) ? "openapi/v3/" : "";
    }

    private readonly record struct SeriesKey(string Verb, ResourceInfo? Resource, string Subresource, string Scope);

    /// <summary>The instruments of one kind of request. What most kinds never need is made when they do.</summary>
    private sealed class RequestSeries(RequestMetrics owner, string[] labels)
    {
        private readonly ConcurrentDictionary<int, Counter> _codes = new();
        private readonly Histogram _durations = owner._durations.With([.. labels, ""]);
        private Histogram? _dryRunDurations, _responseSizes, _bodySizes;
        private Gauge? _longRunning;

        internal Histogram Objective { get; } = owner._objectiveDurations.With(labels);

        internal Histogram ResponseSizes => _responseSizes ??= owner._responseSizes.With(labels);

        internal Histogram BodySizes => _bodySizes ??= owner._bodySizes.With(labels[3], labels[0] switch { "POST" => "create", "PUT" => "update", var verb => verb.ToLowerInvariant() }, labels[1]);

        internal Gauge LongRunning => _longRunning ??= owner._longRunning.With(labels);

        internal Counter Aborts => owner._aborts.With(labels.AsSpan(0, 6));

        internal Histogram Durations(bool isDryRun) => isDryRun ? _dryRunDurations ??= owner._durations.With([.. labels, "All"]) : _durations;

        internal void Count(int code, bool isDryRun)
        {
            var key = code * 2 + (isDryRun ? 1 : 0);
            var counter = _codes.TryGetValue(key, out var known) ? known : _codes.GetOrAdd(key, owner._total.With([.. labels, isDryRun ? "All" : "", CodeText(code)]));
            counter.Add();
        }

        internal Counter Terminations(int code) => owner._terminations.With([.. labels, CodeText(code)]);

        private static string CodeText(int code) => code.ToString(System.Globalization.CultureInfo.InvariantCulture);
    }
}
