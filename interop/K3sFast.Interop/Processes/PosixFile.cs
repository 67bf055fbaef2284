using System.ComponentModel;
using System.Runtime.InteropServices;

namespace K3sFast.Interop.Processes;

/// <summary>What <c>st_mode</c> says a path is.</summary>
public enum PosixFileType
{
    /// <summary>Nothing there.</summary>
    Missing,

    /// <summary>A regular file.</summary>
    Regular,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A Unix socket.</summary>
    Socket,

    /// <summary>A character device.</summary>
    CharacterDevice,

    /// <summary>A block device.</summary>
    BlockDevice,

    /// <summary>A named pipe.</summary>
    Fifo,

    /// <summary>A symbolic link (only when links are not followed).</summary>
    Link,
}

/// <summary>Owner, type and size of a file, or of the file system that it is on; what the base library does not tell.</summary>
/// <remarks>Any thread, one syscall each. Failures throw <see cref="IOException"/> with operation, path and the kernel's reason.</remarks>
public static unsafe partial class PosixFile
{
    // fcntl.h, linux/stat.h, linux/openat2.h
    private const int AtFdcwd = -100, AtSymlinkNofollow = 0x100;
    private const uint StatxBasicStats = 0x7ff;
    private const int Enoent = 2, Enotdir = 20;
    private const int OPath = 0x200000, OCloexec = 0x80000;
    private const ulong ResolveBeneath = 8;

    // asm-generic/unistd.h; the same number on every 64-bit architecture.
    private const nint SysOpenat2 = 437;

    /// <summary>Changes owner and group; -1 leaves one as it is. Links are not followed.</summary>
    public static void ChangeOwner(string path, int uid, int gid)
    {
        if (LChown(path, uid, gid) != 0) throw Failure("chown", path, Marshal.GetLastPInvokeError());
    }

    /// <summary>rename(2): the new name is replaced in one step, whatever the two are (links are not followed).</summary>
    public static void Rename(string from, string to)
    {
        if (RenameCall(from, to) != 0) throw Failure("rename", from, Marshal.GetLastPInvokeError());
    }

    /// <summary>What is at the path.</summary>
    public static PosixFileType TypeOf(string path, bool followLinks = true) =>
        Stat(path, followLinks) is { } stat ? (stat.Mode & 0xF000) switch
        {
            0x8000 => PosixFileType.Regular,
            0x4000 => PosixFileType.Directory,
            0xC000 => PosixFileType.Socket,
            0x2000 => PosixFileType.CharacterDevice,
            0x6000 => PosixFileType.BlockDevice,
            0x1000 => PosixFileType.Fifo,
            0xA000 => PosixFileType.Link,
            _ => PosixFileType.Regular,
        } : PosixFileType.Missing;

    /// <summary>Permission bits, set-id bits included, with owner and group; null = nothing there.</summary>
    public static (int Mode, int Uid, int Gid)? OwnerOf(string path) =>
        Stat(path, followLinks: false) is { } stat ? (stat.Mode & 0xFFF, (int)stat.Uid, (int)stat.Gid) : null;

    /// <summary>Identity of the file: device and inode; null = nothing there.</summary>
    public static (ulong Device, ulong Inode)? IdentityOf(string path) =>
        Stat(path, followLinks: true) is { } stat ? (((ulong)stat.DevMajor << 32) | stat.DevMinor, stat.Ino) : null;

    /// <summary>Size and room of the file system at the path.</summary>
    public static FileSystemSpace SpaceOf(string path)
    {
        StatVfs space;
        if (StatVfsCall(path, &space) != 0) throw Failure("statvfs", path, Marshal.GetLastPInvokeError());
        var unit = (long)space.FrSize;
        return new FileSystemSpace((long)space.Blocks * unit, (long)space.BAvail * unit, (long)space.Files, (long)space.FFree);
    }

