using System.Diagnostics;
using System.Globalization;

namespace K3sFast.Client;

/// <summary>What clients of the API in this process asked and got, under upstream's names. A client inside the server's process has the host "in-process".</summary>
public static class RestClientMetrics
{
    // Upstream's bounds.
    private static readonly double[] s_bounds = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];

    private static readonly MetricFamily<Counter> s_requests = MetricRegistry.Process.Counters(
        "rest_client_requests_total", "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.", "code", "method", "host");

    private static readonly MetricFamily<Histogram> s_durations = MetricRegistry.Process.Histograms(
        "rest_client_request_duration_seconds", "[ALPHA] Request latency in seconds. Broken down by verb, and host.", s_bounds, "verb", "host");

    /// <summary>Notes an answer.</summary>
    public static void Answered(string host, string method, int code, long startedTimestamp)
    {
        s_requests.With(code.ToString(CultureInfo.InvariantCulture), method, host).Add();
        s_durations.With(method, host).Observe(Stopwatch.GetElapsedTime(startedTimestamp).TotalSeconds);
    }
}
