using System.Text.Json;

namespace K3sFast.Network.Cni;

/// <summary>Puts the plugin where the runtime looks for it, and the configuration that makes the runtime call it.</summary>
internal static class CniInstaller
{
    internal const string ConfigurationName = "10-k3sfast.conflist";
    private const string PluginName = "k3sfast";
    private const string PluginResource = "k3sfast-cni";

    private const UnixFileMode Executable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead
        | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>Writes the plugin under its own name and as <c>loopback</c>, which container runtimes call for every pod.</summary>
    internal static void InstallPlugin(string binDir)
    {
        using var resource = typeof(CniInstaller).Assembly.GetManifestResourceStream(PluginResource)
            ?? throw new InvalidOperationException("the CNI plugin is missing from this build");
        using var plugin = new MemoryStream();
        resource.CopyTo(plugin);
        Directory.CreateDirectory(binDir);
        foreach (var name in (ReadOnlySpan<string>)[PluginName, "loopback"])
        {
            Replace(Path.Combine(binDir, name), plugin.ToArray(), Executable);
        }
    }

    /// <summary>Writes the network's configuration: from now on the runtime says that its network is ready.</summary>
    /// <param name="confDir">Where the runtime looks.</param>
    /// <param name="socketPath">Where the plugin finds us.</param>
    /// <param name="template">A file that is installed as it is instead of ours; "" = ours.</param>
    internal static void InstallConfiguration(string confDir, string socketPath, string template = "")
    {
        Directory.CreateDirectory(confDir);
        var path = Path.Combine(confDir, ConfigurationName);
        if (template.Length > 0)
        {
            Replace(path, File.ReadAllBytes(template), UnixFileMode.UserRead | UnixFileMode.UserWrite);
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
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
        }
        Replace(path, stream.ToArray(), UnixFileMode.UserRead | UnixFileMode.UserWrite);
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
