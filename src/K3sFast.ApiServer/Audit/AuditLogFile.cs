using System.Globalization;
using System.IO.Compression;
using System.Text;
using Microsoft.Extensions.Logging;

namespace K3sFast.ApiServer;

/// <summary>
/// Audit events as lines of a file (or of standard output). The file is put aside with the time in its name before it would grow too large; old ones are
/// removed by number and age.
/// </summary>
internal sealed class AuditLogFile : IAuditOutput
{
    private readonly AuditOptions _options;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly long _maxBytes;
    private readonly Lock _gate = new();

    // Guarded by _gate
    private Stream _file;
    private DateTimeOffset _lastBackup;
    private long _length;

    /// <exception cref="ApiServerStartException">The file cannot be written.</exception>
    internal AuditLogFile(AuditOptions options, TimeProvider clock, ILogger logger)
    {
        _options = options;
        _clock = clock;
        _logger = logger;
        _maxBytes = (options.LogMaxMegabytes == 0 ? 100 : options.LogMaxMegabytes) * 1024L * 1024;
        try
        {
            _file = options.LogPath == "-" ? Console.OpenStandardOutput() : Open();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new ApiServerStartException($"--audit-log-path: cannot write {options.LogPath}: {error.Message}", error);
        }
    }

    public string Plugin => "log";

    public byte[] Encode(AuditEvent e, AuditStages stage, DateTimeOffset now, bool hasObjects) =>
        _options.LogFormat == "legacy" ? Encoding.UTF8.GetBytes(AuditEventWriter.Line(e, stage)) : AuditEventWriter.Json(e, stage, now, hasObjects);

    public ValueTask<bool> WriteAsync(IReadOnlyList<byte[]> events, CancellationToken cancel)
    {
        try
        {
            lock (_gate)
            {
                foreach (var line in events)
                {
                    if (_options.LogPath != "-" && _length > 0 && _length + line.Length + 1 > _maxBytes)
                        RotateLocked();
                    _file.Write(line);
                    _file.WriteByte((byte)'\n');
                    _length += line.Length + 1;
                }
                _file.Flush();
            }
            return new(true);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            Log.AuditFailed(_logger, _options.LogPath, events.Count, error.Message);
            return new(false);
        }
    }

    public ValueTask DisposeAsync() => _file.DisposeAsync();

    private FileStream Open()
    {
        var path = Path.GetFullPath(_options.LogPath);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var options = new FileStreamOptions { Mode = FileMode.Append, Access = FileAccess.Write, Share = FileShare.ReadWrite | FileShare.Delete };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        var file = new FileStream(path, options);
        _length = file.Length;
        return file;
    }

    private void RotateLocked()
    {
        _file.Dispose();
        var path = Path.GetFullPath(_options.LogPath);
        var backup = FreeBackup(path);
        File.Move(path, backup);
        _file = Open();
        if (_options.LogCompresses)
            Compress(backup);
        RemoveOld(path);
    }

    // Named by the millisecond, as upstream's; files that fill faster than that take the next one, so that none is lost.
    private string FreeBackup(string path)
    {
        var step = TimeSpan.FromMilliseconds(1);
        for (var time = _clock.GetUtcNow(); ; time += step)
        {
            // Never behind one that was removed meanwhile: the oldest name goes first.
            if (time < _lastBackup + step)
                time = _lastBackup + step;
            var backup = $"{PrefixOf(path)}{time.ToString("yyyy-MM-dd'T'HH-mm-ss.fff", CultureInfo.InvariantCulture)}{Path.GetExtension(path)}";
            if (File.Exists(backup) || File.Exists(backup + ".gz"))
                continue;
            _lastBackup = time;
            return backup;
        }
    }

    private static void Compress(string path)
    {
        using (var plain = File.OpenRead(path))
        using (var gzip = new GZipStream(File.Create(path + ".gz"), CompressionLevel.Fastest))
            plain.CopyTo(gzip);
        File.Delete(path);
    }

    private void RemoveOld(string path)
    {
        var prefix = Path.GetFileName(PrefixOf(path));
        // The time in the name sorts as text, newest last.
        var backups = Directory.GetFiles(Path.GetDirectoryName(path)!, prefix + "*").Order(StringComparer.Ordinal).ToList();
        var surplus = _options.LogMaxBackups > 0 ? Math.Max(0, backups.Count - _options.LogMaxBackups) : 0;
        var oldest = _clock.GetUtcNow() - TimeSpan.FromDays(_options.LogMaxAgeDays);
        for (var i = 0; i < backups.Count; i++)
        {
            if (i < surplus || _options.LogMaxAgeDays > 0 && File.GetLastWriteTimeUtc(backups[i]) < oldest)
                File.Delete(backups[i]);
        }
    }

    private static string PrefixOf(string path) => Path.Combine(Path.GetDirectoryName(path)!, Path.GetFileNameWithoutExtension(path) + "-");
}
