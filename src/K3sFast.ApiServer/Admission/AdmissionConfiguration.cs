using K3sFast.ApiMachinery;

namespace K3sFast.ApiServer;

/// <summary>
/// The file of --admission-control-config-file: AdmissionConfiguration of apiserver.config.k8s.io, with one configuration per plugin, in the file
/// itself or in another one beside it.
/// </summary>
/// <remarks>Read once, at start.</remarks>
internal sealed class AdmissionConfiguration : IDisposable
{
    private readonly Dictionary<string, ApiObject> _documents = new(StringComparer.Ordinal);

    /// <summary>Reads the file; "" is no configuration at all.</summary>
    /// <exception cref="ApiServerStartException">The file cannot be read or is not what it should be.</exception>
    internal static AdmissionConfiguration Load(string path)
    {
        var made = new AdmissionConfiguration();
        if (path.Length == 0)
            return made;
        using var document = ReadYaml(path);
        var root = document.Root;
        // The oldest form of the file held one plugin's settings without a kind.
        if (root["podNodeSelectorPluginConfig"u8].IsDefined && root["kind"u8].Utf8.IsEmpty)
        {
            made._documents["PodNodeSelector"] = document.Clone();
            return made;
        }
        CheckKind(root, path, "AdmissionConfiguration", "apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1");
        foreach (var plugin in root["plugins"u8].Elements)
        {
            var name = plugin["name"u8].AsString();
            if (!plugin["configuration"u8].IsNullOrUndefined)
                made._documents[name] = CopyOf(plugin["configuration"u8]);
            else if (!plugin["path"u8].Utf8.IsEmpty)
                made._documents[name] = ReadYaml(Path.Combine(Path.GetDirectoryName(Path.GetFullPath(path)) ?? "/", plugin["path"u8].AsString()));
        }
        return made;
    }

    /// <summary>The configuration of a plugin; undefined when there is none.</summary>
    internal ApiNode For(string plugin) => _documents.TryGetValue(plugin, out var document) ? document.Root : default;

    public void Dispose()
    {
        foreach (var document in _documents.Values)
            document.Dispose();
    }

    /// <summary>Refuses a document of another kind or version, in upstream's words.</summary>
    internal static void CheckKind(ApiNode document, string where, string kind, params ReadOnlySpan<string> versions)
    {
        var given = document["apiVersion"u8].AsString();
        if (document["kind"u8].Equals(System.Text.Encoding.UTF8.GetBytes(kind)) && versions.Contains(given))
            return;
        throw new ApiServerStartException(
            $"{where}: no kind {GoText.Quote(document["kind"u8].AsString())} is registered for version {GoText.Quote(given)}; expected {kind} of {versions[0]}");
    }

    private static ApiObject ReadYaml(string path)
    {
        try
        {
            return YamlCodec.Decode(File.ReadAllBytes(path), null, DecodeOptions.Free, null);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException or ApiStatusException)
        {
            throw new ApiServerStartException($"unable to read admission control configuration from {GoText.Quote(path)} [{failure.Message}]", failure);
        }
    }

    private static ApiObject CopyOf(ApiNode node)
    {
        var json = new System.Buffers.ArrayBufferWriter<byte>();
        node.WriteJson(json);
        return JsonCodec.Decode(json.WrittenSpan, null, DecodeOptions.Free, null);
    }
}
