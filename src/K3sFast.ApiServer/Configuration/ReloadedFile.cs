using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>A file that takes effect when it changes. What cannot be read or applied is logged and leaves everything as it was.</summary>
/// <param name="path">The file.</param>
/// <param name="loaded">What is in force already.</param>
/// <param name="apply">Puts new contents in force: false = not now, try again; an <see cref="ApiServerStartException"/> = these contents never will.</param>
internal sealed class ReloadedFile(string path, byte[] loaded, Func<byte[], CancellationToken, Task<bool>> apply, TimeProvider clock, ILogger logger, ReloadMetrics? metrics = null)
{
    // One stat call a second, and only where such a file was configured.
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(1);

    private byte[] _known = loaded;
    private (DateTime, long) _stamp = StampOf(path);

    internal async Task FollowAsync(CancellationToken cancel)
    {
        var isPending = false;
        while (!cancel.IsCancellationRequested)
        {
            await Task.Delay(s_period, clock, cancel).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            var stamp = StampOf(path);
            if (cancel.IsCancellationRequested || stamp == _stamp && !isPending)
                continue;
            _stamp = stamp;
            isPending = !await TryApplyAsync(cancel).ConfigureAwait(false);
        }
    }

    private async Task<bool> TryApplyAsync(CancellationToken cancel)
    {
        byte[]? bytes = null;
        try
        {
            bytes = await File.ReadAllBytesAsync(path, cancel).ConfigureAwait(false);
            if (bytes.AsSpan().SequenceEqual(_known))
                return true;
            if (!await apply(bytes, cancel).ConfigureAwait(false))
                return false;
            _known = bytes;
            metrics?.Note(isInForce: true, clock.GetUtcNow());
            Log.FileReloaded(logger, path);
            return true;
        }
        catch (ApiServerStartException error)
        {
            // These contents stay wrong until somebody changes them.
            _known = bytes ?? _known;
            metrics?.Note(isInForce: false, clock.GetUtcNow());
            Log.FileNotReloaded(logger, path, error.Message);
            return true;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Log.FileNotReloaded(logger, path, error.Message);
            return false;
        }
        catch (OperationCanceledException)
        {
            return true;
        }
    }

    private static (DateTime, long) StampOf(string path)
    {
        var file = new FileInfo(path);
        return file.Exists ? (file.LastWriteTimeUtc, file.Length) : default;
    }
}
