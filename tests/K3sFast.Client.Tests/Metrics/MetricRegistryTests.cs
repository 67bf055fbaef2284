using System.Buffers;
using System.Text;

namespace K3sFast.Client.Tests;

public sealed class MetricRegistryTests
{
    [Fact]
    public void Write_EachKind_PrintsPrometheusText()
    {
        var registry = new MetricRegistry();
        registry.Counters("requests_total", "[STABLE] Requests.", "verb", "code").With("GET", "200").Add(3);
        registry.Gauge("depth", "Depth now.").Set(2.5);
        var sizes = registry.Histograms("sizes", "Sizes.", [1, 10], "name").With("a\"b\\c\nd");
        sizes.Observe(1);
        sizes.Observe(4);
        sizes.Observe(11);

        Assert.Equal(
            """
            # HELP depth Depth now.
            # TYPE depth gauge
            depth 2.5
            # HELP requests_total [STABLE] Requests.
            # TYPE requests_total counter
            requests_total{code="200",verb="GET"} 3
            # HELP sizes Sizes.
            # TYPE sizes histogram
            sizes_bucket{name="a\"b\\c\nd",le="1"} 1
            sizes_bucket{name="a\"b\\c\nd",le="10"} 2
            sizes_bucket{name="a\"b\\c\nd",le="+Inf"} 3
            sizes_sum{name="a\"b\\c\nd"} 16
            sizes_count{name="a\"b\\c\nd"} 3

            """,
            Text(registry));
    }

    [Theory]
    [InlineData(0, "0")]
    [InlineData(1, "1")]
    [InlineData(0.005, "0.005")]
    [InlineData(0.0001, "0.0001")]
    [InlineData(0.00001, "1e-05")]
    [InlineData(10e-9 * 10 * 10, "1e-06")]
    [InlineData(10e-9 * 10 * 10 * 10, "9.999999999999999e-06")]
    [InlineData(0.1 + 0.2, "0.30000000000000004")]
    [InlineData(274432, "274432")]
    [InlineData(1000000, "1e+06")]
    [InlineData(1363728, "1.363728e+06")]
    [InlineData(-2592000, "-2.592e+06")]
    [InlineData(1795636819.95, "1.79563681995e+09")]
    [InlineData(double.PositiveInfinity, "+Inf")]
    public void Write_Numbers_AreGosShortestForm(double value, string text)
    {
        var registry = new MetricRegistry();
        registry.Gauge("x", "X.").Set(value);
        Assert.EndsWith($"\nx {text}\n", Text(registry), StringComparison.Ordinal);
    }

    [Fact]
    public void Write_SeveralRegistries_AreOneListByName()
    {
        var one = new MetricRegistry();
        var other = new MetricRegistry();
        one.Counter("c_total", "C.").Add();
        other.Counter("b_total", "B.").Add();
        one.Counters("a_total", "No series: not printed.", "name");

        var output = new ArrayBufferWriter<byte>();
        one.Write(output, other);
        Assert.Equal(["b_total 1", "c_total 1"], Encoding.UTF8.GetString(output.WrittenSpan).Split('\n').Where(static line => line.Length > 0 && line[0] != '#'));
    }

    [Fact]
    public void With_MoreSeriesThanTheBound_SharesOneThatIsNotPrinted()
    {
        var registry = new MetricRegistry();
        var family = registry.Counters("x_total", "X.", "name");
        for (var i = 0; i < MetricFamily<Counter>.MaxSeries + 100; i++)
            family.With($"n{i}").Add();

        Assert.Equal(MetricFamily<Counter>.MaxSeries, Text(registry).Split('\n').Count(static line => line.StartsWith("x_total{", StringComparison.Ordinal)));
        Assert.Same(family.With("beyond"), family.With("another"));
    }

    [Fact]
    public void Instruments_Noting_AllocatesNothing()
    {
        var registry = new MetricRegistry();
        var counter = registry.Counter("c_total", "C.");
        var gauge = registry.Gauge("g", "G.");
        var histogram = registry.Histogram("h", "H.", [1, 2, 3]);
        Note();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
            Note();

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Note()
        {
            counter.Add();
            gauge.Add(1);
            histogram.Observe(2);
        }
    }

    [Fact]
    public void ProcessMetrics_Registered_TellOfThisProcess()
    {
        ProcessMetrics.Register();
        ProcessMetrics.Register();
        var values = Text(MetricRegistry.Process).Split('\n').Where(static line => line.Length > 0 && line[0] != '#' && !line.Contains('{', StringComparison.Ordinal))
            .Select(static line => line.Split(' ')).ToDictionary(static cells => cells[0], static cells => double.Parse(cells[1], System.Globalization.CultureInfo.InvariantCulture));

        Assert.InRange(values["process_resident_memory_bytes"], 10e6, 10e9);
        Assert.InRange(values["process_open_fds"], 3, values["process_max_fds"]);
        Assert.True(values["process_cpu_seconds_total"] > 0);
        Assert.InRange(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - values["process_start_time_seconds"], 0, 3600);
    }

    [Fact]
    public async Task WorkQueue_Measured_CountsWhatHappens()
    {
        using var queue = new WorkQueue<string>();
        queue.Measure("measured-queue");
        queue.Add("a");
        queue.Add("a");
        queue.Add("b");
        Assert.Contains("workqueue_depth{name=\"measured-queue\"} 2\n", Text(MetricRegistry.Process), StringComparison.Ordinal);

        queue.Done(await queue.TakeAsync(TestContext.Current.CancellationToken));
        await queue.TakeAsync(TestContext.Current.CancellationToken);
        var text = Text(MetricRegistry.Process);
        queue.AddRateLimited("b");

        Assert.Contains("workqueue_adds_total{name=\"measured-queue\"} 2\n", text, StringComparison.Ordinal);
        Assert.Contains("workqueue_retries_total{name=\"measured-queue\"} 1\n", Text(MetricRegistry.Process), StringComparison.Ordinal);
        Assert.Contains("workqueue_queue_duration_seconds_count{name=\"measured-queue\"} 2\n", text, StringComparison.Ordinal);
        Assert.Contains("workqueue_work_duration_seconds_count{name=\"measured-queue\"} 1\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("workqueue_unfinished_work_seconds{name=\"measured-queue\"} 0\n", text, StringComparison.Ordinal);
    }

    private static string Text(MetricRegistry registry)
    {
        var output = new ArrayBufferWriter<byte>();
        registry.Write(output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }
}
