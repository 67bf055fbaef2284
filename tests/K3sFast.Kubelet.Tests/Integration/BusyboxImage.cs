using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;

namespace K3sFast.Kubelet.Tests.Integration;

/// <summary>An image made of Debian's static busybox, as the archive that <c>ctr images import</c> takes (Docker's layout).</summary>
internal static class BusyboxImage
{
    public const string Busybox = "/bin/busybox";

    private static readonly string[] s_applets = ["sh", "sleep", "echo", "cat", "true", "false", "ls", "id", "env", "mkdir", "touch", "tail", "head", "wc", "date", "seq", "kill", "httpd", "nc", "stat", "tar", "printf", "test", "hostname"];

    public static void Write(string path, string tag)
    {
        var layer = Layer();
        var layerDigest = Convert.ToHexStringLower(SHA256.HashData(layer));
        var config = Encoding.UTF8.GetBytes(
            $$$"""{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["/bin/sleep","1000000"]},"rootfs":{"type":"layers","diff_ids":["sha256:{{{layerDigest}}}"]}}""");
        var configName = Convert.ToHexStringLower(SHA256.HashData(config)) + ".json";
        var manifest = Encoding.UTF8.GetBytes($$"""[{"Config":"{{configName}}","RepoTags":["{{tag}}"],"Layers":["layer.tar"]}]""");
        using var file = File.Create(path);
        using var archive = new TarWriter(file, TarEntryFormat.Ustar);
        Add(archive, configName, config);
        Add(archive, "layer.tar", layer);
        Add(archive, "manifest.json", manifest);
    }

    private static byte[] Layer()
    {
        using var bytes = new MemoryStream();
        using (var layer = new TarWriter(bytes, TarEntryFormat.Ustar, leaveOpen: true))
        {
            foreach (var directory in (string[])["bin/", "etc/", "tmp/", "dev/", "proc/", "sys/"]) layer.WriteEntry(new UstarTarEntry(TarEntryType.Directory, directory) { Mode = (UnixFileMode)0x1FF });
            layer.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, "bin/busybox") { Mode = (UnixFileMode)0x1ED, DataStream = new MemoryStream(File.ReadAllBytes(Busybox)) });
            foreach (var applet in s_applets) layer.WriteEntry(new UstarTarEntry(TarEntryType.SymbolicLink, "bin/" + applet) { LinkName = "busybox" });
            Add(layer, "etc/passwd", "root:x:0:0:root:/:/bin/sh\n"u8.ToArray());
        }
        return bytes.ToArray();
    }

    private static void Add(TarWriter archive, string name, byte[] content) =>
        archive.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name) { Mode = (UnixFileMode)0x1A4, DataStream = new MemoryStream(content) });
}
