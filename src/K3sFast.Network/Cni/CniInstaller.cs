using System.Text.Json;
using System.Text.Json.Nodes;

namespace K3sFast.Network.Cni;

/// <summary>Puts the plugin where the runtime looks for it, and the configuration that makes the runtime call it.</summary>
internal static class CniInstaller
{
    internal const string ConfigurationName = "10-k3sfast.conflist";
    private const string PluginName = "k3sfast";

    // Under these names it is called: its own, that of k3s' own plugin (whose configurations then work), and the loopback's, which runtimes call for every pod.
    private static readonly string[] s_names = [PluginName, "flannel", "loopback"];

    // Where distributions and the CNI project's own packages put plugins.
    private static readonly string[] s_pluginFolders = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
    private const string PluginResource = "k3sfast-cni";

    private const UnixFileMode Executable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead
        | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>Writes the plugin under all its names.</summary>
    internal static void InstallPlugin(string binDir)
    {
        using var resource = typeof(CniInstaller).Assembly.GetManifestResourceStream(PluginResource)
            ?? throw new InvalidOperationException("the CNI plugin is missing from this build");
        using var plugin = new MemoryStream();
        resource.CopyTo(plugin);
        Directory.CreateDirectory(binDir);
        foreach (var name in s_names)
        {
            Replace(Path.Combine(binDir, name), plugin.ToArray(), Executable);
        }
    }

    /// <summary>Writes the network's configuration: from now on the runtime says that its network is ready.</summary>
    /// <param name="confDir">Where the runtime looks.</param>
    /// <param name="socketPath">Where the plugin finds us.</param>
    /// <param name="template">A file that is installed instead of ours; "" = ours. Plugins in it that are us learn where we are, the rest stays as it is.</param>
    internal static void InstallConfiguration(string confDir, string socketPath, string template = "")
    {
        Directory.CreateDirectory(confDir);
        var path = Path.Combine(confDir, ConfigurationName);
        if (template.Length > 0)
        {
            Replace(path, WithSocket(File.ReadAllBytes(template), socketPath), UnixFileMode.UserRead | UnixFileMode.UserWrite);
            return;
        }
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteString("cniVersion", "1.0.0");
            json.WriteString("name", "k3sfast");
            json.WriteStartArray("plugins");
            json.WriteStartObject();
            json.WriteString("type", PluginName);
            json.WriteString("socketPath", socketPath);
            json.WriteStartObject("capabilities");
            json.WriteBoolean("portMappings", true);
            json.WriteBoolean("bandwidth", true);
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
        }
        Replace(path, stream.ToArray(), UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>
    /// Makes the other plugins of a network list found: the runtime looks in one folder only, so those of the machine are linked into it.
    /// </summary>
    /// <returns>Plugins that the list names and nobody has; an unreadable list names none (the runtime says what is wrong with it).</returns>
    internal static List<string> LinkPlugins(string binDir, string list, IReadOnlyList<string>? folders = null)
    {
        var missing = new List<string>();
        foreach (var name in PluginsOf(list))
        {
            if (s_names.Contains(name) || name.Contains('/')) continue;
            var link = Path.Combine(binDir, name);
            if ((folders ?? s_pluginFolders).Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists) is { } found)
            {
                if (new FileInfo(link).LinkTarget == found) continue;
                File.Delete(link);
                File.CreateSymbolicLink(link, found);
            }
            else if (!File.Exists(link))
            {
                missing.Add(name);
            }
        }
        return missing;
    }

    // What cannot be read is installed as it is: the runtime says what is wrong with it.
    private static byte[] WithSocket(byte[] list, string socketPath)
    {
        try
        {
            if (JsonNode.Parse(list) is not JsonObject root || root["plugins"] is not JsonArray plugins) return list;
            foreach (var plugin in plugins.OfType<JsonObject>())
            {
                if (plugin["type"] is JsonValue type && type.TryGetValue(out string? name) && name is PluginName or "flannel") plugin.TryAdd("socketPath", socketPath);
            }
            using var stream = new MemoryStream();
            using (var json = new Utf8JsonWriter(stream, new JsonWriterOptions { Indented = true })) root.WriteTo(json);
            return stream.ToArray();
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InvalidOperationException)
        {
            // Members that are there twice, and names that are no text, are told by this reader in its own way.
            return list;
        }
    }

    /// <summary>Where plugins of the machine are looked for.</summary>
    internal static string Folders(string binDir) => string.Join(", ", [binDir, .. s_pluginFolders]);

    private static List<string> PluginsOf(string list)
    {
        try
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(list));
            return [.. document.RootElement.GetProperty("plugins").EnumerateArray().Select(static plugin => plugin.GetProperty("type").GetString() ?? "").Where(static name => name.Length > 0)];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return [];
        }
    }

    // Readers see the old file or the new one; a plugin that is running keeps its old file. Unchanged files are not touched: the runtime watches them.
    private static void Replace(string path, byte[] content, UnixFileMode mode)
    {
        if (File.Exists(path) && File.ReadAllBytes(path).AsSpan().SequenceEqual(content)) return;
        var temporary = path + ".new";
        File.Delete(temporary);
        using (var file = new FileStream(temporary, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = mode }))
        {
            file.Write(content);
        }
        File.Move(temporary, path, overwrite: true);
    }
}
