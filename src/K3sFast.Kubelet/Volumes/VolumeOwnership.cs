using K3sFast.Interop.Processes;

namespace K3sFast.Kubelet.Volumes;

/// <summary>Modes and groups of volumes: what <c>securityContext.fsGroup</c> means on disk.</summary>
internal static class VolumeOwnership
{
    /// <summary>0755.</summary>
    public const int DirectoryMode = 0x1ED;

    // What the group gets: rw for files (r where the volume is read-only), x and set-group-id for directories besides.
    private const int ReadWrite = 0x1B0, ReadOnly = 0x120, Execute = 0x048, SetGroupId = 0x400;

    /// <summary>chmod(2) without the umask.</summary>
    public static void SetMode(string path, int mode) => File.SetUnixFileMode(path, (UnixFileMode)mode);

    /// <summary>Gives everything below <paramref name="root"/>, itself included, to the group. With <paramref name="onRootMismatch"/> only if the root is not.</summary>
    public static void Apply(string root, long fsGroup, bool isReadOnly, bool onRootMismatch = false)
    {
        if (onRootMismatch && PosixFile.OwnerOf(root) is { } owner && owner.Gid == fsGroup && (owner.Mode & SetGroupId) != 0) return;
        foreach (var entry in Directory.EnumerateFileSystemEntries(root, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = 0 }))
        {
            ApplyOne(entry, fsGroup, isReadOnly);
        }
        // The root last: its mark says that everything below was done.
        ApplyOne(root, fsGroup, isReadOnly);
    }

    private static void ApplyOne(string path, long fsGroup, bool isReadOnly)
    {
        PosixFile.ChangeOwner(path, -1, (int)fsGroup);
        var type = PosixFile.TypeOf(path, followLinks: false);
        if (type == PosixFileType.Link || PosixFile.OwnerOf(path) is not { } owner) return;
        var mask = isReadOnly ? ReadOnly : ReadWrite;
        if (type == PosixFileType.Directory) mask |= Execute | SetGroupId;
        SetMode(path, owner.Mode | mask);
    }
}
