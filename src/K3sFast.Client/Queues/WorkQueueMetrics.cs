namespace K3sFast.Client;

/// <summary>The figures of one named queue, under upstream's names; queues of the same name share them.</summary>
/// <remarks>Any thread. The depth and the work that lasts are looked up when metrics are printed; queues that are gone are forgotten then.</remarks>
internal sealed class WorkQueueMetrics
{
    // Upstream's bounds: 10 ns to 10 s.
    private static readonly double[] s_bounds = Histogram.Exponential(10e-9, 10, 10);

    private static readonly Lock s_gate = new();
    private static readonly List<WeakReference<IWorkQueueState>> s_queues = [];

    private static readonly MetricFamily<Counter> s_adds = MetricRegistry.Process.Counters("workqueue_adds_total", "[BETA] Total number of adds handled by workqueue", "name");
    private static readonly MetricFamily<Counter> s_retries = MetricRegistry.Process.Counters("workqueue_retries_total", "[BETA] Total number of retries handled by workqueue", "name");
    private static readonly MetricFamily<Histogram> s_waits = MetricRegistry.Process.Histograms(
        "workqueue_queue_duration_seconds", "[BETA] How long in seconds an item stays in workqueue before being requested.", s_bounds, "name");
    private static readonly MetricFamily<Histogram> s_works = MetricRegistry.Process.Histograms(
        "workqueue_work_duration_seconds", "[BETA] How long in seconds processing an item from workqueue takes.", s_bounds, "name");

    static WorkQueueMetrics()
    {
        MetricRegistry.Process.Collected("workqueue_depth", "gauge", "[BETA] Current depth of workqueue", static text => Write(text, "workqueue_depth", static state => state.Depth));
        MetricRegistry.Process.Collected(
            "workqueue_unfinished_work_seconds", "gauge",
            "[BETA] How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.",
            static text => Write(text, "workqueue_unfinished_work_seconds", static state => state.UnfinishedSeconds));
        MetricRegistry.Process.Collected(
            "workqueue_longest_running_processor_seconds", "gauge", "[BETA] How many seconds has the longest running processor for workqueue been running.",
            static text => Write(text, "workqueue_longest_running_processor_seconds", static state => state.LongestSeconds));
    }

    internal WorkQueueMetrics(string name, IWorkQueueState queue)
    {
        Adds = s_adds.With(name);
        Retries = s_retries.With(name);
        Waits = s_waits.With(name);
        Works = s_works.With(name);
        lock (s_gate)
            s_queues.Add(new WeakReference<IWorkQueueState>(queue));
    }

    internal Counter Adds { get; }

    internal Counter Retries { get; }

    internal Histogram Waits { get; }

    internal Histogram Works { get; }

    private static void Write(MetricText text, string metric, Func<IWorkQueueState, double> read)
    {
        var values = new SortedDictionary<string, double>(StringComparer.Ordinal);
        lock (s_gate)
        {
            s_queues.RemoveAll(static reference => !reference.TryGetTarget(out _));
            foreach (var reference in s_queues)
            {
                if (reference.TryGetTarget(out var queue))
                    values[queue.Name] = values.GetValueOrDefault(queue.Name) + read(queue);
            }
        }
        foreach (var (name, value) in values)
            text.Sample(metric, $"name=\"{name}\"", value);
    }
}

/// <summary>What a queue tells of itself when metrics are printed.</summary>
internal interface IWorkQueueState
{
    string Name { get; }

    double Depth { get; }

    double UnfinishedSeconds { get; }

    double LongestSeconds { get; }
}
