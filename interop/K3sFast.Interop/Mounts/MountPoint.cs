using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace K3sFast.Interop.Mounts;

/// <summary>mount(2) and umount2(2) for what pods need: tmpfs, bind mounts, and the table of what is mounted.</summary>
/// <remarks>Any thread; one or two syscalls each. Failures throw <see cref="IOException"/> with operation, path and the kernel's reason.</remarks>
public static unsafe partial class MountPoint
{
    // linux/mount.h
    private const ulong MsRdonly = 1, MsNosuid = 2, MsNodev = 4, MsNoexec = 8, MsRemount = 32, MsBind = 4096, MsRec = 16384, MsPrivate = 1 << 18, MsShared = 1 << 20;

    // sys/mount.h
    private const int MntDetach = 2, UmountNofollow = 8;
    private const int Einval = 22, Enoent = 2;

    /// <summary>Mounts a tmpfs; <paramref name="sizeBytes"/> 0 = the kernel's default (half of memory).</summary>
    public static void MountTmpfs(string path, long sizeBytes, string extraOptions = "")
    {
        var options = sizeBytes > 0 ? $"size={sizeBytes}" : "";
        if (extraOptions.Length > 0) options = options.Length > 0 ? options + "," + extraOptions : extraOptions;
        Check(Mount("tmpfs", path, "tmpfs", 0, options.Length == 0 ? null : options), "mount tmpfs on", path);
    }

    /// <summary>Mounts the file system that eBPF objects are pinned on.</summary>
    public static void MountBpf(string path) => Check(Mount("bpf", path, "bpf", MsNosuid | MsNodev | MsNoexec, "mode=700"), "mount bpf on", path);

    /// <summary>Makes <paramref name="source"/> appear at <paramref name="target"/> as well; both exist.</summary>
    public static void Bind(string source, string target, bool isReadOnly = false, bool isRecursive = true)
    {
        var flags = MsBind | (isRecursive ? MsRec : 0);
        Check(Mount(source, target, null, flags, null), "bind mount", target);
        if (isReadOnly) Check(Mount(null, target, null, MsBind | MsRemount | MsRdonly, null), "remount read-only", target);
    }

    /// <summary>Makes mounts below <paramref name="path"/>, itself a mount, travel to its peers.</summary>
    public static void MakeShared(string path) => Check(Mount(null, path, null, MsShared | MsRec, null), "make shared", path);

    /// <summary>Makes mounts below <paramref name="path"/>, itself a mount, stay where they are made.</summary>
    public static void MakePrivate(string path) => Check(Mount(null, path, null, MsPrivate | MsRec, null), "make private", path);

    /// <summary>Unmounts; with <paramref name="isLazy"/> even while in use. False = nothing was mounted there.</summary>
    public static bool Unmount(string path, bool isLazy = false)
    {
        if (Umount2(path, UmountNofollow | (isLazy ? MntDetach : 0)) == 0) return true;
        var errno = Marshal.GetLastPInvokeError();
        if (errno is Einval or Enoent) return false;
        throw Failure("unmount", path, errno);
    }

    /// <summary>Paths of all mounts of this mount namespace, in mount order; unescaped. Reads <c>/proc/self/mountinfo</c>.</summary>
    public static IReadOnlyList<string> ReadAll()
    {
        var paths = new List<string>();
        foreach (var line in File.ReadLines("/proc/self/mountinfo"))
        {
            // proc(5): id parent major:minor root mountpoint options ...
            var fields = line.Split(' ', 6);
            if (fields.Length >= 5) paths.Add(Unescape(fields[4]));
        }
        return paths;
    }

    /// <summary>Paths of the mounts of one file system type, in mount order; unescaped.</summary>
    public static IReadOnlyList<string> ReadAll(string type)
    {
        var paths = new List<string>();
        foreach (var line in File.ReadLines("/proc/self/mountinfo"))
        {
            // Optional fields end with a lone dash; the type follows.
            var fields = line.Split(' ');
            var dash = Array.IndexOf(fields, "-", Math.Min(6, fields.Length));
            if (dash > 0 && dash + 1 < fields.Length && fields[dash + 1] == type) paths.Add(Unescape(fields[4]));
        }
        return paths;
    }

    // The kernel writes blanks and backslashes in paths as three octal digits.
    private static string Unescape(string path)
    {
        if (!path.Contains('\\')) return path;
        var text = new StringBuilder(path.Length);
        for (var i = 0; i < path.Length; i++)
        {
            if (path[i] == '\\' && i + 3 < path.Length)
            {
                text.Append((char)(((path[i + 1] - '0') << 6) | ((path[i + 2] - '0') << 3) | (path[i + 3] - '0')));
                i += 3;
            }
            else
            {
                text.Append(path[i]);
            }
        }
        return text.ToString();
    }

    private static void Check(int result, string operation, string path)
    {
        if (result != 0) throw Failure(operation, path, Marshal.GetLastPInvokeError());
    }

    private static IOException Failure(string operation, string path, int errno) =>
        new($"{operation} {path}: {new Win32Exception(errno).Message}", errno);

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string? source, string target, string? type, ulong flags, string? data);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Umount2(string target, int flags);
}
