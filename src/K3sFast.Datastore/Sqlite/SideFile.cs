using Microsoft.Win32.SafeHandles;

namespace K3sFast.Datastore.Sqlite;

/// <summary>A small file beside the database: whoever may read or write that, and nobody else, may this one.</summary>
internal static class SideFile
{
    /// <summary>Opens or makes it for writing. Throws as <see cref="File.OpenHandle"/>.</summary>
    public static SafeFileHandle Open(string path, FileMode mode, string database)
    {
        // Not FileShare.None: a lock would be in the way of who copies it.
        var file = File.OpenHandle(path, mode, FileAccess.Write, FileShare.ReadWrite);
        try
        {
            if (!OperatingSystem.IsWindows())
            {
                var wanted = File.GetUnixFileMode(database);
                if (File.GetUnixFileMode(file) != wanted) File.SetUnixFileMode(file, wanted);
            }
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
