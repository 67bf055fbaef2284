using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>Configuration files in the form of API objects (kind and apiVersion), YAML or JSON.</summary>
internal static class ConfigDocument
{
    // Upstream's files are a few KB; the bound keeps a wrong path (a device, a log) from being read to its end.
    private const int MaxBytes = 4 * 1024 * 1024;

    /// <summary>The file's bytes.</summary>
    /// <exception cref="ApiServerStartException">It cannot be read; the message names flag and file.</exception>
    internal static byte[] Load(string flag, string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            if (file.Length > MaxBytes)
                throw new ApiServerStartException($"--{flag}: {path} is longer than {MaxBytes} bytes: is it the right file?");
            var bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new ApiServerStartException($"--{flag}: cannot read {path}: {error.Message}", error);
        }
    }

    /// <summary>Reads the one document of a file strictly.</summary>
    /// <param name="flag">Which flag names the file; for messages.</param>
    /// <param name="path">The file; for messages.</param>
    /// <param name="bytes">Its contents.</param>
    /// <param name="kind">What it must be.</param>
    /// <param name="apiVersions">In which versions it may be.</param>
    /// <param name="read">Makes the result of the root (kind and apiVersion are taken care of).</param>
    /// <exception cref="ApiServerStartException">Not YAML, another kind, or errors that <paramref name="read"/> noted.</exception>
    internal static T Read<T>(string flag, string path, byte[] bytes, string kind, ReadOnlySpan<string> apiVersions, Func<ConfigNode, T> read)
    {
        if (bytes.AsSpan().Trim((byte)' ').Trim((byte)'\n').IsEmpty)
            throw new ApiServerStartException($"--{flag}: {path}: empty config data");
        ApiObject document;
        var strict = new List<string>();
        try
        {
            document = YamlCodec.Decode(bytes, null, DecodeOptions.Default, strict);
        }
        catch (Exception error) when (error is JsonSyntaxException or ApiStatusException or FormatException)
        {
            throw new ApiServerStartException($"--{flag}: {path} is neither YAML nor JSON: {error.Message}", error);
        }
        using (document)
        {
            var errors = new List<string>(strict);
            var root = new ConfigNode(document.Root, "", errors);
            var version = root.Text("apiVersion");
            var given = root.Text("kind");
            if (given != kind || !apiVersions.Contains(version))
            {
                throw new ApiServerStartException(
                    $"--{flag}: {path}: no kind {GoText.Quote(given)} is registered for version {GoText.Quote(version)}: {kind} of {string.Join(" or ", apiVersions.ToArray())} is expected");
            }
            var result = read(root);
            root.Close();
            return errors.Count == 0
                ? result
                : throw new ApiServerStartException($"--{flag}: {path} is invalid: {(errors.Count == 1 ? errors[0] : $"[{string.Join(", ", errors)}]")}");
        }
    }
}
