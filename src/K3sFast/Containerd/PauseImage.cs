using System.Buffers;
using System.Formats.Tar;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json;

namespace K3sFast.Containerd;

/// <summary>The sandbox image, made from the embedded <c>pause</c> program: one layer with one file.</summary>
internal static class PauseImage
{
    public const string Name = "docker.io/k3sfast/pause:1";

    /// <summary>Layer and config. The same program gives the same bytes, and so the same digests.</summary>
    public static (byte[] Layer, byte[] Config) Build()
    {
        using var program = typeof(PauseImage).Assembly.GetManifestResourceStream("pause") ?? throw new InvalidOperationException("the pause program is not embedded");
        using var layer = new MemoryStream();
        using (var tar = new TarWriter(layer, TarEntryFormat.Ustar, leaveOpen: true))
        {
            using var content = new MemoryStream();
            program.CopyTo(content);
            content.Position = 0;
            tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, "pause")
            {
                Mode = (UnixFileMode)0x1ED, // 0755
                ModificationTime = DateTimeOffset.UnixEpoch,
                DataStream = content,
            });
        }
        var bytes = layer.ToArray();
        return (bytes, BuildConfig("sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes))));
    }

    /// <summary>Makes the image known to containerd. Cheap when it already is.</summary>
    public static async Task ImportAsync(ContainerdConnection connection, ContentStore store, CancellationToken ct)
    {
        var (layerBytes, configBytes) = Build();
        var none = new Dictionary<string, string>();
        var archive = new ImageArchive(connection, store);
        var layer = await store.WriteAsync(layerBytes, none, ct).ConfigureAwait(false);
        var config = await store.WriteAsync(configBytes, none, ct).ConfigureAwait(false);
        var manifest = await archive.WriteManifestAsync(config, [layer], ct).ConfigureAwait(false);
        await archive.PutImageAsync(Name, ImageManifests.DockerManifest, manifest, ct).ConfigureAwait(false);
    }

    private static byte[] BuildConfig(string diffId)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("created", "1970-01-01T00:00:00Z");
            json.WriteString("architecture", RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "arm64" : "amd64");
            json.WriteString("os", "linux");
            json.WriteStartObject("config");
            // nobody: the program needs no privilege (k3s's own pause image does the same).
            json.WriteString("User", "65535:65535");
            json.WriteString("WorkingDir", "/");
            json.WriteStartArray("Entrypoint");
            json.WriteStringValue("/pause");
            json.WriteEndArray();
            json.WriteStartArray("Env");
            json.WriteStringValue("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteStartObject("rootfs");
            json.WriteString("type", "layers");
            json.WriteStartArray("diff_ids");
            json.WriteStringValue(diffId);
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }
}
