using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using K3sFast.Kubelet.Pods;
using K3sFast.Kubelet.Stats;

namespace K3sFast.Kubelet.Server;

/// <summary>/stats/summary for metrics collectors, and the Prometheus endpoints /metrics, /metrics/resource and /metrics/cadvisor.</summary>
internal sealed class StatsHandler(PodManager pods, PodServices services)
{
    private const string MetricsType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly StatsCollector _collector = new(services.Cri);
    private readonly Lock _gate = new();
    private NodeSample? _lastNode;

    public async Task SummaryAsync(KubeletRequest request)
    {
        var samples = await _collector.CollectAsync(request.Aborted).ConfigureAwait(false);
        var node = NodeSample.Read(services.Machine, services.Options.RootDir, services.Time);
        var buffer = new ArrayBufferWriter<byte>(4096);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject("node"u8);
            json.WriteString("nodeName"u8, services.Options.NodeName);
            WriteUsage(json, node.At, node.CpuNanoseconds, NodeRate(node), (ulong)node.WorkingSetBytes, (ulong)node.WorkingSetBytes, node.AvailableMemoryBytes);
            json.WriteStartObject("fs"u8);
            json.WriteString("time"u8, Time(node.At));
            json.WriteNumber("availableBytes"u8, node.Disk.AvailableBytes);
            json.WriteNumber("capacityBytes"u8, node.Disk.TotalBytes);
            json.WriteNumber("usedBytes"u8, node.Disk.TotalBytes - node.Disk.AvailableBytes);
            json.WriteNumber("inodesFree"u8, node.Disk.FreeInodes);
            json.WriteNumber("inodes"u8, node.Disk.TotalInodes);
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteStartArray("pods"u8);
            foreach (var pod in samples.GroupBy(sample => sample.PodUid)) WritePod(json, [.. pod]);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        await request.AnswerAsync(200, Encoding.UTF8.GetString(buffer.WrittenSpan), "application/json").ConfigureAwait(false);
    }

