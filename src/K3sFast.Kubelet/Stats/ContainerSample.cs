using System.Collections.Concurrent;
using K3sFast.Kubelet.Cri;

namespace K3sFast.Kubelet.Stats;

/// <summary>What one container uses. Rates are over the time since the sample before it; 0 at the first.</summary>
internal sealed record ContainerSample(
    string Id, string Name, string Pod, string Namespace, string PodUid, DateTimeOffset At, ulong CpuNanoseconds, ulong CpuNanoCores, ulong WorkingSetBytes, ulong UsageBytes, ulong RssBytes);

/// <summary>Samples of all running containers, from the runtime. Keeps one former sample per container for rates.</summary>
internal sealed class StatsCollector(CriClient cri)
{
    private readonly ConcurrentDictionary<string, ContainerSample> _last = new();

    public async Task<IReadOnlyList<ContainerSample>> CollectAsync(CancellationToken cancellationToken)
    {
        var samples = new List<ContainerSample>();
        foreach (var stats in await cri.ListContainerStatsAsync(cancellationToken).ConfigureAwait(false))
        {
            var labels = stats.Attributes?.Labels;
            // What Kubernetes did not start has no labels of ours and is nobody's container here.
            if (labels is null || !labels.TryGetValue(CriLabels.PodUid, out var podUid) || !labels.TryGetValue(CriLabels.ContainerName, out var name)) continue;
            var at = new DateTimeOffset(ContainerTime(stats.Cpu?.Timestamp ?? 0), TimeSpan.Zero);
            var cpu = stats.Cpu?.UsageCoreNanoSeconds?.Value ?? 0;
            _last.TryGetValue(stats.Attributes!.Id, out var former);
            var sample = new ContainerSample(
                stats.Attributes.Id,
                name,
                labels[CriLabels.PodName],
                labels[CriLabels.PodNamespace],
                podUid,
                at,
                cpu,
                stats.Cpu?.UsageNanoCores?.Value ?? Rate(former, at, cpu),
                stats.Memory?.WorkingSetBytes?.Value ?? 0,
                stats.Memory?.UsageBytes?.Value ?? 0,
                stats.Memory?.RssBytes?.Value ?? 0);
            samples.Add(sample);
        }
        var present = samples.Select(sample => sample.Id).ToHashSet();
        foreach (var id in _last.Keys)
        {
            if (!present.Contains(id)) _last.TryRemove(id, out _);
        }
        foreach (var sample in samples) _last[sample.Id] = sample;
        return samples;
    }

    private static ulong Rate(ContainerSample? former, DateTimeOffset at, ulong cpu)
    {
        if (former is null || at <= former.At || cpu < former.CpuNanoseconds) return former?.CpuNanoCores ?? 0;
        return (ulong)((cpu - former.CpuNanoseconds) / (at - former.At).TotalSeconds);
    }

    private static DateTime ContainerTime(long nanoseconds) => DateTime.UnixEpoch.AddTicks(nanoseconds / 100);
}
