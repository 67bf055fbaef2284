using System.Text.Json;
using System.Threading.Channels;
using Grpc.Core;
using K3sFast.Containerd.Api;
using Microsoft.Extensions.Logging;

namespace K3sFast.Containerd;

/// <summary>Brings images that lie on the disk into containerd: the built-in sandbox image, and every archive in agent/images, now and later.</summary>
/// <remarks>
/// Archives are imported one after the other and never hold the node up. One is skipped while its size and time are those of the last
/// import and its images are still there; <c>.cache.json</c> beside the archives remembers. Removing an archive removes nothing.
/// </remarks>
internal sealed class ImageImporter(ContainerdConnection connection, string directory, ILogger log)
{
    private static readonly TimeSpan s_settle = TimeSpan.FromMilliseconds(300);

    private readonly string _cachePath = Path.Combine(directory, ".cache.json");

    /// <summary>Imports the built-in sandbox image.</summary>
    public Task ImportPauseAsync(CancellationToken ct) => WithLeaseAsync(store => PauseImage.ImportAsync(connection, store, ct), ct);

    /// <summary>Imports what is there, then what appears, until cancelled.</summary>
    public async Task RunAsync(CancellationToken ct)
    {
        var changed = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        using var watcher = new FileSystemWatcher(directory) { NotifyFilter = NotifyFilters.FileName | NotifyFilters.LastWrite | NotifyFilters.Size };
        void Wake(object sender, FileSystemEventArgs e)
        {
            // Our own note of what was imported must not wake us.
            if (!e.Name!.StartsWith('.'))
                changed.Writer.TryWrite(true);
        }
        watcher.Created += Wake;
        watcher.Changed += Wake;
        watcher.Renamed += Wake;
        watcher.EnableRaisingEvents = true;
        do
        {
            await ImportAllAsync(ct).ConfigureAwait(false);
            await changed.Reader.WaitToReadAsync(ct).ConfigureAwait(false);
            // A copy in progress announces itself with every write: wait until it has been quiet for a moment.
            while (changed.Reader.TryRead(out _))
                await Task.Delay(s_settle, ct).ConfigureAwait(false);
        }
        while (!ct.IsCancellationRequested);
    }

    /// <summary>One pass over the directory. Failures are logged, archive by archive.</summary>
    public async Task ImportAllAsync(CancellationToken ct)
    {
        var cache = ReadCache();
        var present = await ListImagesAsync(ct).ConfigureAwait(false);
        var paths = Directory.GetFiles(directory);
        Array.Sort(paths, StringComparer.Ordinal);
        foreach (var path in paths)
        {
            var name = Path.GetFileName(path);
            if (name.StartsWith('.'))
                continue;
            if (name.EndsWith(".txt", StringComparison.Ordinal))
            {
                log.ImageListIgnored(path);
                continue;
            }
            var info = new FileInfo(path);
            var stamp = $"{info.Length}-{info.LastWriteTimeUtc.Ticks}";
            if (cache.TryGetValue(name, out var known) && known.Stamp == stamp && known.Images.TrueForAll(present.Contains))
            {
                log.ImagesUnchanged(path);
                continue;
            }
            if (await TryImportAsync(path, ct).ConfigureAwait(false) is { } images)
            {
                cache[name] = new(stamp, images);
                WriteCache(cache);
            }
        }
    }

    private async Task<List<string>?> TryImportAsync(string path, CancellationToken ct)
    {
        var started = Environment.TickCount64;
        try
        {
            List<string> images = [];
            await WithLeaseAsync(async store =>
            {
                var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16, useAsync: true);
                await using (file.ConfigureAwait(false))
                    images = await new ImageArchive(connection, store).ImportAsync(file, ct).ConfigureAwait(false);
            }, ct).ConfigureAwait(false);
            log.ImagesImported(path, string.Join(", ", images), Environment.TickCount64 - started);
            return images;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException or JsonException or RpcException or FormatException or KeyNotFoundException or InvalidOperationException)
        {
            ct.ThrowIfCancellationRequested();
            log.ImageImportFailed(path, e);
            return null;
        }
    }

    private async Task WithLeaseAsync(Func<ContentStore, Task> work, CancellationToken ct)
    {
        var request = new CreateRequest { Id = $"k3sfast-import-{Guid.NewGuid():n}" };
        // Should we die in the middle, containerd forgets the lease and its content after a day.
        request.Labels["containerd.io/gc.expire"] = DateTime.UtcNow.AddDays(1).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
        await connection.Leases.CreateAsync(request, ContainerdConnection.Headers(), cancellationToken: ct).ConfigureAwait(false);
        try
        {
            await work(new(connection, request.Id)).ConfigureAwait(false);
        }
        finally
        {
            await connection.Leases.DeleteAsync(new DeleteRequest { Id = request.Id }, ContainerdConnection.Headers(), deadline: DateTime.UtcNow.AddSeconds(10), cancellationToken: CancellationToken.None).ConfigureAwait(false);
        }
    }

    private async Task<HashSet<string>> ListImagesAsync(CancellationToken ct)
    {
        var reply = await connection.Images.ListAsync(new ListImagesRequest(), ContainerdConnection.Headers(), cancellationToken: ct).ConfigureAwait(false);
        return [.. reply.Images.Select(static image => image.Name)];
    }

    private Dictionary<string, Imported> ReadCache()
    {
        var cache = new Dictionary<string, Imported>(StringComparer.Ordinal);
        try
        {
            if (!File.Exists(_cachePath))
                return cache;
            using var document = JsonDocument.Parse(File.ReadAllBytes(_cachePath));
            foreach (var archive in document.RootElement.EnumerateObject())
                cache[archive.Name] = new(archive.Value.GetProperty("stamp").GetString() ?? "", [.. archive.Value.GetProperty("images").EnumerateArray().Select(static image => image.GetString() ?? "")]);
        }
        catch (Exception e) when (e is JsonException or IOException or InvalidOperationException or KeyNotFoundException)
        {
            cache.Clear();
        }
        return cache;
    }

    private void WriteCache(Dictionary<string, Imported> cache)
    {
        using var file = File.Create(_cachePath + ".new");
        using (var json = new Utf8JsonWriter(file))
        {
            json.WriteStartObject();
            foreach (var (name, imported) in cache)
            {
                json.WriteStartObject(name);
                json.WriteString("stamp", imported.Stamp);
                json.WriteStartArray("images");
                foreach (var image in imported.Images)
                    json.WriteStringValue(image);
                json.WriteEndArray();
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
        file.Dispose();
        File.Move(_cachePath + ".new", _cachePath, overwrite: true);
    }

    private sealed record Imported(string Stamp, List<string> Images);
}
