using K3sFast.Interop.Processes;
using k8s.Models;

namespace K3sFast.Kubelet.Volumes;

/// <summary>Checks a hostPath against its type, and makes what the type says to make.</summary>
internal static class HostPathVolume
{
    /// <exception cref="VolumeException">What is there is not what is asked for.</exception>
    public static void Prepare(V1HostPathVolumeSource source)
    {
        var path = source.Path;
        var found = PosixFile.TypeOf(path);
        switch (source.Type)
        {
            case null or "":
                // Not checked, but the runtime needs something to mount: as upstream's runtimes, a directory.
                if (found == PosixFileType.Missing) MakeDirectory(path);
                break;
            case "DirectoryOrCreate":
                if (found == PosixFileType.Missing) MakeDirectory(path);
                else Expect(found == PosixFileType.Directory, path, "a directory");
                break;
            case "Directory":
                Expect(found == PosixFileType.Directory, path, "a directory");
                break;
            case "FileOrCreate":
                if (found == PosixFileType.Missing) MakeFile(path);
                else Expect(found == PosixFileType.Regular, path, "a file");
                break;
            case "File":
                Expect(found == PosixFileType.Regular, path, "a file");
                break;
            case "Socket":
                Expect(found == PosixFileType.Socket, path, "a socket file");
                break;
            case "CharDevice":
                Expect(found == PosixFileType.CharacterDevice, path, "a character device");
                break;
            case "BlockDevice":
                Expect(found == PosixFileType.BlockDevice, path, "a block device");
                break;
            default:
                throw new VolumeException($"hostPath type check failed: {source.Type} is an invalid volume type");
        }
    }

    private static void Expect(bool isSo, string path, string what)
    {
        if (!isSo) throw new VolumeException($"hostPath type check failed: {path} is not {what}");
    }

    private static void MakeDirectory(string path)
    {
        Directory.CreateDirectory(path);
        VolumeOwnership.SetMode(path, VolumeOwnership.DirectoryMode);
    }

    private static void MakeFile(string path)
    {
        if (!Directory.Exists(Path.GetDirectoryName(path))) throw new VolumeException($"open {path}: no such file or directory");
        File.WriteAllBytes(path, []);
        // 0644
        VolumeOwnership.SetMode(path, 0x1A4);
    }
}
