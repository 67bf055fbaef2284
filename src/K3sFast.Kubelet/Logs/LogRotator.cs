using System.Globalization;
using System.IO.Compression;
using K3sFast.Kubelet.Cri;
using Microsoft.Extensions.Logging;

namespace K3sFast.Kubelet.Logs;

/// <summary>
/// Turns over logs of running containers that have grown too long: the file gets a time in its name, the runtime opens a new one, older ones are
/// packed, the oldest removed. Readers that follow stay with the log.
/// </summary>
internal sealed class LogRotator(CriClient cri, KubeletOptions options, TimeProvider time, ILogger logger)
{
    // Upstream's container log monitor interval.
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(10);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await Task.Delay(s_interval, time, cancellationToken).ConfigureAwait(false);
            try
            {
                // Nothing is asked of the runtime unless some file is too long.
                if (!AnyTooLong()) continue;
                await RotateAllAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or Grpc.Core.RpcException)
            {
                Log.LogRotationFailed(logger, e.Message);
            }
        }
    }

    internal async Task RotateAllAsync(CancellationToken cancellationToken)
    {
        foreach (var container in await cri.ListContainersAsync(null, cancellationToken).ConfigureAwait(false))
        {
            if (container.State != ContainerState.ContainerRunning) continue;
            if (await cri.ContainerStatusAsync(container.Id, cancellationToken).ConfigureAwait(false) is not { LogPath.Length: > 0 } status) continue;
            var file = new FileInfo(status.LogPath);
            if (file.Exists && file.Length >= options.ContainerLogMaxBytes) await RotateAsync(container.Id, status.LogPath, cancellationToken).ConfigureAwait(false);
        }
    }

    private bool AnyTooLong()
    {
        if (!Directory.Exists(options.PodLogsDir)) return false;
        foreach (var file in new DirectoryInfo(options.PodLogsDir).EnumerateFiles("*.log", SearchOption.AllDirectories))
        {
            if (file.Length >= options.ContainerLogMaxBytes) return true;
        }
        return false;
    }

    private async Task RotateAsync(string containerId, string path, CancellationToken cancellationToken)
    {
        var rotated = $"{path}.{time.GetUtcNow().UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}";
        PackOlder(path);
        RemoveOldest(path, keep: Math.Max(options.ContainerLogMaxFiles - 2, 0));
        File.Move(path, rotated);
        try
        {
            await cri.ReopenLogAsync(containerId, cancellationToken).ConfigureAwait(false);
        }
        catch (Grpc.Core.RpcException)
        {
            // The runtime still writes to the old file: give it its name back, so that nothing is lost.
            File.Move(rotated, path);
            throw;
        }
    }

    private static void PackOlder(string path)
    {
        foreach (var older in Rotated(path))
        {
            if (older.EndsWith(".gz", StringComparison.Ordinal)) continue;
            var packed = older + ".tmp";
            using (var source = File.OpenRead(older))
            using (var target = new GZipStream(File.Create(packed), CompressionLevel.Fastest))
            {
                source.CopyTo(target);
            }
            File.Move(packed, older + ".gz", overwrite: true);
            File.Delete(older);
        }
    }

    private static void RemoveOldest(string path, int keep)
    {
        var files = Rotated(path);
        for (var i = 0; i < files.Count - keep; i++) File.Delete(files[i]);
    }

    // Oldest first: the names end in their time.
    private static List<string> Rotated(string path)
    {
        var files = Directory.GetFiles(Path.GetDirectoryName(path)!, Path.GetFileName(path) + ".*").Where(name => !name.EndsWith(".tmp", StringComparison.Ordinal)).ToList();
        files.Sort(StringComparer.Ordinal);
        return files;
    }
}
