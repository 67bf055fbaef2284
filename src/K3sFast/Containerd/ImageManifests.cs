using System.Buffers;
using System.Text.Json;

namespace K3sFast.Containerd;

/// <summary>Reads and writes the JSON documents of images: docker's manifest.json, OCI indexes and manifests. Cold path.</summary>
internal static class ImageManifests
{
    public const string DockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
    private const string DockerConfig = "application/vnd.docker.container.image.v1+json";
    private const string DockerLayer = "application/vnd.docker.image.rootfs.diff.tar";
    private const string OciManifest = "application/vnd.oci.image.manifest.v1+json";

    /// <summary>One image of a docker archive's manifest.json; paths are names inside the archive.</summary>
    internal sealed record DockerEntry(string Config, List<string> Tags, List<string> Layers);

    /// <summary>A descriptor of an OCI index or manifest.</summary>
    internal sealed record OciDescriptor(string MediaType, string Digest, long Size, string Name, string Platform);

    public static List<DockerEntry> ReadDocker(byte[] json)
    {
        using var document = JsonDocument.Parse(json);
        var entries = new List<DockerEntry>();
        foreach (var image in document.RootElement.EnumerateArray())
            entries.Add(new(image.GetProperty("Config").GetString() ?? "", Strings(image, "RepoTags"), Strings(image, "Layers")));
        return entries;
    }

    /// <summary>Writes the manifest that a docker archive leaves out.</summary>
    public static byte[] WriteDocker(Blob config, IReadOnlyList<Blob> layers)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("schemaVersion", 2);
            json.WriteString("mediaType", DockerManifest);
            json.WritePropertyName("config");
            WriteDescriptor(json, DockerConfig, config);
            json.WriteStartArray("layers");
            foreach (var layer in layers)
                WriteDescriptor(json, layer.IsGzip ? DockerLayer + ".gzip" : DockerLayer, layer);
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Entries of an OCI index, or null when the document is not one.</summary>
    public static List<OciDescriptor>? TryReadIndex(byte[] json)
    {
        using var document = JsonDocument.Parse(json);
        if (!document.RootElement.TryGetProperty("manifests", out var manifests))
            return null;
        var entries = new List<OciDescriptor>();
        foreach (var manifest in manifests.EnumerateArray())
            entries.Add(ReadDescriptor(manifest));
        return entries;
    }

    /// <summary>Config first, then layers; null when the document is not an image manifest.</summary>
    public static List<OciDescriptor>? TryReadManifest(byte[] json)
    {
        using var document = JsonDocument.Parse(json);
        if (!document.RootElement.TryGetProperty("config", out var config) || config.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("layers", out var layers))
            return null;
        var entries = new List<OciDescriptor> { ReadDescriptor(config) };
        foreach (var layer in layers.EnumerateArray())
            entries.Add(ReadDescriptor(layer));
        return entries;
    }

    private static OciDescriptor ReadDescriptor(JsonElement element)
    {
        var name = "";
        if (element.TryGetProperty("annotations", out var annotations))
            name = Text(annotations, "io.containerd.image.name") is { Length: > 0 } full ? full : Text(annotations, "org.opencontainers.image.ref.name");
        var platform = element.TryGetProperty("platform", out var target) ? Text(target, "os") + "/" + Text(target, "architecture") : "";
        var mediaType = Text(element, "mediaType");
        return new(mediaType.Length > 0 ? mediaType : OciManifest, Text(element, "digest"), element.TryGetProperty("size", out var size) ? size.GetInt64() : 0, name, platform);
    }

    private static void WriteDescriptor(Utf8JsonWriter json, string mediaType, Blob blob)
    {
        json.WriteStartObject();
        json.WriteString("mediaType", mediaType);
        json.WriteNumber("size", blob.Size);
        json.WriteString("digest", blob.Digest);
        json.WriteEndObject();
    }

    private static List<string> Strings(JsonElement element, string name)
    {
        var strings = new List<string>();
        if (element.TryGetProperty(name, out var array) && array.ValueKind == JsonValueKind.Array)
        {
            foreach (var item in array.EnumerateArray())
                strings.Add(item.GetString() ?? "");
        }
        return strings;
    }

    private static string Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";
}
