using System.Buffers;
using System.Diagnostics;
using System.Text;
using K3sFast.Client;

namespace K3sFast.ApiServer.Tests;

/// <summary>What priority and fairness tells of itself, and that telling costs nothing.</summary>
public sealed class FlowMetricsTests(TestServer server)
{
    [Fact]
    public async Task Metrics_OfARequest_TellItsSchemaLevelAndSeats()
    {
        await server.GetAsync("/api/v1/namespaces");
        var text = (await server.GetAsync("/metrics")).Text;
        const string Exempt = "flow_schema=\"exempt\",priority_level=\"exempt\"";
        Assert.Matches($"apiserver_flowcontrol_dispatched_requests_total{{{Exempt}}} [1-9]", text);
        // The request for the metrics is being served.
        Assert.Matches($"apiserver_flowcontrol_current_executing_requests{{{Exempt}}} [1-9]", text);
        Assert.Matches($"apiserver_flowcontrol_current_executing_seats{{{Exempt}}} [1-9]", text);
        Assert.Matches($"apiserver_flowcontrol_request_execution_seconds_count{{{Exempt},type=\"regular\"}} [1-9]", text);
        Assert.Contains("# TYPE apiserver_flowcontrol_demand_seats histogram\n", text, StringComparison.Ordinal);
        foreach (var name in (string[])["nominal_limit_seats", "lower_limit_seats", "upper_limit_seats", "current_limit_seats", "target_seats", "demand_seats_count"])
            Assert.Matches($"apiserver_flowcontrol_{name}{{priority_level=\"workload-low\"}} [1-9]", text);
        Assert.Matches("apiserver_flowcontrol_priority_level_seat_utilization_count{phase=\"executing\",priority_level=\"exempt\"} [1-9]", text);
        Assert.Matches("apiserver_flowcontrol_priority_level_request_utilization_count{phase=\"waiting\",priority_level=\"workload-low\"} [1-9]", text);
        Assert.Matches("apiserver_flowcontrol_read_vs_write_current_requests_count{phase=\"executing\",request_kind=\"readOnly\"} [1-9]", text);
        Assert.Matches("apiserver_flowcontrol_seat_fair_frac [1-9]", text);
    }

    [Fact]
    public void Noting_OfEveryEvent_AllocatesNothing()
    {
        var series = new FlowMetrics(new MetricRegistry(), TimeProvider.System).Of("level", "schema");
        Note(series, 10);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Note(series, 1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void Waiting_IsAGaugeOfRequestsAndSeats()
    {
        var registry = new MetricRegistry();
        var series = new FlowMetrics(registry, TimeProvider.System).Of("level", "schema");
        series.Queued(3, 2, isMutating: true);
        Assert.Contains("apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"schema\",priority_level=\"level\"} 1\n", Text(registry), StringComparison.Ordinal);
        Assert.Contains("apiserver_flowcontrol_current_inqueue_seats{flow_schema=\"schema\",priority_level=\"level\"} 2\n", Text(registry), StringComparison.Ordinal);
        Assert.Contains("apiserver_current_inqueue_requests{request_kind=\"mutating\"} 1\n", Text(registry), StringComparison.Ordinal);
        series.Left(2, isMutating: true);
        series.TimedOut();
        Assert.Contains("apiserver_flowcontrol_current_inqueue_seats{flow_schema=\"schema\",priority_level=\"level\"} 0\n", Text(registry), StringComparison.Ordinal);
        Assert.Contains("apiserver_flowcontrol_rejected_requests_total{flow_schema=\"schema\",priority_level=\"level\",reason=\"time-out\"} 1\n", Text(registry), StringComparison.Ordinal);
    }

    private static string Text(MetricRegistry registry)
    {
        var output = new ArrayBufferWriter<byte>();
        registry.Write(output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }

    private static void Note(FlowMetrics.FlowSeries series, int times)
    {
        for (var i = 0; i < times; i++)
        {
            series.Estimated(1);
            series.Passed(1);
            series.Refused(isQueueFull: i % 2 == 0);
            series.Queued(2, 1, isMutating: i % 2 == 0);
            series.Left(1, isMutating: i % 2 == 0);
            series.Waited(Stopwatch.GetTimestamp());
            series.TimedOut();
            series.Started(1, isMutating: true);
            series.Ended(1, isWatch: i % 2 == 0, isMutating: true, Stopwatch.GetTimestamp());
        }
    }
}
