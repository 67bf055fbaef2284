using System.Globalization;
using K3sFast.Interop.Mounts;
using K3sFast.Interop.Processes;

namespace K3sFast.Kubelet.Volumes;

/// <summary>
/// Gives a container a part of a volume. The part is opened without ever leaving the volume (links out of it are refused by the kernel) and bound
/// to a place that only root can change, so that nobody can swap it for something else before the runtime mounts it.
/// </summary>
internal static class SubPathBinder
{
    private const int ExdevErrno = 18, EnoentErrno = 2;

    /// <summary>Host path to mount for <paramref name="subPath"/> of a volume; directories that are missing are made.</summary>
    /// <exception cref="VolumeException">The path leaves the volume or cannot be made.</exception>
    public static string Bind(string podDir, string volumeName, string volumePath, string container, int mountIndex, string subPath)
    {
        var target = Path.Combine(podDir, "volume-subpaths", volumeName, container, mountIndex.ToString(CultureInfo.InvariantCulture));
        var descriptor = OpenOrMake(volumePath, subPath);
        try
        {
            var source = $"/proc/self/fd/{descriptor}";
            // A container that is started again finds its old binding; the volume may have got new content since.
            while (MountPoint.Unmount(target, isLazy: true))
            {
            }
            if (PosixFile.TypeOf(source) == PosixFileType.Directory)
            {
                if (File.Exists(target)) File.Delete(target);
                Directory.CreateDirectory(target);
            }
            else
            {
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                if (Directory.Exists(target)) Directory.Delete(target);
                File.WriteAllBytes(target, []);
            }
            MountPoint.Bind(source, target, isRecursive: true);
            return target;
        }
        finally
        {
            PosixFile.CloseReference(descriptor);
        }
    }

    private static int OpenOrMake(string volumePath, string subPath)
    {
        try
        {
            return PosixFile.OpenBeneath(volumePath, subPath);
        }
        catch (IOException e) when (e.HResult == EnoentErrno)
        {
            return MakeDirectories(volumePath, subPath);
        }
        catch (IOException e) when (e.HResult == ExdevErrno)
        {
            throw new VolumeException($"subPath \"{subPath}\" not within volume path {volumePath}");
        }
    }

    private static int MakeDirectories(string volumePath, string subPath)
    {
        var mode = (PosixFile.OwnerOf(volumePath)?.Mode ?? VolumeOwnership.DirectoryMode) & 0xFFF;
        var walked = "";
        foreach (var part in subPath.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            var parent = PosixFile.OpenBeneath(volumePath, walked.Length == 0 ? "." : walked);
            try
            {
                var child = $"/proc/self/fd/{parent}/{part}";
                if (PosixFile.TypeOf(child, followLinks: false) == PosixFileType.Missing)
                {
                    Directory.CreateDirectory(child);
                    VolumeOwnership.SetMode(child, mode);
                }
            }
            finally
            {
                PosixFile.CloseReference(parent);
            }
            walked = walked.Length == 0 ? part : $"{walked}/{part}";
        }
        return PosixFile.OpenBeneath(volumePath, walked);
    }
}
