using K3sFast.Interop.Processes;
using K3sFast.Kubelet.Cri;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Node;

/// <summary>
/// Removes images that no container uses when the disk is nearly full, and says loudly when disk or memory are nearly gone: pods are not evicted
/// by this node yet.
/// </summary>
internal sealed class ImageCollector(CriClient cri, KubeletOptions options, TimeProvider time, ILogger logger)
{
    // Upstream's imageGCHighThresholdPercent and imageGCLowThresholdPercent.
    internal const int HighPercent = 85;
    internal const int LowPercent = 80;

    // An image that was just pulled is about to be used; upstream's imageMinimumGCAge.
    internal static readonly TimeSpan MinAge = TimeSpan.FromMinutes(2);

    // Where eviction would begin: upstream's memory.available < 100Mi, k3s' nodefs.available < 5 %.
    private const long MinMemoryBytes = 100L * 1024 * 1024;
    private const int MinDiskPercent = 5;

    private readonly Dictionary<string, DateTimeOffset> _firstSeen = [];
    private string _pressure = "";

    /// <summary>One look; cheap while there is room.</summary>
    public async Task CollectAsync(CancellationToken cancellationToken)
    {
        ReportPressure();
        var images = await cri.ListImagesAsync(cancellationToken).ConfigureAwait(false);
        var now = time.GetUtcNow();
        foreach (var image in images) _firstSeen.TryAdd(image.Id, now);
        if (UsedPercent() < HighPercent) return;
        var used = (await cri.ListContainersAsync(null, cancellationToken).ConfigureAwait(false)).SelectMany(container => new[] { container.ImageRef, container.ImageId, container.Image?.Image ?? "" }).ToHashSet();
        foreach (var image in images.OrderBy(image => _firstSeen[image.Id]))
        {
            if (UsedPercent() < LowPercent) return;
            // Pinned images (the sandbox's) stay; what a container refers to by id, tag or digest is in use.
            var isUsed = image.Pinned || used.Contains(image.Id) || image.RepoTags.Any(used.Contains) || image.RepoDigests.Any(used.Contains);
            if (isUsed || IsSandboxImage(image) || now - _firstSeen[image.Id] < MinAge) continue;
            await cri.RemoveImageAsync(image.Id, cancellationToken).ConfigureAwait(false);
            _firstSeen.Remove(image.Id);
            Log.ImageRemoved(logger, image.RepoTags.FirstOrDefault() ?? image.Id, image.Size);
        }
    }

    // Runtimes before 2.0 do not mark their sandbox image as pinned.
    private static bool IsSandboxImage(Image image) => image.RepoTags.Any(tag => tag.Contains("pause", StringComparison.Ordinal));

    private int UsedPercent()
    {
        var space = PosixFile.SpaceOf(options.RootDir);
        return space.TotalBytes == 0 ? 0 : (int)(100 - (100 * space.AvailableBytes / space.TotalBytes));
    }

    private void ReportPressure()
    {
        var memory = MachineInfo.AvailableMemory();
        var pressure = memory < MinMemoryBytes ? "memory" : 100 - UsedPercent() < MinDiskPercent ? "disk" : "";
        if (pressure.Length > 0 && pressure != _pressure) Log.PressureWithoutEviction(logger, pressure, $"memory available {memory >> 20} MiB, disk used {UsedPercent()} %");
        _pressure = pressure;
    }
}
