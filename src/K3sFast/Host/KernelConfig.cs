using System.IO.Compression;

namespace K3sFast.Host;

/// <summary>How the running kernel was built: <c>/proc/config.gz</c>, or the file that the distribution keeps beside the kernel.</summary>
internal sealed class KernelConfig
{
    private readonly Dictionary<string, string> _values = new(StringComparer.Ordinal);

    /// <param name="path">Where it was read; "" = it could not be found.</param>
    /// <param name="lines">Its lines.</param>
    public KernelConfig(string path, IEnumerable<string> lines)
    {
        Path = path;
        foreach (var line in lines)
        {
            var equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0 && line.StartsWith("CONFIG_", StringComparison.Ordinal))
                _values[line[..equals]] = line[(equals + 1)..];
        }
    }

    /// <summary>Where it was read; "" = it could not be found.</summary>
    public string Path { get; }

    /// <summary>True if nothing is known.</summary>
    public bool IsUnknown => _values.Count == 0;

    /// <summary>y, m, or "" for what is not built.</summary>
    public string this[string name] => _values.GetValueOrDefault(name, "");

    /// <summary>Reads that of the running kernel.</summary>
    public static KernelConfig Read(string root = "/")
    {
        var release = ReadText(System.IO.Path.Combine(root, "proc/sys/kernel/osrelease"));
        foreach (var candidate in (string[])["proc/config.gz", $"boot/config-{release}", $"usr/lib/modules/{release}/config", $"lib/modules/{release}/config", $"usr/src/linux-{release}/.config", "usr/src/linux/.config"])
        {
            var path = System.IO.Path.Combine(root, candidate);
            try
            {
                using var file = File.OpenRead(path);
                using Stream text = candidate.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
                using var reader = new StreamReader(text);
                return new KernelConfig(path, reader.ReadToEnd().Split('\n'));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
            {
                // The next place, then.
            }
        }
        return new KernelConfig("", []);
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }
}