    /// <summary>
    /// Opens <paramref name="relativePath"/> below <paramref name="directory"/> as a mere reference (O_PATH), refusing every way out: links and
    /// <c>..</c> that leave the directory fail with EXDEV. The caller closes the descriptor with <see cref="CloseReference"/>.
    /// </summary>
    public static int OpenBeneath(string directory, string relativePath)
    {
        var root = Openat2(AtFdcwd, directory, 0);
        if (root < 0) throw Failure("open", directory, Marshal.GetLastPInvokeError());
        try
        {
            var descriptor = Openat2(root, relativePath, ResolveBeneath);
            if (descriptor < 0) throw Failure("open", Path.Combine(directory, relativePath), Marshal.GetLastPInvokeError());
            return descriptor;
        }
        finally
        {
            _ = Close(root);
        }
    }

    /// <summary>Opens a directory as a mere reference (O_PATH), for calls that take one by descriptor.</summary>
    public static FileDescriptor OpenDirectory(string path)
    {
        var descriptor = Openat2(AtFdcwd, path, 0);
        return descriptor >= 0 ? new FileDescriptor(descriptor) : throw Failure("open", path, Marshal.GetLastPInvokeError());
    }

    /// <summary>Closes what <see cref="OpenBeneath"/> opened.</summary>
    public static void CloseReference(int descriptor) => _ = Close(descriptor);

    private static int Openat2(int directory, string path, ulong resolve)
    {
        var how = new OpenHow { Flags = OPath | OCloexec, Resolve = resolve };
        var bytes = System.Text.Encoding.UTF8.GetBytes(path + "\0");
        fixed (byte* name = bytes)
        {
            // Safe because: syscall(2) takes only integer registers, which a fixed signature fills like the variadic one.
            return (int)Syscall(SysOpenat2, directory, (nint)name, (nint)(&how), sizeof(OpenHow));
        }
    }

    private static Statx? Stat(string path, bool followLinks)
    {
        Statx stat;
        if (StatxCall(AtFdcwd, path, followLinks ? 0 : AtSymlinkNofollow, StatxBasicStats, &stat) == 0) return stat;
        var errno = Marshal.GetLastPInvokeError();
        return errno is Enoent or Enotdir ? null : throw Failure("stat", path, errno);
    }

    private static IOException Failure(string operation, string path, int errno) =>
        new($"{operation} {path}: {new Win32Exception(errno).Message}", errno);

    [LibraryImport("libc", EntryPoint = "lchown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int LChown(string path, int uid, int gid);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int RenameCall(string from, string to);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatxCall(int directory, string path, int flags, uint mask, Statx* result);

    [LibraryImport("libc", EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int StatVfsCall(string path, StatVfs* result);

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint Syscall(nint number, nint a, nint b, nint c, nint d);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);

    // linux/openat2.h
    private struct OpenHow
    {
        public ulong Flags;
        public ulong Mode;
        public ulong Resolve;
    }

    // linux/stat.h: 256 bytes; only the head is read.
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Statx
    {
        [FieldOffset(20)] public uint Uid;
        [FieldOffset(24)] public uint Gid;
        [FieldOffset(28)] public ushort Mode;
        [FieldOffset(32)] public ulong Ino;
        [FieldOffset(40)] public ulong Size;
        [FieldOffset(136)] public uint DevMajor;
        [FieldOffset(140)] public uint DevMinor;
    }

    // bits/statvfs.h on 64-bit glibc: 112 bytes.
    [StructLayout(LayoutKind.Sequential, Size = 112)]
    private struct StatVfs
    {
        public ulong BSize, FrSize, Blocks, BFree, BAvail, Files, FFree, FAvail, FsId, Flag, NameMax;
    }
}

/// <summary>Bytes and inodes of a file system: all, and those left for unprivileged users.</summary>
public readonly record struct FileSystemSpace(long TotalBytes, long AvailableBytes, long TotalInodes, long FreeInodes);
