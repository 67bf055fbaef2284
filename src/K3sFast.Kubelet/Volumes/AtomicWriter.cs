using System.Globalization;
using K3sFast.Interop.Processes;

namespace K3sFast.Kubelet.Volumes;

/// <summary>Content and mode of one projected file; <paramref name="OwnerUid"/> where it belongs to somebody else than root.</summary>
internal readonly record struct PayloadFile(byte[] Data, int Mode, int? OwnerUid = null);

/// <summary>
/// Puts a set of files into a directory such that a reader sees either all of the old or all of the new content. The layout is the one that
/// programs which watch Kubernetes volumes know:
/// <code>
/// target/..2026_01_02_03_04_05.123/a/b   the files, new directory per version
/// target/..data -> ..2026_...            swapped by rename
/// target/a -> ..data/a                   one link per top-level name
/// </code>
/// </summary>
internal static class AtomicWriter
{
    private const string DataLink = "..data";
    private const string NewDataLink = "..data_tmp";

    /// <summary>Writes <paramref name="payload"/> (relative paths) unless it is there already. True = something changed.</summary>
    /// <exception cref="IOException">The file system refuses, or a path would leave the target; the old content stays.</exception>
    public static bool Write(string target, IReadOnlyDictionary<string, PayloadFile> payload, long? fsGroup, DateTimeOffset now)
    {
        foreach (var path in payload.Keys) Verify(path);
        var dataLink = Path.Combine(target, DataLink);
        var oldVersion = new FileInfo(dataLink).LinkTarget;
        if (oldVersion is not null && IsSame(Path.Combine(target, oldVersion), payload)) return LinkTopLevel(target, payload);

        var version = NewVersionDirectory(target, now);
        var versionPath = Path.Combine(target, version);
        foreach (var (path, file) in payload) WriteFile(versionPath, path, file);
        if (fsGroup is { } group) VolumeOwnership.Apply(versionPath, group, isReadOnly: true);

        var newLink = Path.Combine(target, NewDataLink);
        File.Delete(newLink);
        File.CreateSymbolicLink(newLink, version);
        PosixFile.Rename(newLink, dataLink);
        LinkTopLevel(target, payload);
        if (oldVersion is not null) Directory.Delete(Path.Combine(target, oldVersion), recursive: true);
        return true;
    }

    private static void Verify(string path)
    {
        if (path.Length == 0 || path[0] == '/' || path.Split('/').Contains("..") || path.StartsWith("..", StringComparison.Ordinal))
        {
            throw new IOException($"invalid path \"{path}\": must be relative, without '..' and not begin with '..'");
        }
    }

    private static bool IsSame(string versionPath, IReadOnlyDictionary<string, PayloadFile> payload)
    {
        if (!Directory.Exists(versionPath)) return false;
        var count = 0;
        foreach (var existing in Directory.EnumerateFiles(versionPath, "*", SearchOption.AllDirectories))
        {
            count++;
            if (!payload.TryGetValue(Path.GetRelativePath(versionPath, existing), out var file)) return false;
            if (!File.ReadAllBytes(existing).AsSpan().SequenceEqual(file.Data)) return false;
        }
        return count == payload.Count;
    }

    private static string NewVersionDirectory(string target, DateTimeOffset now)
    {
        var stem = ".." + now.UtcDateTime.ToString("yyyy_MM_dd_HH_mm_ss.fffffff", CultureInfo.InvariantCulture);
        var name = stem;
        for (var i = 1; Directory.Exists(Path.Combine(target, name)); i++) name = $"{stem}_{i}";
        Directory.CreateDirectory(Path.Combine(target, name));
        VolumeOwnership.SetMode(Path.Combine(target, name), VolumeOwnership.DirectoryMode);
        return name;
    }

    private static void WriteFile(string versionPath, string path, PayloadFile file)
    {
        var fullPath = Path.Combine(versionPath, path);
        var parent = Path.GetDirectoryName(fullPath)!;
        if (!Directory.Exists(parent))
        {
            Directory.CreateDirectory(parent);
            for (var directory = parent; directory != versionPath; directory = Path.GetDirectoryName(directory)!) VolumeOwnership.SetMode(directory, VolumeOwnership.DirectoryMode);
        }
        File.WriteAllBytes(fullPath, file.Data);
        // After the write: the process' umask must not narrow it.
        VolumeOwnership.SetMode(fullPath, file.Mode);
        if (file.OwnerUid is { } uid) PosixFile.ChangeOwner(fullPath, uid, -1);
    }

    // Links of the new names, and no links of names that are gone.
    private static bool LinkTopLevel(string target, IReadOnlyDictionary<string, PayloadFile> payload)
    {
        var hasChanged = false;
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var path in payload.Keys) names.Add(path.Split('/')[0]);
        foreach (var name in names)
        {
            var link = Path.Combine(target, name);
            if (new FileInfo(link).LinkTarget == $"{DataLink}/{name}") continue;
            File.Delete(link);
            File.CreateSymbolicLink(link, $"{DataLink}/{name}");
            hasChanged = true;
        }
        foreach (var existing in Directory.EnumerateFileSystemEntries(target))
        {
            var name = Path.GetFileName(existing);
            if (name.StartsWith("..", StringComparison.Ordinal) || names.Contains(name)) continue;
            if (new FileInfo(existing).LinkTarget is null) continue;
            File.Delete(existing);
            hasChanged = true;
        }
        return hasChanged;
    }
}