    public async Task ResourceMetricsAsync(KubeletRequest request)
    {
        var samples = await _collector.CollectAsync(request.Aborted).ConfigureAwait(false);
        var node = NodeSample.Read(services.Machine, services.Options.RootDir, services.Time);
        var text = new StringBuilder();
        Head(text, "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds");
        foreach (var sample in samples) Line(text, "container_cpu_usage_seconds_total", Labels(sample), sample.CpuNanoseconds / 1e9, sample.At);
        Head(text, "container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes");
        foreach (var sample in samples) Line(text, "container_memory_working_set_bytes", Labels(sample), sample.WorkingSetBytes, sample.At);
        Head(text, "node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds");
        Line(text, "node_cpu_usage_seconds_total", "", node.CpuNanoseconds / 1e9, node.At);
        Head(text, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
        Line(text, "node_memory_working_set_bytes", "", node.WorkingSetBytes, node.At);
        Head(text, "pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds");
        foreach (var pod in samples.GroupBy(sample => (sample.Namespace, sample.Pod))) Line(text, "pod_cpu_usage_seconds_total", PodLabels(pod.Key), pod.Sum(sample => sample.CpuNanoseconds / 1e9), pod.First().At);
        Head(text, "pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes");
        foreach (var pod in samples.GroupBy(sample => (sample.Namespace, sample.Pod))) Line(text, "pod_memory_working_set_bytes", PodLabels(pod.Key), pod.Sum(sample => (double)sample.WorkingSetBytes), pod.First().At);
        Head(text, "resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise");
        Line(text, "resource_scrape_error", "", 0, null);
        await request.AnswerAsync(200, text.ToString(), MetricsType).ConfigureAwait(false);
    }

    public async Task ContainerMetricsAsync(KubeletRequest request)
    {
        var samples = await _collector.CollectAsync(request.Aborted).ConfigureAwait(false);
        var text = new StringBuilder();
        Head(text, "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.");
        foreach (var sample in samples) Line(text, "container_cpu_usage_seconds_total", $"{Labels(sample)},cpu=\"total\",id=\"{sample.Id}\"", sample.CpuNanoseconds / 1e9, sample.At);
        Head(text, "container_memory_working_set_bytes", "gauge", "Current working set in bytes.");
        foreach (var sample in samples) Line(text, "container_memory_working_set_bytes", $"{Labels(sample)},id=\"{sample.Id}\"", sample.WorkingSetBytes, sample.At);
        Head(text, "machine_cpu_cores", "gauge", "Number of logical CPU cores.");
        Line(text, "machine_cpu_cores", "", services.Machine.Cpus, null);
        Head(text, "machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
        Line(text, "machine_memory_bytes", "", services.Machine.MemoryBytes, null);
        await request.AnswerAsync(200, text.ToString(), MetricsType).ConfigureAwait(false);
    }

    public Task MetricsAsync(KubeletRequest request)
    {
        var workers = pods.Workers;
        var containers = workers.SelectMany(worker => worker.Runtime.Containers).ToList();
        var text = new StringBuilder();
        Head(text, "kubelet_node_name", "gauge", "The node's name. The count is always 1.");
        Line(text, "kubelet_node_name", $"node=\"{services.Options.NodeName}\"", 1, null);
        Head(text, "kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
        Line(text, "kubelet_running_pods", "", workers.Count(worker => worker.Runtime.Sandbox is { IsReady: true }), null);
        Head(text, "kubelet_running_containers", "gauge", "Number of containers currently running");
        Line(text, "kubelet_running_containers", "container_state=\"running\"", containers.Count(record => record.IsRunning), null);
        Line(text, "kubelet_running_containers", "container_state=\"exited\"", containers.Count(record => record.IsExited), null);
        return request.AnswerAsync(200, text.ToString(), MetricsType);
    }

    private void WritePod(Utf8JsonWriter json, IReadOnlyList<ContainerSample> containers)
    {
        var first = containers[0];
        var worker = pods.Find(first.Namespace, first.Pod);
        json.WriteStartObject();
        json.WriteStartObject("podRef"u8);
        json.WriteString("name"u8, first.Pod);
        json.WriteString("namespace"u8, first.Namespace);
        json.WriteString("uid"u8, first.PodUid);
        json.WriteEndObject();
        if (worker?.PodWithStatus.Status?.StartTime is { } started) json.WriteString("startTime"u8, Time(started.ToUniversalTime()));
        json.WriteStartArray("containers"u8);
        foreach (var container in containers)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, container.Name);
            if (worker?.Runtime.Latest(container.Name) is { } record) json.WriteString("startTime"u8, Time(new DateTimeOffset(record.StartedAt, TimeSpan.Zero)));
            WriteUsage(json, container.At, container.CpuNanoseconds, container.CpuNanoCores, container.WorkingSetBytes, container.UsageBytes, null);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        WriteUsage(
            json,
            first.At,
            containers.Aggregate(0UL, (sum, sample) => sum + sample.CpuNanoseconds),
            containers.Aggregate(0UL, (sum, sample) => sum + sample.CpuNanoCores),
            containers.Aggregate(0UL, (sum, sample) => sum + sample.WorkingSetBytes),
            containers.Aggregate(0UL, (sum, sample) => sum + sample.UsageBytes),
            null);
        json.WriteEndObject();
    }

    private static void WriteUsage(Utf8JsonWriter json, DateTimeOffset at, ulong cpu, ulong rate, ulong workingSet, ulong usage, long? available)
    {
        json.WriteStartObject("cpu"u8);
        json.WriteString("time"u8, Time(at));
        json.WriteNumber("usageNanoCores"u8, rate);
        json.WriteNumber("usageCoreNanoSeconds"u8, cpu);
        json.WriteEndObject();
        json.WriteStartObject("memory"u8);
        json.WriteString("time"u8, Time(at));
        if (available is { } left) json.WriteNumber("availableBytes"u8, left);
        if (usage > 0) json.WriteNumber("usageBytes"u8, usage);
        json.WriteNumber("workingSetBytes"u8, workingSet);
        json.WriteEndObject();
    }

    private ulong NodeRate(NodeSample sample)
    {
        lock (_gate)
        {
            var former = _lastNode;
            _lastNode = sample;
            if (former is null || sample.At <= former.At) return 0;
            return (ulong)((sample.CpuNanoseconds - former.CpuNanoseconds) / (sample.At - former.At).TotalSeconds);
        }
    }

    private static string Labels(ContainerSample sample) => $"container=\"{sample.Name}\",{PodLabels((sample.Namespace, sample.Pod))}";

    private static string PodLabels((string Namespace, string Pod) pod) => $"namespace=\"{pod.Namespace}\",pod=\"{pod.Pod}\"";

    private static void Head(StringBuilder text, string name, string type, string help) =>
        text.Append("# HELP ").Append(name).Append(' ').Append(help).Append("\n# TYPE ").Append(name).Append(' ').Append(type).Append('\n');

    private static void Line(StringBuilder text, string name, string labels, double value, DateTimeOffset? at)
    {
        text.Append(name);
        if (labels.Length > 0) text.Append('{').Append(labels).Append('}');
        text.Append(' ').Append(value.ToString("R", CultureInfo.InvariantCulture));
        if (at is { } time) text.Append(' ').Append(time.ToUnixTimeMilliseconds());
        text.Append('\n');
    }

    private static string Time(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);

    private static string Time(DateTime time) => time.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture);
}
