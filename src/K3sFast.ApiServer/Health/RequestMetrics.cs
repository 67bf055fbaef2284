using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace K3sFast.ApiServer;

/// <summary>The figures of /metrics, under upstream's names, in Prometheus' text form.</summary>
/// <remarks>Any thread. Counting a request of a known kind allocates nothing.</remarks>
internal sealed class RequestMetrics(TimeProvider clock)
{
    // Upstream's buckets of apiserver_request_duration_seconds, thinned to those that dashboards show.
    private static readonly double[] s_buckets = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.5, 2, 3, 5, 10, 30, 60];

    private readonly ConcurrentDictionary<(Verb Verb, string Resource, string Group, string Version, string Subresource), Series> _series = new();
    private readonly DateTimeOffset _started = clock.GetUtcNow();
    private long _inFlight;

    internal Func<IEnumerable<(string Resource, int Count)>>? ObjectCounts { get; set; }

    internal PodSecurityMetrics? PodSecurity { get; set; }

    internal void Begin() => Interlocked.Increment(ref _inFlight);

    internal void Count(ApiCall call, long startedTimestamp)
    {
        Interlocked.Decrement(ref _inFlight);
        var info = call.Info;
        var resource = info.IsResourceRequest ? call.Served : null;
        var key = (info.Verb, resource?.Resource ?? "", resource?.Group ?? "", resource?.Version ?? "", info.Subresource.IsEmpty || resource is null ? "" : SubresourceName(info.Subresource));
        var series = _series.GetOrAdd(key, static _ => new Series());
        series.Count(call.AnsweredStatus, info.Verb == Verb.Watch ? -1 : Stopwatch.GetElapsedTime(startedTimestamp).TotalSeconds);
    }

    internal string Write()
    {
        var text = new StringBuilder();
        text.Append("# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, group, version, resource, scope and HTTP response code.\n# TYPE apiserver_request_total counter\n");
        foreach (var (key, series) in _series)
        {
            foreach (var (code, count) in series.Codes)
                text.Append(CultureInfo.InvariantCulture, $"apiserver_request_total{{code=\"{code}\",{Labels(key)}}} {count}\n");
        }
        text.Append("# HELP apiserver_request_duration_seconds Response latency distribution in seconds for each verb, group, version, resource and subresource.\n# TYPE apiserver_request_duration_seconds histogram\n");
        foreach (var (key, series) in _series)
            series.WriteHistogram(text, Labels(key));
        text.Append("# HELP apiserver_current_inflight_requests Requests being served now.\n# TYPE apiserver_current_inflight_requests gauge\n")
            .Append(CultureInfo.InvariantCulture, $"apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {Volatile.Read(ref _inFlight)}\n");
        if (ObjectCounts is not null)
        {
            text.Append("# HELP apiserver_storage_objects Number of stored objects by resource.\n# TYPE apiserver_storage_objects gauge\n");
            foreach (var (resource, count) in ObjectCounts())
                text.Append(CultureInfo.InvariantCulture, $"apiserver_storage_objects{{resource=\"{resource}\"}} {count}\n");
        }
        PodSecurity?.Write(text);
        using var process = Process.GetCurrentProcess();
        text.Append("# HELP process_resident_memory_bytes Resident memory size in bytes.\n# TYPE process_resident_memory_bytes gauge\n")
            .Append(CultureInfo.InvariantCulture, $"process_resident_memory_bytes {process.WorkingSet64}\n")
            .Append("# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.\n# TYPE process_cpu_seconds_total counter\n")
            .Append(CultureInfo.InvariantCulture, $"process_cpu_seconds_total {process.TotalProcessorTime.TotalSeconds}\n")
            .Append("# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.\n# TYPE process_start_time_seconds gauge\n")
            .Append(CultureInfo.InvariantCulture, $"process_start_time_seconds {_started.ToUnixTimeSeconds()}\n");
        return text.ToString();
    }

    // Only the subresources that exist become labels: a client must not be able to make series.
    private static string SubresourceName(ReadOnlySpan<byte> name)
    {
        foreach (var known in (ReadOnlySpan<string>)["status", "scale", "log", "exec", "attach", "portforward", "proxy", "binding", "eviction", "token", "finalize", "approval", "ephemeralcontainers", "resize"])
        {
            if (name.Length == known.Length && Ascii.Equals(name, known))
                return known;
        }
        return "other";
    }

    private static string Labels((Verb Verb, string Resource, string Group, string Version, string Subresource) key) =>
        $"component=\"apiserver\",group=\"{key.Group}\",resource=\"{key.Resource}\",subresource=\"{key.Subresource}\",verb=\"{key.Verb.Text().ToUpperInvariant()}\",version=\"{key.Version}\"";

    private sealed class Series
    {
        private readonly ConcurrentDictionary<int, StrongBox> _codes = new();
        private readonly long[] _counts = new long[s_buckets.Length];
        private long _total;
        private double _sum;

        internal IEnumerable<(int Code, long Count)> Codes => _codes.Select(static pair => (pair.Key, Volatile.Read(ref pair.Value.Value)));

        internal void Count(int code, double seconds)
        {
            Interlocked.Increment(ref _codes.GetOrAdd(code, static _ => new StrongBox()).Value);
            // A watch's length says nothing about latency.
            if (seconds < 0)
                return;
            for (var i = 0; i < s_buckets.Length; i++)
            {
                if (seconds > s_buckets[i])
                    continue;
                Interlocked.Increment(ref _counts[i]);
                break;
            }
            Interlocked.Increment(ref _total);
            double before, after;
            do
            {
                before = Volatile.Read(ref _sum);
                after = before + seconds;
            }
            while (Interlocked.CompareExchange(ref _sum, after, before) != before);
        }

        internal void WriteHistogram(StringBuilder text, string labels)
        {
            long cumulative = 0;
            for (var i = 0; i < s_buckets.Length; i++)
            {
                cumulative += Volatile.Read(ref _counts[i]);
                text.Append(CultureInfo.InvariantCulture, $"apiserver_request_duration_seconds_bucket{{{labels},le=\"{s_buckets[i]}\"}} {cumulative}\n");
            }
            text.Append(CultureInfo.InvariantCulture, $"apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {Volatile.Read(ref _total)}\n")
                .Append(CultureInfo.InvariantCulture, $"apiserver_request_duration_seconds_sum{{{labels}}} {Volatile.Read(ref _sum)}\n")
                .Append(CultureInfo.InvariantCulture, $"apiserver_request_duration_seconds_count{{{labels}}} {Volatile.Read(ref _total)}\n");
        }

        private sealed class StrongBox
        {
            internal long Value;
        }
    }
}
