using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace K3sFast.EndToEnd.Tests;

/// <summary>
/// The one image that the tests run: Debian's busybox-static with all its applets, and netprobe. Written as a docker-archive, as "docker save"
/// makes them, under two tags so that an update changes the image.
/// </summary>
internal static class TestImage
{
    internal const string Name = "docker.io/library/busybox:1.35";
    internal const string Other = "docker.io/library/busybox:next";

    internal static async Task WriteAsync(string path, string workFolder)
    {
        var echo = Path.Combine(workFolder, "netprobe");
        var source = Path.Combine(AppContext.BaseDirectory, "Images", "netprobe.c");
        (await Shell.RunAsync(["musl-gcc", "-O1", "-static", "-o", echo, source])).Ok();
        var applets = (await Shell.RunAsync(["/bin/busybox", "--list"])).Ok().Split('\n', StringSplitOptions.RemoveEmptyEntries);

        var layer = new MemoryStream();
        using (var tar = new TarWriter(layer, TarEntryFormat.Ustar, leaveOpen: true))
        {
            foreach (var folder in (string[])["bin/", "etc/", "root/", "tmp/", "var/", "www/"])
            {
                tar.WriteEntry(new UstarTarEntry(TarEntryType.Directory, folder) { Mode = (UnixFileMode)(folder == "tmp/" ? 0x3FF : 0x1ED) });
            }
            WriteFile(tar, "bin/busybox", await File.ReadAllBytesAsync("/bin/busybox"), executable: true);
            WriteFile(tar, "bin/netprobe", await File.ReadAllBytesAsync(echo), executable: true);
            foreach (var applet in applets)
            {
                if (applet is not "busybox") tar.WriteEntry(new UstarTarEntry(TarEntryType.SymbolicLink, "bin/" + applet) { LinkName = "busybox" });
            }
            WriteFile(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"u8.ToArray());
            WriteFile(tar, "etc/group", "root:x:0:\nnogroup:x:65534:\n"u8.ToArray());
        }
        var layerBytes = layer.ToArray();

        await using var file = File.Create(path);
        using var archive = new TarWriter(file, TarEntryFormat.Ustar);
        var manifest = new JsonArray();
        foreach (var (tag, version) in new[] { (Name, "1.35"), (Other, "next") })
        {
            var config = Encoding.UTF8.GetBytes(new JsonObject
            {
                ["architecture"] = "amd64",
                ["os"] = "linux",
                ["created"] = "2024-01-01T00:00:00Z",
                ["config"] = new JsonObject
                {
                    ["Env"] = new JsonArray("PATH=/bin", $"IMAGE_VERSION={version}"),
                    ["Cmd"] = new JsonArray("sh"),
                },
                ["rootfs"] = new JsonObject { ["type"] = "layers", ["diff_ids"] = new JsonArray("sha256:" + Digest(layerBytes)) },
                ["history"] = new JsonArray(),
            }.ToJsonString());
            var configName = Digest(config) + ".json";
            WriteFile(archive, configName, config);
            manifest.Add(new JsonObject { ["Config"] = configName, ["RepoTags"] = new JsonArray(tag), ["Layers"] = new JsonArray("layer.tar") });
        }
        WriteFile(archive, "layer.tar", layerBytes);
        WriteFile(archive, "manifest.json", Encoding.UTF8.GetBytes(manifest.ToJsonString()));
    }

    private static void WriteFile(TarWriter tar, string name, byte[] content, bool executable = false) =>
        tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name)
        {
            // 0755 or 0644
            Mode = (UnixFileMode)(executable ? 0x1ED : 0x1A4),
            DataStream = new MemoryStream(content),
        });

    private static string Digest(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));
}
