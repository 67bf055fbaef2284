using System.Runtime.InteropServices;

namespace K3sFast.Datastore.Tests.Sqlite;

/// <summary>A small file system of our own, so that "full" and "read-only" are real.</summary>
internal sealed partial class TmpfsMount : IDisposable
{
    private const ulong ReadOnlyFlag = 1;
    private const ulong RemountFlag = 32;
    private const int DetachFlag = 2;
    private readonly string _path;

    private TmpfsMount(string path) => _path = path;

    public static TmpfsMount TryMake(string path, string options)
    {
        if (Mount("tmpfs", path, "tmpfs", 0, options) != 0) Assert.Skip("mounting a tmpfs needs root");
        return new TmpfsMount(path);
    }

    // A process that another test starts may hold our descriptors for the moment between fork and exec: busy.
    public void Remount(bool readOnly) =>
        Assert.True(SpinWait.SpinUntil(() => Mount("tmpfs", _path, "tmpfs", RemountFlag | (readOnly ? ReadOnlyFlag : 0), "") == 0, TimeSpan.FromSeconds(60)));

    public void Resize(string options) => Assert.Equal(0, Mount("tmpfs", _path, "tmpfs", RemountFlag, options));

    public void Dispose() => Unmount(_path, DetachFlag);

    [LibraryImport("libc", EntryPoint = "mount", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Mount(string source, string target, string type, ulong flags, string data);

    [LibraryImport("libc", EntryPoint = "umount2", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Unmount(string target, int flags);
}
